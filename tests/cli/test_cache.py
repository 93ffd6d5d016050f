"""tlcli cache, verify and prune: what they print, what they take and refuse, how they end."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tlcli.cli.app import main
from tlcli.features.store import Store, row_key
from tlcli.system.cache import entries
from tlcli.system.cache import locks as use
from tlcli.system.files import cache_folder

Run = Callable[..., tuple[int, str, str]]
DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``tlcli ARGUMENTS`` in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tlcli", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return command


@pytest.fixture
def store() -> Path:
    """A store of 2,000 bytes and some, used on the second of January 1970."""
    made = Store(DIGEST, 500)
    made.append([row_key("a", "0")], np.ones((1, 500), np.float32))
    use.release()
    os.utime(use.marker_of(made.folder), (86_400, 86_400))
    return made.folder


def test_an_empty_cache_is_told_in_words(run: Run) -> None:
    code, out, err = run("cache")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == f"Cache: {cache_folder()} (not there yet)"
    assert lines[1].startswith("Size: 0 bytes; free on its disk: ")
    assert lines[2:] == ["Next: tlcli train"]


def test_the_table_has_a_line_a_kind(run: Run, store: Path) -> None:
    code, out, _ = run("cache")
    assert code == 0
    lines = {line.split("│")[0].strip(): [cell.strip() for cell in line.split("│")[1:]] for line in out.splitlines()}
    assert lines["features"] == ["1", "2.2 KB", "1970-01-02 00:00 UTC"]
    assert lines["locks"] == ["1", "0 bytes", "1970-01-02 00:00 UTC"]
    assert lines["left-overs"] == ["0", "0 bytes", "-"]
    assert out.splitlines()[-1] == "Next: tlcli cache verify"


def test_a_time_beyond_all_years_is_shown_as_the_last(run: Run, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "last_used", lambda _: 1e15)
    for words in (("cache",), ("cache", "--json")):
        code, out, _ = run(*words)
        assert code == 0
        assert "9999-12-31" in out


def test_left_overs_and_foreign_files_are_pointed_out(run: Run, store: Path) -> None:
    (store / f"{'0' * 64}.damaged").write_bytes(b"1")
    (cache_folder() / "mine.txt").write_text("mine")
    _, out, _ = run("cache")
    assert f"Not tlcli's, and left alone: 1 other names, for example {cache_folder() / 'mine.txt'}" in out
    assert out.splitlines()[-1] == "Next: tlcli cache prune"


def test_json_has_every_entry(run: Run, store: Path) -> None:
    code, out, _ = run("cache", "--json")
    document = json.loads(out)
    assert code == 0
    assert set(document) == {"folder", "exists", "bytes", "free_bytes", "kinds", "entries", "others"}
    assert document["kinds"]["features"]["entries"] == 1
    assert document["entries"][0] == {
        "kind": "features",
        "path": str(store),
        "bytes": document["bytes"],
        "files": 1,
        "last_used": "1970-01-02T00:00:00+00:00",
    }


def test_verify_ends_with_0_where_all_is_well_and_with_6_where_something_was_damaged(run: Run, store: Path) -> None:
    code, out, _ = run("cache", "verify")
    assert (code, out) == (0, "Checked: 1 files and folders, 2.2 KB; all as they were written\n")
    shard = next(store.iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"\7")
    code, out, _ = run("cache", "verify", "--json")
    assert code == 6
    done = "set aside, computed again when needed"
    assert json.loads(out)["damaged"] == [{"kind": "features", "path": str(shard), "done": done}]
    assert run("cache", "verify")[0] == 0
    code, out, _ = run("cache", "prune")
    assert code == 0
    assert f"Gone: {shard.with_suffix('.damaged')} (left-overs, 2.2 KB): left over" in out


def test_prune_tells_what_went_and_what_is_left(run: Run, store: Path) -> None:
    code, out, _ = run("cache", "prune", "--older-than", "30d", "--max-size", "5GB", "--dry-run")
    why = f"{store} (features, 2.2 KB): not used for long, last used 1970-01-02 00:00 UTC"
    assert code == 0
    assert out.splitlines() == [
        f"Would go: {why}",
        f"Would be freed: 2.2 KB; left in {cache_folder()}: 0 bytes",
        "Next: tlcli cache prune --older-than 30d --max-size 5GB",
    ]
    assert store.is_dir()
    code, out, _ = run("cache", "prune", "--older-than", "8w")
    assert code == 0
    assert out.splitlines() == [
        f"Gone: {why}",
        f"Freed: 2.2 KB; left in {cache_folder()}: 0 bytes",
        "Next: tlcli cache",
    ]
    assert not store.exists()


def test_prune_tells_what_stays_as_it_is_in_use(run: Run, store: Path) -> None:
    use.hold(store, used=False)
    code, out, _ = run("cache", "prune", "--max-size", "1KB")
    assert code == 0
    assert f"Stays: {store} (features, 2.2 KB): a running process uses it" in out
    assert "That is more than 1.0 KB: what stays is in use, or cannot be made again." in out
    document = json.loads(run("cache", "prune", "--max-size", "1KB", "--json")[1])
    assert [entry["path"] for entry in document["in_use"]] == [str(store)]
    assert (document["freed_bytes"], document["removed"], document["failed"]) == (0, [], [])


def test_prune_ends_with_6_where_something_cannot_be_removed(
    run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    code, out, _ = run("cache", "prune", "--older-than", "0h")
    assert code == 6
    assert "cannot be removed: Read-only file system" in out


@pytest.mark.parametrize("given", ["5", "d", "30 days", "30m", "-3d", "1e3d", "", "3d4h", "∞d", "3\n\nd"])
def test_times_that_are_none_are_refused(run: Run, given: str) -> None:
    code, _, err = run("cache", "prune", f"--older-than={given}")
    assert code == 2
    assert f"--older-than is {given!r}; it takes a number and h, d or w (hours, days, weeks): 12h, 30d, 8w." in err


@pytest.mark.parametrize("given", ["5", "GB", "5 gigabytes", "-5GB", "5G", "1e3MB", "", "५GB"])
def test_sizes_that_are_none_are_refused(run: Run, given: str) -> None:
    code, _, err = run("cache", "prune", f"--max-size={given}")
    assert code == 2
    assert f"--max-size is {given!r}; it takes a number and a unit (B, KB, MB, GB, TB): 500MB, 5GB." in err


@pytest.mark.parametrize("given", ["12h", "30d", "8w", "1.5 d", "30D"])
def test_times(run: Run, store: Path, given: str) -> None:
    assert run("cache", "prune", "--older-than", given)[0] == 0
    assert not store.exists()


@pytest.mark.parametrize(
    ("given", "stays"), [("3KB", True), ("2kb", False), ("3 KiB", True), ("0.1MB", True), ("0B", False)]
)
def test_sizes(run: Run, store: Path, given: str, stays: bool) -> None:
    assert run("cache", "prune", "--max-size", given)[0] == 0
    assert store.exists() == stays


def test_a_file_in_its_place_is_one_sentence(run: Run) -> None:
    cache_folder().write_text("mine")
    for command in ([], ["verify"], ["prune"]):
        code, out, err = run("cache", *command)
        assert (code, out) == (6, "")
        assert err == f"Error: The cache {cache_folder()} is a file; remove it, or set TLCLI_CACHE to a folder.\n"


def test_options_stand_behind_the_command(run: Run) -> None:
    code, _, err = run("cache", "--json", "verify")
    assert code == 2
    assert "tlcli cache verify --json" in err
