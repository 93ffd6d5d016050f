"""Caches that are pruned, deleted, left by a kill or read-only while the real commands run."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Tlcli, draw_shapes, runner

from tlcli.system.cache.entries import scan

pytestmark = pytest.mark.e2e

AT = r"""
import os, re, shutil, signal, sys, time
event_wanted, pattern, action = sys.argv[1:4]
cache, done = os.environ["TLCLI_CACHE"], False
def hook(event, args):
    global done
    if done or event != event_wanted or not str(args[0]).startswith(cache) or not re.search(pattern, str(args[0])):
        return
    done = True
    if action == "remove":
        shutil.rmtree(cache)
    elif action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        open("waiting", "w").close()
        while not os.path.exists("go on"):
            time.sleep(0.02)
sys.addaudithook(hook)
sys.argv[:] = ["tlcli", *sys.argv[4:]]
from tlcli.cli.app import run
run()
"""
"""tlcli, in which something happens when it first opens or creates a file of the cache whose path matches."""

REFUSED = r"""
import os, sys
number, cache = int(sys.argv[1]), os.environ["TLCLI_CACHE"]
places = {"os.mkdir": 0, "os.remove": 0, "os.rmdir": 0, "os.utime": 0, "os.rename": 1}
def hook(event, args):
    path = args[places[event]] if event in places else None
    if event == "open" and (set(args[1] or "") & set("wax+") or args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        path = args[0]
    if isinstance(path, (str, bytes)) and os.fsdecode(path).startswith(cache):
        raise OSError(number, os.strerror(number), os.fsdecode(path))
sys.addaudithook(hook)
sys.argv[:] = ["tlcli", *sys.argv[2:]]
from tlcli.cli.app import run
run()
"""
"""tlcli, where nothing in the cache can be written, not even by root, whom permissions do not stop."""

TRAIN = ("train", "--config", "shapes.yaml", "--set", "image.size=32", "--json")


@dataclass(frozen=True)
class Trained:
    """A folder in which train has run once, its cache, and its metrics."""

    folder: Path
    cache: Path
    metrics: Any


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Trained:
    """Read-only: tests copy the cache."""
    folder = draw_shapes(tmp_path_factory.mktemp("pruned"))
    assert runner(folder, session_cache)(*TRAIN).code == 0  # converts the backbone, unless another test has
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLCLI_CACHE", str(session_cache))
        entries = scan(session_cache)
    for kind in ("converted backbones", "weights"):
        made = max((one for one in entries if one.kind == kind), key=lambda one: one.last_used).path
        shutil.copytree(made, folder / "cache" / made.relative_to(session_cache))
    started = datetime.now(UTC)
    done = runner(folder, folder / "cache")(*TRAIN)
    assert done.code == 0, done.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLCLI_CACHE", str(folder / "cache"))
        for unused in (one.path for one in scan(folder / "cache") if one.last_used < started):
            shutil.rmtree(unused)  # another test that ran meanwhile had used it last
    return Trained(folder, folder / "cache", done.json()["metrics"])


@pytest.fixture
def tlcli_here(trained: Trained, tmp_path: Path) -> Tlcli:
    """``tlcli`` beside the images, with a cache of its own."""
    return runner(trained.folder, tmp_path / "cache")


def filled(trained: Trained, tmp_path: Path, without: str = "") -> Path:
    """A copy of the cache."""
    cache = shutil.copytree(trained.cache, tmp_path / "cache")
    if without:
        shutil.rmtree(cache / without)
    return cache


def start(program: str, trained: Trained, cache: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TLCLI_CACHE": str(cache), "TMPDIR": str(cache.parent)}
    command = [sys.executable, "-c", program, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=trained.folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_prune_removes_nothing_that_a_running_process_uses(trained: Trained, tlcli_here: Tlcli, tmp_path: Path) -> None:
    cache = filled(trained, tmp_path, without="features")
    stale = cache / "features" / ("f" * 32)
    stale.mkdir(parents=True)
    (stale / f"{'0' * 64}.safetensors").write_bytes(b"of another project")
    process = start(AT, trained, cache, "open", r"/features/.*\.tmp$", "wait", *TRAIN)
    waiting = trained.folder / "waiting"
    while not waiting.exists() and process.poll() is None:
        time.sleep(0.05)
    pruned = tlcli_here("cache", "prune", "--max-size", "0B", "--older-than", "0h", "--json")
    (trained.folder / "go on").touch()
    out, err = process.communicate()
    waiting.unlink()
    (trained.folder / "go on").unlink()
    assert (process.returncode, pruned.code) == (0, 0), err
    outcomes = pruned.json()["pruned"]
    removed = [one["entry"] for one in outcomes if one["outcome"] == "removed"]
    # Near duplicates are searched once there are features: the process does not use them yet.
    assert [one["path"] for one in removed if one["kind"] != "near duplicates"] == [str(stale)]
    kinds = {one["entry"]["kind"] for one in outcomes if one["outcome"] == "in use"}
    assert kinds == {"features", "converted backbones", "compiled graphs", "weights", "file digests"}
    assert json.loads(out)["metrics"] == trained.metrics

    pruned = tlcli_here("cache", "prune", "--max-size", "0B")  # it has ended
    assert pruned.code == 0
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(r"/backbones/\..*/model\.bin$", id="converted, and not renamed yet"),
        pytest.param(r"/features/\w+/\w+\.safetensors$", id="features are read"),
    ],
)
def test_a_cache_deleted_meanwhile_is_a_coded_error_and_the_next_run_is_right(
    moment: str, trained: Trained, tlcli_here: Tlcli, tmp_path: Path
) -> None:
    cache = filled(trained, tmp_path, without="backbones" if "backbones" in moment else "features")
    if "backbones" in moment:
        shutil.rmtree(cache / "features")
    process = start(AT, trained, cache, "open", moment, "remove", *TRAIN)
    _, err = process.communicate()
    assert process.returncode == 6, err
    assert "Traceback" not in err
    assert list(tmp_path.glob("tlcli-*")) == []
    done = tlcli_here(*TRAIN)
    assert done.code == 0, done.err
    assert done.json()["metrics"] == trained.metrics


def test_leftovers_of_a_kill_do_not_interfere_and_prune_removes_them(
    trained: Trained, tlcli_here: Tlcli, tmp_path: Path
) -> None:
    cache = filled(trained, tmp_path, without="backbones")
    shutil.rmtree(cache / "features")
    process = start(AT, trained, cache, "open", r"/backbones/\..*/model\.bin$", "kill", *TRAIN)
    process.communicate()
    assert process.returncode == -9
    left = [str(path) for path in (cache / "backbones").iterdir()]
    assert len(left) == 1
    shutil.copytree(left[0], f"{left[0].rsplit('.', 1)[0]}")  # with a random end of another length
    done = tlcli_here(*TRAIN)
    assert done.code == 0, done.err
    assert done.json()["metrics"] == trained.metrics
    shown = tlcli_here("cache", "--json").json()
    assert shown["kinds"]["leftovers"]["entries"] == 2
    pruned = tlcli_here("cache", "prune", "--json").json()["pruned"]
    assert {(one["entry"]["kind"], one["outcome"]) for one in pruned} == {("leftovers", "removed")}
    assert [path.name.startswith(".") for path in (cache / "backbones").iterdir()] == [False]
    assert tlcli_here("cache", "verify").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(("state", "number"), [("empty", 30), ("filled", 13)])  # EROFS, EACCES
def test_without_a_writable_cache_the_results_are_the_same(
    state: str, number: int, trained: Trained, tmp_path: Path
) -> None:
    cache = filled(trained, tmp_path) if state == "filled" else tmp_path / "cache"
    before = written(cache)
    commands = [TRAIN, ("predict", "shapes/dark/1.png", "--json")]
    if state == "filled":  # where it is empty each would convert the backbone
        commands += [("evaluate", "--json"), ("inspect", "--config", "shapes.yaml", *TRAIN[3:])]
    for command in commands:
        process = start(REFUSED, trained, cache, str(number), *command)
        out, err = process.communicate()
        assert process.returncode == 0, err
        reported = [line for line in err.splitlines() if str(cache) in line and os.strerror(number) in line]
        lacking = state == "empty" or command[0] in ("evaluate", "inspect")  # else everything was in the cache
        assert len(reported) == lacking, (command, err)
        if command is TRAIN:
            assert json.loads(out)["metrics"] == trained.metrics
    assert written(cache) == before
    assert [path.name for path in tmp_path.iterdir() if path != cache] == []


def written(cache: Path) -> list[tuple[Path, int]]:
    """What Python has written; the hook above does not see the code of OpenVINO and SQLite."""
    found = [path for path in cache.rglob("*") if "compiled" not in path.parts and "sqlite" not in path.name]
    return sorted((path, path.stat().st_mtime_ns) for path in found)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_without_permission_to_write_the_cache_the_metrics_are_the_same(
    trained: Trained, tlcli_here: Tlcli, tmp_path: Path
) -> None:
    cache = filled(trained, tmp_path, without="features")
    folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = tlcli_here(*TRAIN)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.code == 0, done.err
    assert done.err.count("(Permission denied)") == 1
    assert done.json()["metrics"] == trained.metrics
