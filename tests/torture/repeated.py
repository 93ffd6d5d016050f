"""Trains again and again with equal seeds, each time in a process of its own: every head must be equal bit for bit.

python -m tests.torture.repeated [RUNS]    (default: 20 of the logistic_regression head, 20 of the minibatch head)

The real command with a real backbone (MobileNetV2, random weights, 32 x 32). Of each head every second run computes
the features anew. Runs with another number of threads are counted apart: sums in another order may round otherwise.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.reliability import row
from tests.torture import toy

from tlcli.runs import folders as runs

_FITS = ("logistic_regression", "minibatch")


@dataclass(frozen=True)
class Repeated:
    """What runs of one head came to."""

    equal: int
    runs: int
    with_one_thread: bool
    """Whether a run held to one thread gave the same bits, too."""


def _head(home: Path, fit: str, threads: str | None, anew: bool) -> str:
    if anew:
        shutil.rmtree(home / "cache" / "features", ignore_errors=True)
    settings = ["--set", f"head.fit={fit}", "--set", "train.epochs=5"]
    environment = {**os.environ, "TLCLI_CACHE": str(home / "cache"), **({"TLCLI_THREADS": threads} if threads else {})}
    command = [sys.executable, "-m", "tlcli", "train", "--config", "shapes.yaml", "--quiet", *settings]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = runs.find_run(home / "runs") / "model"
    files = ("head.safetensors", "reference.safetensors", "manifest.json")
    return hashlib.sha256(b"".join((model / name).read_bytes() for name in files)).hexdigest()


def run(count: int, fits: tuple[str, ...] = _FITS, cache: Path | None = None) -> dict[str, Repeated]:
    """Trains each head that often. Raises AssertionError where one differs.

    Args:
        count: runs of each head.
        fits: the heads.
        cache: one that may hold the converted backbone, copied.
    """
    found = {}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        toy.draw(home)
        config = (home / "shapes.yaml").read_text().replace("  engine: keras\n", "")
        (home / "shapes.yaml").write_text(config)
        if cache is not None and cache.exists():
            shutil.copytree(cache, home / "cache")
        for fit in fits:
            heads = [_head(home, fit, None, anew=number % 2 == 0) for number in range(count)]
            equal = heads.count(heads[0])
            assert equal == count, f"{fit}: {equal} of {count} heads are equal"
            found[fit] = Repeated(equal, count, _head(home, fit, "1", anew=True) == heads[0])
    return found


def section(large: bool) -> Iterator[str]:
    """What repetitions came to."""
    count = 20 if large else 3
    found = run(count, _FITS if large else _FITS[:1])
    yield f"## Repeated ({sum(one.runs for one in found.values())} trainings)"
    yield ""
    yield "`tlcli train` with equal seeds, each in a process of its own, every second one computing the features anew:"
    yield f"head, reference and manifest are equal bit for bit. `python -m tests.torture.repeated {count}`"
    yield ""
    yield "| head | equal | with one thread instead of all |"
    yield "| --- | ---: | --- |"
    for fit, one in found.items():
        threads = "equal, too" if one.with_one_thread else "differs in its last bits"
        yield f"{row(fit, f'{one.equal} of {one.runs}')} {threads} |"


def main() -> None:
    """Prints what was seen."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    began = monotonic()
    for fit, one in run(count).items():
        print(f"  {fit}: {one.equal} of {one.runs} equal; with one thread {'too' if one.with_one_thread else 'not'}")
    print(f"({monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
