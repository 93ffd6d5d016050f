"""What inspect has found, and how --json tells it."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tlcli.datasets.index import Index, LabelledImage
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.pipeline import Extraction
from tlcli.images.statistics import ImageStatistics


@dataclass(frozen=True)
class Copies:
    """Two images that show the same."""

    first: LabelledImage
    second: LabelledImage
    kind: str
    """exact (the same bytes) or near"""
    likeness: float

    @property
    def is_leak(self) -> bool:
        """They lie in two splits."""
        return self.first.split != self.second.split


@dataclass(frozen=True)
class Suspect:
    """An image whose label heads that were not fitted on it do not believe."""

    image: LabelledImage
    likelier: str
    """The class that they would give it"""
    believed: float
    """Probability of its label"""
    is_issue: bool
    """Held for wrong by confident learning; the others are just in the order of how suspicious they are"""


@dataclass(frozen=True)
class Outlier:
    """An image that is far from all others."""

    image: LabelledImage
    distance: float
    """From the nearest other image, of features less their mean: cosine distance, 0 to 2"""


@dataclass(frozen=True)
class Inspection:
    """All that was found."""

    index: Index
    facts: dict[str, ImageStatistics]
    """By name."""
    unreadable: dict[str, str]
    """Name to reason."""
    odd: dict[str, tuple[str, ...]]
    """Name to what is odd."""
    copies: tuple[Copies, ...]
    """The exact ones first; leaks are among them"""
    suspects: tuple[Suspect, ...]
    """Of training and validation images, the most suspicious first: those held for wrong, and a tenth of all"""
    outliers: tuple[Outlier, ...]
    features: Extraction
    frozen: FeatureExtractor = field(repr=False)

    @property
    def leaks(self) -> list[Copies]:
        """Copies across splits."""
        return [one for one in self.copies if one.is_leak]

    @property
    def leaks_between(self) -> dict[str, int]:
        """How many there are, by the two splits, test first."""
        return Counter(f"{one.first.split} and {one.second.split}" for one in self.leaks)

    @property
    def issues(self) -> list[Suspect]:
        """Suspects that are held for wrong."""
        return [one for one in self.suspects if one.is_issue]

    def as_json(self) -> dict[str, Any]:
        """All of it, images by their names."""
        return {
            "root": str(self.index.root),
            "images": self.index.counts(),
            "notes": list(self.index.notes),
            "facts": {name: asdict(facts) for name, facts in self.facts.items()},
            "unreadable": self.unreadable,
            "odd": self.odd,
            "copies": [
                {**_pair(one), "kind": one.kind, "likeness": one.likeness, "leak": one.is_leak} for one in self.copies
            ],
            "suspects": [
                {**_named(one.image), "likelier": one.likelier, "believed": one.believed, "issue": one.is_issue}
                for one in self.suspects
            ],
            "outliers": [{**_named(one.image), "distance": one.distance} for one in self.outliers],
            "features": {"computed": self.features.computed, "reused": self.features.reused},
        }


def _named(image: LabelledImage) -> dict[str, str]:
    return {"path": image.name, "split": image.split, "label": image.label}


def _pair(copies: Copies) -> dict[str, dict[str, str]]:
    return {"first": _named(copies.first), "second": _named(copies.second)}
