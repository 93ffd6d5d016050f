"""What doctor found out about one subject."""

from dataclasses import dataclass, field
from typing import Literal

from tlcli.errors import TlcliError

Value = str | int | float | bool | list[str] | dict[str, str] | None
"""A fact, as JSON has it; None where it is unknown. Names of facts in bytes end with ``_bytes``."""
Verdict = Literal["ok", "warning", "problem"]


@dataclass
class Section:
    """Facts about one subject, what could be better, and what does not work."""

    name: str
    facts: dict[str, Value] = field(default_factory=dict)
    warnings: list[TlcliError] = field(default_factory=list)
    problems: list[TlcliError] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst of it."""
        return "problem" if self.problems else "warning" if self.warnings else "ok"
