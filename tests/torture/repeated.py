"""Trains again and again with equal seeds, each time in a separate process: all heads must be equal bit for bit.

python -m tests.torture.repeated [RUNS]    (default: 20 of each kind of head)

The real command with a real backbone (MobileNetV2, random weights, 32 x 32). Every second run of each head computes
the features again. Runs with another number of threads are counted separately: sums in another order may round
differently.
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
    """The runs of one head."""

    equal: int
    runs: int
    with_one_thread: bool
    """Whether a run limited to one thread gave the same bits."""


def _head(home: Path, fit: str, threads: str | None, again: bool) -> str:
    if again:
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
        cache: copied; it may contain the converted backbone.
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
            heads = [_head(home, fit, None, again=number % 2 == 0) for number in range(count)]
            equal = heads.count(heads[0])
            assert equal == count, f"{fit}: {equal} of {count} heads are equal"
            found[fit] = Repeated(equal, count, _head(home, fit, "1", again=True) == heads[0])
    return found


def section(large: bool) -> Iterator[str]:
    """Yields the section of docs/reliability.md."""
    count = 20 if large else 3
    found = run(count, _FITS if large else _FITS[:1])
    yield f"## Repeated ({sum(one.runs for one in found.values())} trainings)"
    yield ""
    yield "`tlcli train` with equal seeds, each in a separate process, every second one computing the features again:"
    yield f"head, reference and manifest are equal bit for bit. `python -m tests.torture.repeated {count}`"
    yield ""
    yield "| head | equal | with one thread instead of all |"
    yield "| --- | ---: | --- |"
    for fit, one in found.items():
        threads = "equal" if one.with_one_thread else "differs in the last bits"
        yield f"{row(fit, f'{one.equal} of {one.runs}')} {threads} |"


def main() -> None:
    """Prints the outcomes."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    began = monotonic()
    for fit, one in run(count).items():
        print(f"  {fit}: {one.equal} of {one.runs} equal; with one thread {'' if one.with_one_thread else 'not '}equal")
    print(f"({monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
