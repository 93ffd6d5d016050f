"""What people decided about single images of a data set: which are left out and why, and which have another class."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

ExclusionReason = Literal["unreadable", "duplicate", "near_duplicate", "label", "outlier", "by_hand"]
"""Why an image is left out. by_hand: the list gives no reason."""
EXCLUSION_REASONS: tuple[ExclusionReason, ...] = get_args(ExclusionReason)
EXCLUDED_AS: dict[ExclusionReason, str] = {
    "unreadable": "unreadable",
    "duplicate": "exact copies",
    "near_duplicate": "near duplicates",
    "label": "for their label",
    "outlier": "outliers",
    "by_hand": "by hand",
}
"""How a sentence says it: ``3 by hand``."""


@dataclass(frozen=True)
class Decisions:
    """Decisions by the name of the image. They never change which split an image is in."""

    excluded: Mapping[str, ExclusionReason] = field(default_factory=dict)
    """Images to leave out."""
    relabelled: Mapping[str, str] = field(default_factory=dict)
    """The class of images whose label in the data is wrong. Those of test images are not applied."""
