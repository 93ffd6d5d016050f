"""Makes the trials of docs/reliability.md, and writes what came of them.

python docs/trials.py [NAME ...]    (default: all, half an hour on two cores; a NAME prints its section alone)

Each trial runs in a process of its own: some start processes by fork, and one that dies must not take the others along.
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
    """One row for each way in which a server or a network can misbehave."""
    from tests.datasets.acquire.faulty_server import BEHAVIOURS, outcome  # noqa: PLC0415

    yield f"## Network behaviours ({len(BEHAVIOURS)})"
    yield ""
    yield "A download from a server on this machine that misbehaves. It ends with the right bytes, or with a refusal"
    yield "and the file that was there before, and never with a mixed file. `python docs/trials.py network`"
    yield ""
    yield from _TABLE
    for case in BEHAVIOURS:
        with tempfile.TemporaryDirectory() as folder:
            yield row(case.name, outcome(case, Path(folder)))


def archives() -> Iterator[str]:
    """One row for each hostile or damaged archive."""
    from tests.datasets.acquire.hostile_archives import HOSTILE, refusal  # noqa: PLC0415

    yield f"## Hostile archives ({len(HOSTILE)})"
    yield ""
    yield "All are refused, and no file is written outside the directory that they are unpacked to."
    yield "`python docs/trials.py archives`"
    yield ""
    yield from _TABLE
    for case in HOSTILE:
        with tempfile.TemporaryDirectory() as folder:
            error = refusal(case, Path(folder))
            message = str(error).replace(str(Path(folder, "archive")), "ARCHIVE")
            yield row(case.name, f"`{error.code}` {message.replace(Path(folder).as_posix(), 'FOLDER')}")


def fetch_killed() -> Iterator[str]:
    """What kills of a fetch came to."""
    from tests.datasets.acquire import kills  # noqa: PLC0415

    outcome = kills.run(_KILLS, _MEGABYTES)
    yield f"## Killed while fetching ({_KILLS})"
    yield ""
    yield f"A fetch of {_MEGABYTES} MB is killed (kill -9) at {_KILLS} random moments, and the next one ends it: with"
    yield "the very files of one that was not disturbed. A third of the kills hit at any moment, a third while it"
    yield "downloads, a third while it unpacks."
    yield f"`python -m tests.datasets.acquire.kills {_KILLS} {_MEGABYTES}`"
    yield ""
    yield "| killed while | times | next fetch | bytes sent again, at most |"
    yield "| --- | ---: | --- | ---: |"
    again = f"{max(outcome.again) / 2**20:.2f} MiB"
    for moment, times in outcome.moments.most_common():
        yield f"| {moment} | {times} | right files | {again} |"


def torture(name: str) -> Iterator[str]:
    """The section of a module of tests/torture."""
    lines: Iterator[str] = import_module(f"tests.torture.{name}").section(large=True)
    yield from lines


@dataclass(frozen=True)
class Trial:
    """One section of the document."""

    section: Callable[[], Iterator[str]]
    asked: str
    """What it must reach."""


TRIALS = {
    "odd_images": Trial(
        partial(torture, "odd_images"),
        "120 kinds and 2,000 mutations: no process dies, each ends in a prediction or one reason within 2 s, the files "
        "stay as they are; no valid image is dropped; the same pixels in train, evaluate and predict",
    ),
    "archives": Trial(archives, "60 hostile archives: all refused, no file outside"),
    "network": Trial(behaviours, "40 behaviours: the right bytes or a clear refusal, never a mixed file"),
    "fetch_killed": Trial(fetch_killed, f"{_KILLS} of the kills: the next fetch gives the same files"),
    "killed": Trial(
        partial(torture, "killed"),
        "1,000 kills: the next run's result is equal bit for bit; at most one shard is computed again",
    ),
    "interrupted": Trial(
        partial(torture, "interrupted"), "Ctrl-C at any time: exit code 130, no traceback, what was computed is kept"
    ),
    "failing_disk": Trial(
        partial(torture, "failing_disk"), "40 failures: nothing corrupt, the right exit code, the next run succeeds"
    ),
    "vanished": Trial(
        partial(torture, "vanished"), "a drive or cache that goes away, a clock that jumps: nothing is lost"
    ),
    "together": Trial(
        partial(torture, "together"),
        "8 processes, 50 rounds, with the lock and with a lock that does nothing: 0 torn reads",
    ),
    "bit_rot": Trial(
        partial(torture, "bit_rot"), "a flipped byte in each of 200 shards: all found, set aside, computed again"
    ),
    "repeated": Trial(
        partial(torture, "repeated"), "20 of 20 runs of equal seeds have heads that are equal bit for bit"
    ),
    "bad_configs": Trial(
        partial(torture, "bad_configs"), "150 by hand and 5,000 generated: exit code 2 with file and line, no traceback"
    ),
    "hostile_models": Trial(partial(torture, "hostile_models"), "80 hostile files: nothing is run, no traceback"),
    "environment": Trial(
        partial(torture, "environment"),
        "odd names, links, terminals, locales and folders: a right result or one sentence",
    ),
}
"""By name, in the document's order."""

_GAPS = """\
## Not tried

- Power cuts: files are synced before they get their names, and folders after; what a disk's own cache does with that
  was not tried.
- Network drives: their errors are made by hand (EIO, ESTALE and others, `vanished`), no real drive was unplugged.
- Other systems than Linux.
- `run.json` and `metrics.json`, which reports are made from, carry no digest: a flipped bit in a text that stays valid
  is read as it stands. (A model's `manifest.json` carries its own.)
- Errors of the disk are made within the process, call by call; SQLite's own calls (the remembered digests, without
  which all is only slower) are not among them.
"""


def section_of(name: str) -> tuple[str, bool]:
    """A trial's section, and whether it came through."""
    command = [sys.executable, str(Path(__file__)), name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(f"{name}: {'done' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode == 0:
        return done.stdout.rstrip("\n"), True
    print(done.stderr, file=sys.stderr, flush=True)
    last = (done.stderr.strip() or "no word of why").splitlines()[-1]
    return f"## {name} (failed)\n\n{last}", False


def document(sections: dict[str, str]) -> str:
    """All of it."""
    head = [
        "<!-- Written by docs/trials.py (make torture); do not edit. -->",
        "",
        "# Reliability, tried",
        "",
        f"What was tried, how often, and what came of it, with Python {minor_version()}. `make torture` makes all of",
        "these trials, `make test` a part of each; `python docs/trials.py NAME` makes one.",
        "",
        "| NAME | asked | tried |",
        "| --- | --- | --- |",
    ]
    for name, text in sections.items():
        title = (re.match(r"## (.*)", text) or [text, name])[1]
        head.append(f"{row(name, TRIALS[name].asked)} {title} |")
    return "\n".join(head) + "\n\n" + "\n\n".join([*sections.values(), _GAPS])


def main() -> None:
    """Prints the sections named, or writes the document."""
    if names := sys.argv[1:]:
        for name in names:
            for line in TRIALS[name].section():
                print(line, flush=True)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running = {name: pool.submit(section_of, name) for name in sorted(TRIALS, key=lambda name: name != _LONGEST)}
    made = {name: running[name].result() for name in TRIALS}
    DOCUMENT.write_text(document({name: text for name, (text, _) in made.items()}), encoding="utf-8")
    sys.exit(not all(came_through for _, came_through in made.values()))


if __name__ == "__main__":
    main()
