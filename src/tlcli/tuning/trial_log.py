"""What a search knows of what it tried, and how a trial is named.

:class:`tlcli.runs.trials.Trials` keeps it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

from tlcli.tuning.candidates import Candidate
from tlcli.tuning.settings import HeadSetting


class Trial(Protocol):
    """What is known of something that was tried."""

    @property
    def scores(self) -> tuple[float, ...]:
        """Of each fold."""

    @property
    def seconds(self) -> float:
        """That it took."""


class TrialLog(Protocol):
    """Keeps what was tried; see :class:`tlcli.runs.trials.Trials`."""

    def get(self, what: Mapping[str, object]) -> Trial | None:
        """The trial of this, if it is known."""

    def add(self, what: Mapping[str, object], scores: tuple[float, ...], seconds: float) -> Trial:
        """Keeps one."""

    def __len__(self) -> int:
        """How many are known."""


def pass_key(candidate: Candidate, images: int) -> dict[str, object]:
    """A pass on so many images."""
    return {"stage": "pass", "pass": asdict(candidate.setting), "images": images}


def head_key(candidate: Candidate, setting: HeadSetting) -> dict[str, object]:
    """A head on a pass of all images."""
    return {"stage": "head", "pass": asdict(candidate.setting), "head": asdict(setting)}


def group_key(candidate: Candidate, settings: Sequence[HeadSetting]) -> dict[str, object]:
    """Heads that differ in C only: known when all values were tried that are not clearly too large."""
    Cs = sorted(setting.C for setting in settings)
    return {"stage": "group", "pass": asdict(candidate.setting), "head": asdict(settings[0].group), "Cs": Cs}
