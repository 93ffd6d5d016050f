"""How the core reports what it is doing: a listener that is silent unless the command line passes one that prints."""

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Receives stages, steps and notes. This base class ignores them all."""

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:  # noqa: ARG002
        """One longer piece of work; ``total`` counts ``unit`` (images, bytes), None means unknown."""
        yield

    def advance(self, steps: int = 1) -> None:
        """``steps`` more of the current stage are done."""

    def note(self, message: str) -> None:
        """A fact worth a line: what ``auto`` chose, what was skipped."""


SILENT = Progress()


def format_duration(seconds: float) -> str:
    """``45 s``, ``14 min``, ``1 h 5 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
