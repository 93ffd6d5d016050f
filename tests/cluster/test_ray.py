"""The frozen pass on a Ray cluster of this machine: the same store, whoever dies."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cluster.slow_engine import PAUSE, PIDS, SILENT_STORE, images_of, slow_extractor

from tlcli.engines.double import FakeEngine
from tlcli.features.store import row_key
from tlcli.images.items import Item
from tlcli.system.cpu import cores

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is missing", allow_module_level=True)
ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own
GOOD = 64


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images, and two files that are none."""
    made = tmp_path / "images"
    made.mkdir()
    for number in range(GOOD):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(made / f"{number:02}.png")
    (made / "text.png").write_text("no image")
    (made / "cut.png").write_bytes((made / "00.png").read_bytes()[:200])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
    monkeypatch.setenv("TLCLI_THREADS", str(min(2, cores())))
    monkeypatch.setenv(PIDS, str(tmp_path / "pids"))
    (tmp_path / "pids").mkdir()
    return made


def workers(folder: Path) -> list[int]:
    """Processes that opened an engine and live."""
    found = [int(path.name) for path in (folder.parent / "pids").iterdir()]
    return [pid for pid in found if Path(f"/proc/{pid}").is_dir()]


def none_left(folder: Path) -> bool:
    """Whether all actors end within some seconds."""
    end = time.monotonic() + 30
    while workers(folder) and time.monotonic() < end:
        time.sleep(0.1)
    return not workers(folder)


@pytest.fixture
def killer(folder: Path) -> Iterator[list[int]]:
    """Kills the first actor that has opened its engine, a moment after; yields those that it killed."""
    killed: list[int] = []
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.1):
            if alive := workers(folder):
                time.sleep(0.5)
                os.kill(alive[0], signal.SIGKILL)
                killed.append(alive[0])
                return

    thread = threading.Thread(target=kill)
    thread.start()
    yield killed
    stop.set()
    thread.join()


def test_a_killed_actor_costs_a_unit_and_the_features_are_those_of_this_machine(
    folder: Path, killer: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    images, extractor = images_of(folder), slow_extractor()
    done = extractor.extract([(images, extractor.views)])
    assert len(killer) == 1
    assert (done.computed, done.reused) == (GOOD, 0)
    assert set(done.bad) == {image.sha256 for image in images if image.name in ("text.png", "cut.png")}
    good = [image for image in images if image.sha256 not in done.bad]
    decoder = extractor.decoder
    double = FakeEngine(decoder, extractor.store.blocks)
    items = [Item(image.path, image.sha256) for image in good]
    expected = np.stack([double.submit(item).result()[0] for item in items])
    found = extractor.store.read([row_key(image.sha256, "0") for image in good])
    assert np.array_equal(found, expected)
    assert none_left(folder)
    assert capfd.readouterr() == ("", "")
    again = slow_extractor()
    assert again.extract([(good, again.views)]).computed == 0


def test_a_unit_whose_store_did_not_answer_is_computed_by_a_later_try(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "silent"
    silent.mkdir()
    (silent / "once").touch()
    (silent / "twice").touch()
    monkeypatch.setenv(SILENT_STORE, str(silent))
    extractor = slow_extractor()
    done = extractor.extract([(images_of(folder), extractor.views)])
    assert (done.computed, len(done.bad)) == (GOOD, 2)
    assert list(silent.iterdir()) == []
    assert none_left(folder)


@pytest.fixture
def address() -> Iterator[str]:
    """Of a cluster of two nodes with three cores each, and a head without."""
    command = [sys.executable, "-m", "tests.cluster.several_nodes", "0", "3", "3"]
    nodes = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert nodes.stdout
    yield nodes.stdout.readline().decode().strip()
    nodes.communicate()


def test_an_actor_fits_on_a_node(folder: Path, address: str) -> None:
    command = [sys.executable, "-m", "tests.cluster.slow_engine", str(folder), address]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.splitlines()
    assert "Ray on 3 nodes: 6 cores; 2 actors, 3 cores each; units of 16 images or fewer" in lines
    assert lines[-1] == f"{GOOD} computed"
    assert "Waiting for a worker" not in lines


def test_a_killed_command_goes_on_where_it_was(folder: Path) -> None:
    command = [sys.executable, "-m", "tests.cluster.slow_engine", str(folder)]
    slow = {**os.environ, PAUSE: "1"}  # Ray needs seconds to notice that the command died
    driver = subprocess.Popen(command, cwd=ROOT, env=slow, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    end = time.monotonic() + 100
    while len(slow_extractor().store._locations) < 16 and time.monotonic() < end and driver.poll() is None:
        time.sleep(0.2)
    driver.kill()
    driver.communicate()
    assert none_left(folder)
    extractor = slow_extractor()
    before = sum(row_key(image.sha256, "0") in extractor.store for image in images_of(folder))
    assert 16 <= before < GOOD
    done = extractor.extract([(images_of(folder), extractor.views)])
    assert (done.computed, len(done.bad)) == (GOOD - before, 2)
    assert none_left(folder)
