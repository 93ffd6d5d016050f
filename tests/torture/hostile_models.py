"""Hostile model files: bundles, runs, weights and caches that somebody else made. Nothing in them is ever executed.

python -m tests.torture.hostile_models
"""

import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.reliability import row
from tests.torture import hostile_weights
from tests.torture.hostile_bytes import traps_work
from tests.torture.hostile_cases import Hostile, hostile
from tests.torture.hostile_machines import commands, moved
from tests.torture.trained import trained

from tlcli.errors import TlcliError

_HANGS = 20
"""Seconds for one case, after which it counts as hanging."""


@contextmanager
def _limited(name: str) -> Iterator[None]:
    """Fails with the case's name if the body hangs."""

    def end(*_: object) -> None:
        raise AssertionError(f"{name}: hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(_HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refusal(case: Hostile, run: Path, folder: Path) -> str:
    """Makes the change in a copy of the run, and has it read.

    Returns:
        the code of the error, and its exit code.

    Raises:
        AssertionError: it was accepted, ended in another error, hung, or the canary was created.
    """
    name = f"{case.place}: {case.name}"
    copy, canary = folder / "runs" / "one" / "20260101T000000Z-0000", folder / "canary"
    shutil.copytree(run, copy)
    shutil.copytree(run, copy.parent / "other")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with _limited(name):
            case.change(copy, canary)
            case.read(copy)
    except TlcliError as error:
        message, code = str(error), error.code
        kind = f"`{code}`, exit code {error.exit_code}"
    except AssertionError:
        raise
    except BaseException as error:
        raise AssertionError(f"{name}: {error!r} is no refusal") from error
    else:
        raise AssertionError(f"{name}: was accepted")
    finally:
        os.chdir(before)
        assert not canary.exists(), f"{name}: code of the file ran"
        shutil.rmtree(folder / "runs")
    assert not case.codes or code in case.codes, f"{name}: {code}: {message}"
    assert len(message) < 2_000, f"{name}: {len(message)} letters"
    return kind


def section(large: bool, cache: Path | None = None) -> Iterator[str]:
    """The section of the report; ``cache`` may hold the converted backbone."""
    cases = hostile()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "made").mkdir()
        made = trained(folder / "made", cache or folder / "cache")
        done = made.tlcli("evaluate")
        assert done.code == 0, done.err
        traps_work(folder)
        seen: Counter[tuple[str, str]] = Counter()
        for case in cases:
            seen[case.place, refusal(case, made.run, folder)] += 1
        of_weights = hostile_weights.run(folder)
        others = [*commands(made, large), *moved(made)]
    total = seen.total() + of_weights.total() + len(others)
    assert total >= 80
    yield f"## Hostile model files ({total})"
    yield ""
    yield "Pickles, Keras, HDF5, ONNX, PyTorch and NumPy files that run code, and damaged or lying safetensors,"
    yield "manifests, records, pipes and links, in the place of each file that a command reads. Each is refused with an"
    yield "error code, and nothing in a file was executed: it would have left a canary."
    yield "`python -m tests.torture.hostile_models`"
    yield ""
    yield "| what | outcome | cases |"
    yield "| --- | --- | ---: |"
    for (place, came), times in sorted(seen.items()):
        yield f"{row(f'in the place of {place}', came)} {times} |"
    for came, times in sorted(of_weights.items()):
        yield f"{row('in the place of backbone.weights, named .safetensors', came)} {times} |"
    for what, came in others:
        yield f"{row(what, came)} 1 |"


def main() -> None:
    """Prints the section."""
    for line in section(large=True):
        print(line)


if __name__ == "__main__":
    main()
