"""Runs the trials of docs/reliability.md, and writes their outcomes.

python docs/trials.py [NAME ...]    (default: all, half an hour on two cores; a NAME prints its section alone)

Each trial runs in a process of its own: some fork, and one that dies must not take the others along.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.reliability import DOCUMENT, minor_version, row  # noqa: E402

_AT_ONCE = 2
_TABLE = ["| what | outcome |", "| --- | --- |"]
_KILLS, _MEGABYTES = 60, 200
_LONGEST = "killed"
"""Begun first, so that no core is left without work at the end."""


def behaviours() -> Iterator[str]:
    """Yields a row for each way in which a server or a network can misbehave."""
    from tests.datasets.acquire.faulty_server import BEHAVIOURS, outcome  # noqa: PLC0415

    yield f"## Network behaviours ({len(BEHAVIOURS)})"
    yield ""
    yield "A download from a local server that misbehaves. It ends with the right bytes, or with an error and the file"
    yield "that was there before, never with a mixed file. `python docs/trials.py network`"
    yield ""
    yield from _TABLE
    for case in BEHAVIOURS:
        with tempfile.TemporaryDirectory() as folder:
            yield row(case.name, outcome(case, Path(folder)))


def archives() -> Iterator[str]:
    """Yields a row for each malicious or damaged archive."""
    from tests.datasets.acquire.hostile_archives import HOSTILE, refusal  # noqa: PLC0415

    yield f"## Malicious and damaged archives ({len(HOSTILE)})"
    yield ""
    yield "All are refused, and no file is written outside the directory that they are unpacked to."
    yield "`python docs/trials.py archives`"
    yield ""
    yield from _TABLE
    for case in HOSTILE:
        with tempfile.TemporaryDirectory() as folder:
            error = refusal(case, Path(folder))
            yield row(case.name, f"`{error.code}`")


def fetch_killed() -> Iterator[str]:
    """Yields the outcome of kills during a fetch."""
    from tests.datasets.acquire import kills  # noqa: PLC0415

    outcome = kills.run(_KILLS, _MEGABYTES)
    yield f"## Killed while fetching ({_KILLS})"
    yield ""
    yield f"A fetch of {_MEGABYTES} MB is killed (kill -9) at {_KILLS} random moments, and the next fetch completes it,"
    yield "with the same files as an undisturbed one. A third of the kills hit at any moment, a third during the"
    yield "download, a third while unpacking."
    yield f"`python -m tests.datasets.acquire.kills {_KILLS} {_MEGABYTES}`"
    yield ""
    yield "| killed while | times | next fetch | bytes downloaded again, at most |"
    yield "| --- | ---: | --- | ---: |"
    again = f"{max(outcome.again) / 2**20:.2f} MiB"
    for moment, times in outcome.moments.most_common():
        yield f"| {moment} | {times} | same files | {again} |"


def torture(name: str) -> Iterator[str]:
    """Yields the section of a module of tests/torture."""
    lines: Iterator[str] = import_module(f"tests.torture.{name}").section(large=True)
    yield from lines


@dataclass(frozen=True)
class Trial:
    """One section of the document."""

    section: Callable[[], Iterator[str]]
    target: str
    """What it must reach."""


TRIALS = {
    "odd_images": Trial(
        partial(torture, "odd_images"),
        "120 kinds and 2,000 mutations: no process dies, each ends in a prediction or one error within 2 s, the files "
        "stay unchanged; no valid image is dropped; the same pixels in train, evaluate and predict",
    ),
    "archives": Trial(archives, "60 archives: all refused, no file outside"),
    "network": Trial(behaviours, "40 behaviours: the right bytes or a clear error, never a mixed file"),
    "fetch_killed": Trial(fetch_killed, f"{_KILLS} kills: the next fetch gives the same files"),
    "killed": Trial(
        partial(torture, "killed"),
        "1,000 kills: the next run's result is bit-equal; at most one shard and the images at work are recomputed",
    ),
    "interrupted": Trial(
        partial(torture, "interrupted"), "Ctrl-C at any time: exit code 130, no traceback, computed features are kept"
    ),
    "failing_disk": Trial(
        partial(torture, "failing_disk"), "40 failures: no corruption, the right exit code, the next run succeeds"
    ),
    "vanished": Trial(
        partial(torture, "vanished"), "a drive or cache that disappears, a clock that jumps: nothing is lost"
    ),
    "together": Trial(
        partial(torture, "together"),
        "8 processes, 50 rounds, with the lock and with a lock that does nothing: 0 torn reads",
    ),
    "bit_rot": Trial(
        partial(torture, "bit_rot"), "a flipped byte in each of 200 shards: all found, removed, recomputed"
    ),
    "repeated": Trial(partial(torture, "repeated"), "20 of 20 runs with equal seeds have bit-equal heads"),
    "bad_configs": Trial(
        partial(torture, "bad_configs"), "150 by hand and 5,000 generated: exit code 2 with file and line, no traceback"
    ),
    "hostile_models": Trial(partial(torture, "hostile_models"), "80 malicious files: no code runs, no traceback"),
    "environment": Trial(
        partial(torture, "environment"),
        "odd names, links, terminals, locales and directories: a right result or one error",
    ),
}
"""By name, in the document's order."""

_GAPS = """\
## Not tested

- Power cuts: files are synced before they are renamed, and directories after; the disk's own cache was not tested.
- Network drives: their errors are simulated (EIO, ESTALE and others, `vanished`); no real drive was unplugged.
- Systems other than Linux.
- `run.json` and `metrics.json`, which reports are made from, carry no digest: a flipped bit that leaves valid JSON goes
  unnoticed. (A model's `manifest.json` carries its own.)
- Disk errors are injected within the process, call by call; SQLite's own calls (the remembered digests, which only
  save time) are not among them.
"""


def section_of(name: str) -> tuple[str, bool]:
    """Returns the section of a trial, and whether it passed."""
    command = [sys.executable, str(Path(__file__)), name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(f"{name}: {'done' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode == 0:
        return done.stdout.rstrip("\n"), True
    print(done.stderr, file=sys.stderr, flush=True)
    last = (done.stderr.strip() or "no reason given").splitlines()[-1]
    return f"## {name} (failed)\n\n{last}", False


def document(sections: dict[str, str]) -> str:
    """Returns the whole document."""
    head = [
        "<!-- Written by docs/trials.py (make torture); do not edit. -->",
        "",
        "# Reliability trials",
        "",
        f"What was tried, how often, and the outcome, with Python {minor_version()}; errors are named by their codes",
        "([errors](errors.md)). `make torture` runs all of these trials, `make test-all` a part of each, and",
        "`python docs/trials.py NAME` one.",
        "",
        "| NAME | target | tried |",
        "| --- | --- | --- |",
    ]
    for name, text in sections.items():
        title = (re.match(r"## (.*)", text) or [text, name])[1]
        head.append(f"{row(name, TRIALS[name].target)} {title} |")
    return "\n".join(head) + "\n\n" + "\n\n".join([*sections.values(), _GAPS])


def main() -> None:
    """Prints the sections that are named, or writes the document."""
    if names := sys.argv[1:]:
        for name in names:
            for line in TRIALS[name].section():
                print(line, flush=True)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running = {name: pool.submit(section_of, name) for name in sorted(TRIALS, key=lambda name: name != _LONGEST)}
    made = {name: running[name].result() for name in TRIALS}
    DOCUMENT.write_text(document({name: text for name, (text, _) in made.items()}), encoding="utf-8")
    sys.exit(not all(passed for _, passed in made.values()))


if __name__ == "__main__":
    main()
