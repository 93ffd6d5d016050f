"""Makes the trials of docs/reliability.md, and writes what came of them.

python docs/trials.py [KILLS] [MEGABYTES]    (default: 60 kills of a fetch of 200 MB; takes some minutes)
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.data.faulty_server import BEHAVIOURS  # noqa: E402
from tests.data.faulty_server import outcome as behaviour_outcome  # noqa: E402
from tests.data.hostile_archives import HOSTILE, refusal  # noqa: E402
from tests.fetching import kills  # noqa: E402
from tests.reliability import DOCUMENT, minor_version, row  # noqa: E402

_TABLE = ["| what | outcome |", "| --- | --- |"]


def behaviours() -> Iterator[str]:
    """One row for each way in which a server or a network can misbehave."""
    yield f"## Network behaviours ({len(BEHAVIOURS)})"
    yield ""
    yield "A download from a server on this machine that misbehaves. It ends with the right bytes, or with a refusal"
    yield "and the file that was there before, and never with a mixed file. `pytest tests/data/test_download.py`"
    yield ""
    yield from _TABLE
    for case in BEHAVIOURS:
        with tempfile.TemporaryDirectory() as folder:
            yield row(case.name, behaviour_outcome(case, Path(folder)))


def archives() -> Iterator[str]:
    """One row for each hostile or damaged archive."""
    yield f"## Hostile archives ({len(HOSTILE)})"
    yield ""
    yield "All are refused, and no file lies outside of the folder that was to be filled. `pytest"
    yield "tests/data/test_unpack_refuses.py`"
    yield ""
    yield from _TABLE
    for case in HOSTILE:
        with tempfile.TemporaryDirectory() as folder:
            yield row(case.name, refusal(case, Path(folder)))


def killed(count: int, megabytes: int) -> Iterator[str]:
    """What kills came to."""
    outcome = kills.run(count, megabytes)
    yield "## Killed"
    yield ""
    yield f"A fetch of {megabytes} MB is killed (kill -9) at {count} random moments, and the next one ends it: with the"
    yield "very files of one that was not disturbed. Half of the kills hit at any moment, half while it unpacks."
    yield f"`python -m tests.fetching.kills {count} {megabytes}` (60 kills of 25 MB in every test run)"
    yield ""
    yield "| killed while | times | next fetch | bytes sent again, at most |"
    yield "| --- | ---: | --- | ---: |"
    again = f"{max(outcome.again) / 2**20:.2f} MiB"
    for moment, times in outcome.moments.most_common():
        yield f"| {moment} | {times} | right files | {again} |"


def main() -> None:
    """Writes the document."""
    numbers = [int(text) for text in sys.argv[1:]]
    count, megabytes = [*numbers, *(60, 200)[len(numbers) :]]
    lines = [
        "<!-- Written by docs/trials.py (make reliability); do not edit. -->",
        "",
        "# Reliability, tried",
        "",
        f"What was tried, and what came of it, with Python {minor_version()}. The tests make these trials again and",
        "hold their outcomes against these tables.",
        "",
        *killed(count, megabytes),
        "",
        *behaviours(),
        "",
        *archives(),
    ]
    DOCUMENT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
