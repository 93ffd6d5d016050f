"""What doctor says of one thing it looked at."""

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass
class Section:
    """What was found about one thing."""

    name: str
    verdict: Verdict = "ok"
    rows: list[tuple[str, str]] = field(default_factory=list)
    """For people: a name and what there is to say of it."""
    advice: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """For programs: fit for JSON."""
    exit_code: int = 0

    def warn(self, advice: str) -> None:
        """Something can be better."""
        self.verdict = "problem" if self.verdict == "problem" else "warning"
        self.advice.append(advice)

    def fail(self, advice: str, exit_code: int) -> None:
        """Something does not work."""
        self.verdict, self.exit_code = "problem", self.exit_code or exit_code
        self.advice.append(advice)
