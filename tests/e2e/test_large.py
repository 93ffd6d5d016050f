"""What large data sets rely on: remembered digests, and as many cores as are given."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.e2e.conftest import Tlcli

from tlcli.datasets.digests import remember

pytestmark = pytest.mark.e2e

SETTINGS = ("--set", "backbone.name=mobilenet_v2", "--set", "backbone.weights=random", "--set", "image.size=32")
QUICK = ("evaluate.figures=false", "evaluate.report=false", "evaluate.cross_validation=null")
TRAIN = ("train", "--config", "my_images", *SETTINGS, *(word for one in QUICK for word in ("--set", one)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    folder = tmp_path / "my_images"
    for label, level in (("dark", 60), ("light", 190)):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(random.normal(level, 40, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.mark.slow
def test_a_remembered_digest_that_is_wrong_is_an_error_and_verify_is_its_remedy(
    images: Path, tlcli: Tlcli, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time are those of before, as after a disk has lost a bit."""
    monkeypatch.setattr("tlcli.datasets.digests._SETTLED", -(10**18))  # else they are too new to be remembered
    with monkeypatch.context() as patch:
        patch.setenv("TLCLI_CACHE", str(session_cache))
        remember({path: "0" * 63 + f"{number:x}" for number, path in enumerate(sorted(images.glob("dark/1*.png")))})
    failed = tlcli(*TRAIN, "--json")
    assert (failed.code, failed.error) == (3, "data.file_changed")
    verified = tlcli(*TRAIN, "--verify")
    assert verified.code == 0
    again = tlcli(*TRAIN)
    assert again.code == 0
    noted = {line for line in verified.err.splitlines() if "3 files" in line}
    assert noted
    assert not noted & set(again.err.splitlines())
    assert tlcli("evaluate", "--verify").code == 0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells which cores a thread may use")
def test_with_threads_1_every_thread_of_the_process_runs_on_one_core(
    images: Path, tlcli: Tlcli, tmp_path: Path
) -> None:
    assert tlcli(*TRAIN).code == 0
    command = [sys.executable, "-m", "tlcli", "predict", str(images), "--threads", "1"]
    seen: list[set[str]] = []
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if threads := allowed(process.pid):
                seen.append(threads)
            time.sleep(0.01)
    assert process.returncode == 0
    limited = [threads for threads in seen if all("-" not in cores and "," not in cores for cores in threads)]
    first = seen.index(limited[0])
    assert seen[first:] == limited  # from the moment the option was read until the end


def allowed(pid: int) -> set[str]:
    """The cores that the process's threads may use, as the system writes them: 0-1, or 1."""
    found = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:  # the thread has ended
            continue
        found |= {line.split()[1] for line in lines if line.startswith("Cpus_allowed_list")}
    return found


@pytest.mark.parametrize("threads", ["0", "-1", "many"])
def test_an_impossible_number_of_threads_is_refused(threads: str, tlcli: Tlcli) -> None:
    done = tlcli("predict", "x.png", "--threads", threads, "--json")
    assert (done.code, done.error) == (2, "usage.invalid_value")
