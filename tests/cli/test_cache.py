"""tlcli cache, verify and prune: what they print, accept and refuse, and their exit codes."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tlcli.backbones.blocks import one_block
from tlcli.cli.app import main
from tlcli.cli.cache import prune
from tlcli.errors import UsageError
from tlcli.features.store import Store, row_key
from tlcli.system.cache import entries, locks
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
    """A store of 2.2 KB, last used on the second of January 1970."""
    made = Store(DIGEST, one_block(500))
    made.append([row_key("a", "0")], np.ones((1, 500), np.float32))
    locks.release_all()
    os.utime(locks.lock_file(made.folder), (86_400, 86_400))
    return made.folder


def test_an_empty_cache_leads_to_train(run: Run) -> None:
    code, out, err = run("cache")
    assert (code, err) == (0, "")
    assert str(cache_folder()) in out
    assert out.splitlines()[-1] == "Next: tlcli train"


def test_the_table_has_a_row_for_each_kind(run: Run, store: Path) -> None:
    code, out, _ = run("cache")
    assert code == 0
    rows = {line.split("│")[0].strip(): [cell.strip() for cell in line.split("│")[1:]] for line in out.splitlines()}
    assert rows["features"] == ["1", "2.2 KB", "1970-01-02 00:00 UTC"]
    assert rows["leftovers"] == ["0", "0 bytes", "-"]
    assert set(entries.KINDS) < set(rows)
    assert out.splitlines()[-1] == "Next: tlcli cache verify"


def test_a_time_beyond_all_years_is_shown_as_the_last(run: Run, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "last_used", lambda _: 1e15)
    for words in (("cache",), ("cache", "--json")):
        code, out, _ = run(*words)
        assert code == 0
        assert "9999-12-31" in out


def test_leftovers_lead_to_prune(run: Run, store: Path) -> None:
    (store / f".{'0' * 64}.safetensors.77.abcdef.tmp").write_bytes(b"1")
    _, out, _ = run("cache")
    assert out.splitlines()[-1] == "Next: tlcli cache prune"


def test_json_has_every_entry(run: Run, store: Path) -> None:
    code, out, _ = run("cache", "--json")
    document = json.loads(out)
    assert code == 0
    assert set(document) == {"folder", "exists", "bytes", "free_bytes", "kinds", "entries"}
    assert document["kinds"]["features"]["entries"] == 1
    assert document["entries"][0] == {
        "kind": "features",
        "path": str(store),
        "bytes": document["bytes"],
        "files": 1,
        "last_used": "1970-01-02T00:00:00Z",
        "owner": str(store),
    }


def test_verify_ends_with_6_where_something_is_damaged(run: Run, store: Path) -> None:
    code, out, _ = run("cache", "verify", "--json")
    assert code == 0
    assert json.loads(out)["checked"] == 1
    shard = next(store.iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"\7")
    code, out, _ = run("cache", "verify", "--json")
    assert code == 6
    (finding,) = json.loads(out)["damaged"]
    assert (finding["path"], finding["action"]) == (str(shard), "removed")
    assert not shard.exists()
    assert run("cache", "verify")[0] == 0


def test_verify_names_damaged_files(run: Run, store: Path) -> None:
    shard = next(store.iterdir())
    shard.write_bytes(b"damaged")
    code, out, _ = run("cache", "verify")
    assert code == 6
    assert str(shard) in out


def test_prune_names_what_is_removed(run: Run, store: Path) -> None:
    code, out, _ = run("cache", "prune", "--older-than", "30d", "--max-size", "5GB", "--dry-run")
    assert code == 0
    assert str(store) in out
    assert "1970-01-02 00:00 UTC" in out
    assert out.splitlines()[-1] == "Next: tlcli cache prune --older-than 30d --max-size 5GB"
    assert store.is_dir()
    code, out, _ = run("cache", "prune", "--older-than", "8w")
    assert code == 0
    assert str(store) in out
    assert out.splitlines()[-1] == "Next: tlcli cache"
    assert not store.exists()


def test_prune_names_what_is_in_use(run: Run, store: Path) -> None:
    locks.mark_in_use(store, used=False)
    code, out, _ = run("cache", "prune", "--max-size", "1KB")
    assert code == 0
    assert str(store) in out
    document = json.loads(run("cache", "prune", "--max-size", "1KB", "--json")[1])
    assert [(one["entry"]["path"], one["outcome"]) for one in document["pruned"]] == [(str(store), "in use")]
    assert (document["freed_bytes"], document["dry_run"]) == (0, False)


def test_prune_ends_with_6_where_something_cannot_be_removed(
    run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    code, out, _ = run("cache", "prune", "--older-than", "0h")
    assert code == 6
    assert "Read-only file system" in out


@pytest.mark.parametrize("given", ["5", "d", "30 days", "30m", "-3d", "1e3d", "", "3d4h", "∞d", "3\n\nd", "999999999w"])
def test_invalid_times_are_refused(given: str) -> None:
    with pytest.raises(UsageError) as error:
        prune(older_than=given)
    assert error.value.code == "usage.invalid_quantity"


@pytest.mark.parametrize("given", ["5", "GB", "5 gigabytes", "-5GB", "5G", "1e3MB", "", "५GB"])
def test_invalid_sizes_are_refused(given: str) -> None:
    with pytest.raises(UsageError) as error:
        prune(max_size=given)
    assert error.value.code == "usage.invalid_quantity"


@pytest.mark.parametrize(
    ("given", "stays"), [("12h", False), ("30d", False), ("8w", False), ("1.5 d", False), ("99999999W", True)]
)
def test_times(run: Run, store: Path, given: str, stays: bool) -> None:
    assert run("cache", "prune", "--older-than", given)[0] == 0
    assert store.exists() == stays


@pytest.mark.parametrize(
    ("given", "stays"), [("3KB", True), ("2kb", False), ("3 KiB", True), ("0.1MB", True), ("0B", False)]
)
def test_sizes(run: Run, store: Path, given: str, stays: bool) -> None:
    assert run("cache", "prune", "--max-size", given)[0] == 0
    assert store.exists() == stays


@pytest.mark.parametrize("command", [[], ["verify"], ["prune"]])
def test_a_file_instead_of_the_cache_ends_with_6(run: Run, command: list[str]) -> None:
    cache_folder().write_text("mine")
    code, out, err = run("cache", *command)
    assert (code, out) == (6, "")
    assert err.startswith("Error [resource.")
    assert str(cache_folder()) in err


def test_options_belong_behind_the_command(run: Run) -> None:
    code, _, err = run("cache", "--json", "verify")
    assert code == 2
    assert "tlcli cache verify --json" in err
