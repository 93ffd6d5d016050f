"""tlcli fetch as people run it: a clean folder, a bad network, Ctrl-C, a token that must stay secret."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from tests.datasets.acquire import kills
from tests.datasets.acquire.kaggle_server import KEY, SIGNATURE, TOKEN, Dataset, Kaggle, serving
from tests.e2e.conftest import Tlcli, runner

pytestmark = pytest.mark.e2e

SLUG = "pmigdal/alien-vs-predator-images"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of somebody who has no token, and no proxies."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("KAGGLE_") or n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def kaggle(home: Path, monkeypatch: pytest.MonkeyPatch, shapes: Path) -> Iterator[Kaggle]:
    """Kaggle with the 40 drawn images, in the place of the tutorial's."""
    path = shapes / "archive.zip"
    shutil.make_archive(str(path.with_suffix("")), "zip", shapes / "shapes")
    shutil.move(shapes / "shapes", shapes / "drawn")
    with serving(Kaggle({"owner/shapes": Dataset({1: path})})) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


FROM_KAGGLE = ("--config", "shapes.yaml", "--set", "dataset.sources=[{kaggle: owner/shapes}]")


@pytest.mark.data
def test_fetch_without_arguments_brings_the_tutorials_images(
    tlcli: Tlcli, home: Path, alien_predator_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Kaggle({SLUG: Dataset({1: alien_predator_zip})})) as kaggle:
        for name, value in kaggle.environment.items():
            monkeypatch.setenv(name, value)
        first = tlcli("fetch")
        assert first.code == 0, first.err
        assert f"data/alien_predator (from kaggle {SLUG}, version 1)" in first.out
        assert first.out.rstrip().endswith("Next: tlcli train")
        assert {given for _, given in kaggle.authorizations} == {""}
        asked = len(kaggle.asked)
        document = tlcli("fetch", "--json").json()
        assert len(kaggle.asked) == asked

    counts = {split: sum(by_class.values()) for split, by_class in document["images"].items()}
    assert counts == {"train": 694, "validation": 160, "test": 40}
    assert (document["reused"], document["files"], document["unreadable"]) == (True, 894, {})
    assert document.items() >= json.loads((tmp_path / "data/alien_predator/.tlcli-fetch.json").read_text()).items()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["alien_predator"]


@pytest.mark.parametrize(
    ("how", "failing"),
    [
        ("variable", None),
        ("file", "DownloadDataset"),
        ("kaggle.json", "GetDataset"),
        ("variable", "Storage"),
        ("file", None),
        ("kaggle.json", None),
    ],
)
def test_token_appears_nowhere(
    kaggle: Kaggle, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, failing: str | None
) -> None:
    folder = home / ".kaggle"
    folder.mkdir()
    if how == "variable":
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    elif how == "file":
        (folder / "access_token").write_text(TOKEN)
    else:
        (folder / "kaggle.json").write_text(json.dumps({"username": "someone", "key": KEY}))
    if failing:
        kaggle.errors[failing] = (418, {}, "no")

    command = [sys.executable, "-m", "tlcli", "fetch", *FROM_KAGGLE, "--debug"]
    environment = {**os.environ, "TLCLI_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == (4 if failing else 0), done.stderr
    assert ("Traceback" in done.stderr) == bool(failing)
    assert any(given for method, given in kaggle.authorizations if method != "Storage")
    assert not any(given for method, given in kaggle.authorizations if method == "Storage")
    written = [
        p for p in tmp_path.rglob("*") if p.is_file() and p.parent != folder and p.suffix not in (".png", ".zip")
    ]
    texts = [done.stdout, done.stderr, *(path.read_bytes().decode("latin-1") for path in written)]
    for secret in (TOKEN, KEY, SIGNATURE):
        assert not [text for text in texts if secret in text]


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "cache" not in p.parts
    }


def _closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes every connection and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield int(listening.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_all_sources_down_ends_within_a_minute_and_touches_nothing(
    tmp_path: Path, home: Path, silent_port: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _closed_port() if how == "refused" else silent_port
    proxy = f"http://127.0.0.1:{port}"
    before = _tree(tmp_path)
    paused: list[float] = []
    monkeypatch.setattr("tlcli.datasets.acquire.downloads.retries.sleep", paused.append)
    began = monotonic()

    run = runner(tmp_path, tmp_path / "cache")
    done = run("fetch", env={"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": proxy, "https_proxy": proxy})

    assert (done.code, done.out) == (4, "")
    assert monotonic() - began + sum(paused) < 60
    assert len([line for line in done.err.splitlines() if line.startswith("  - ")]) == 2
    assert "tlcli fetch --config alien_predator --from" in done.err
    assert f"https://www.kaggle.com/datasets/{SLUG}" in done.err
    assert _tree(tmp_path) == before


def test_ctrl_c_leaves_a_part_that_the_next_fetch_goes_on_with(tmp_path: Path, home: Path) -> None:
    kills.draw(tmp_path / "archive.zip", 30)
    with kills.serving(kills.Server(tmp_path / "archive.zip", tmp_path / ".images.fetch", pause=0.02)) as server:
        trials = kills.Trials(tmp_path, server)
        ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
        process = trials.start(stderr=subprocess.PIPE)
        signal.signal(signal.SIGINT, ignored)
        while server.arrived() < 2_000_000:
            sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        kept = server.arrived()
        server.pause = 0.0

        assert process.returncode == 130
        assert b"Traceback" not in err
        assert kept >= 2_000_000
        assert trials.start().wait(60) == 0
        assert server.asked == [0, kept]


def test_two_fetches_at_once_download_once(tmp_path: Path, home: Path) -> None:
    kills.draw(tmp_path / "archive.zip", 20)
    with kills.serving(kills.Server(tmp_path / "archive.zip", tmp_path / ".images.fetch")) as server:
        trials = kills.Trials(tmp_path, server)
        processes = [trials.start() for _ in range(3)]
        codes = [process.wait(60) for process in processes]

        assert codes == [0, 0, 0]
        assert server.sent == (tmp_path / "archive.zip").stat().st_size


@pytest.mark.slow
def test_fetch_killed_at_random_moments_is_ended_by_the_next(tmp_path: Path, home: Path) -> None:
    outcome = kills.run(12, 25, seed=os.getpid(), folder=tmp_path)

    assert outcome.kills == 12
    assert max(outcome.again) <= 1 << 20
    assert outcome.moments["downloading"]
    assert outcome.moments["unpacking and checking"]
