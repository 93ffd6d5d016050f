"""Ctrl-C and SIGTERM end real commands with one line, and the next one goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.torture import interrupted
from tests.torture.setting import set_up

pytestmark = pytest.mark.e2e


@pytest.mark.slow
def test_interruptions_at_random_moments(session_cache: Path) -> None:
    outcomes = interrupted.run(5, seed=1, cache=session_cache)
    assert list(outcomes) == list(interrupted.COMMANDS)
    assert sum(seen[kind] for seen in outcomes.values() for kind in interrupted.CLEAN) == 5


PROGRAM = """
import signal, sys, time
from tlcli.cli import interrupts
interrupts.watch()
class Dropping:
    def __del__(self):
        signal.raise_signal({number})
from tlcli.cli.app import app, main
@app.command("fail")
def fail():
    {body}
sys.argv = ["tlcli", "fail"]
main()
"""


@pytest.mark.parametrize(
    "body",
    [
        "signal.raise_signal({number})",
        "del (x := [Dropping()])[0]; time.sleep(20)",
        "try:\n        signal.raise_signal({number})\n    except BaseException:\n        raise ImportError from None",
        "try:\n        signal.raise_signal({number})\n    except BaseException:\n        pass",
    ],
    ids=["raised", "in a destructor", "made another error by a library", "swallowed by a library"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whatever_happens_to_the_exception_the_exit_code_is_the_same(tmp_path: Path, number: int, body: str) -> None:
    program = PROGRAM.format(number=int(number), body=body.format(number=int(number)))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=15
    )
    assert done.returncode == 128 + number, done
    assert interrupted.SAID.match(done.stderr), done
    assert len(done.stderr.splitlines()) == 2


def test_a_signal_while_no_command_runs_ends_at_once(tmp_path: Path) -> None:
    program = "import signal\nfrom tlcli.cli import interrupts\ninterrupts.watch()\nsignal.raise_signal(2)\nprint(1)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert interrupted.SAID.match(done.stderr)


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    program = (
        "import signal\nfrom tlcli.cli import interrupts\nsignal.signal(2, signal.SIG_IGN)\ninterrupts.watch()\n"
        "signal.raise_signal(2)\nprint(signal.getsignal(2) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n")


@pytest.mark.slow
def test_ctrl_c_after_the_backbone_was_freed(session_cache: Path) -> None:
    """With its last core OpenVINO would free the main thread's stack for signals: signal 11."""
    with set_up(session_cache) as setting:
        trials = interrupted.Trials(setting)
        report = setting.folder / "base" / "report.html"
        report.unlink()
        process = trials._start("evaluate")
        while process.poll() is None and not report.exists():
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode in (0, 130), (process.returncode, said)
