"""docs/reliability.md: its rows are the outcomes of trials, which the tests compare with what they see."""

import functools
import platform
import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "reliability.md"


def row(name: str, outcome: str) -> str:
    """A row of a table."""
    cells = (" ".join(cell.split()).replace("|", "\\|").replace("<", "\\<") for cell in (name, outcome))
    return f"| {' | '.join(cells)} |"


def minor_version() -> str:
    """Such as 3.11: outcomes may differ between versions of Python."""
    return ".".join(platform.python_version_tuple()[:2])


@functools.cache
def _documented() -> tuple[str, frozenset[str]]:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(r"Python (\d+\.\d+)", text)
    return found[1] if found else "", frozenset(text.splitlines())


def check_documented(name: str, outcome: str, pattern: str | None = None) -> None:
    """Asserts that the document has this row, where it was written with this version of Python.

    Args:
        name: what was tried.
        outcome: the outcome.
        pattern: what the documented outcome must match instead, where it depends on timing.
    """
    version, lines = _documented()
    if version != minor_version():
        return
    if pattern is not None:
        start = row(name, "").removesuffix(" |")
        assert any(line.startswith(start) and re.search(pattern, line[len(start) : -2]) for line in lines), name
        return
    assert row(name, outcome) in lines, f"not in docs/reliability.md (make torture): {row(name, outcome)}"


def documented_names(title: str) -> list[str]:
    """The first cells of the table below a heading that begins with ``title``."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"## {title}")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return [line[2:].partition(" | ")[0].replace("\\|", "|").replace("\\<", "<") for line in rows]
