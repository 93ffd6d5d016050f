"""What all programs here share: whole processes timed from outside, competitors in turn, tables, results on disk."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from machine import machine, named

TLCLI = (sys.executable, "-m", "tlcli")
PLAIN = Path(__file__).parent / "plain"
"""Programs written with Keras alone, as a user without tlcli would write them."""

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Process:
    """One process from start to end."""

    seconds: float
    """On the wall clock."""
    processor: float
    """Seconds of all its threads, and of the processes it waited for."""
    memory_mb: float
    """Its largest resident set (of the process or of one that it waited for, whichever is larger)."""
    output: str
    """What it wrote to stdout."""

    def document(self) -> Any:
        """The JSON in the last line of its output, or in all of it."""
        try:
            return json.loads(self.output)
        except ValueError:
            return json.loads(self.output.splitlines()[-1])


_LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
seconds, code = time.perf_counter() - started, os.waitstatus_to_exitcode(status)
measured = [seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, code]
open(sys.argv[1], "w").write(json.dumps(measured))
"""
"""A small process that starts what is timed: on Linux a process's largest size begins with that of its parent, which
here holds images and libraries."""


def process(command: Sequence[str | Path], folder: Path, **environment: str) -> Process:
    """Runs a process, which must succeed, in ``folder``."""
    with (
        tempfile.NamedTemporaryFile("r") as measured,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as log,
    ):
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, measured.name, *map(str, command)],
            cwd=folder, env={**os.environ, **environment}, stdout=out, stderr=log, check=False,
        )  # fmt: skip
        out.seek(0)
        log.seek(0)
        report = measured.read()
        seconds, processor, memory, code = json.loads(report) if report else (0, 0, 0, 1)
        if code:
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{log.read()[-3000:]}")
        unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, in KB elsewhere
        return Process(seconds, processor, memory / unit, out.read())


def tlcli(folder: Path, cache: Path, *arguments: str | Path) -> Process:
    """``tlcli ARGUMENTS`` as a process of its own, with ``cache`` for all that it keeps."""
    return process([*TLCLI, *arguments], folder, TLCLI_CACHE=str(cache))


def empty(cache: Path) -> None:
    """Leaves nothing in tlcli's cache but random weights, which stand for weights that are on the machine."""
    for path in cache.iterdir() if cache.is_dir() else ():
        if path.is_file():
            path.unlink()
        elif path.name != "weights":
            shutil.rmtree(path)


def settings(**values: object) -> list[str]:
    """``--set`` for each; two underscores stand for the point: ``backbone__name="densenet201"``."""
    return [part for key, value in values.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def keras_program(name: str, folder: Path, *arguments: str | Path) -> Process:
    """A program of ``plain/`` as a process of its own, on TensorFlow."""
    environment = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return process([sys.executable, PLAIN / name, *arguments], folder, **environment)


def in_turn(competitors: Mapping[str, Callable[[], Measured]], runs: int) -> dict[str, list[Measured]]:
    """A B C, A B C ...: what disturbs the machine for a while disturbs all of them."""
    measured: dict[str, list[Measured]] = {name: [] for name in competitors}
    for _ in range(runs):
        for name, competitor in competitors.items():
            measured[name].append(competitor())
    return measured


def values(numbers: Iterable[float]) -> dict[str, Any]:
    """A row of results: the median, and all that it was taken from."""
    found = [round(float(number), 5) for number in numbers]
    return {"median": round(statistics.median(found), 5), "values": found}


def spread(row: Mapping[str, Any], digits: int = 2) -> str:
    """``1.25 (1.20 to 1.31)``; the median alone where there is one value."""
    median, found = row["median"], row["values"]
    if len(found) < 2:
        return f"{median:,.{digits}f}"
    return f"{median:,.{digits}f} ({min(found):,.{digits}f} to {max(found):,.{digits}f})"


def ratio(above: Mapping[str, Any], below: Mapping[str, Any]) -> float:
    """Of medians."""
    return float(above["median"] / below["median"])


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Aligned text: the first column to the left, the others to the right."""
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in cells)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def introduce() -> None:
    """Prints what the figures below were measured on."""
    print(named(machine()), flush=True)


def save(name: str, out: Path | None = None, /, **results: object) -> None:
    """Writes ``bench/results/NAME.json`` (or ``out``): the machine, the settings, every single value."""
    path = out or Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")
    print(f"\nAll values: {out or path.relative_to(Path(__file__).parents[1])}")


def note(message: str) -> None:
    """Prints progress on stderr."""
    print(message, file=sys.stderr, flush=True)
