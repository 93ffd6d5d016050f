"""What a search compares: passes, and the images that they take.

Shapes: N images.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import Blocks
from tlcli.datasets.index import LabelledImage
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.repeated_cross_validation import nested_parts
from tlcli.tuning.outcome import PassCost
from tlcli.tuning.settings import PassSetting

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
"""Outer folds, and inner ones within each."""


@dataclass(frozen=True)
class Candidate:
    """A pass that can be tried."""

    setting: PassSetting
    extractor: FeatureExtractor
    cost: PassCost

    @property
    def blocks(self) -> Blocks:
        """All blocks of its features."""
        return self.extractor.blocks

    @property
    def name(self) -> str:
        """For messages."""
        setting = self.setting
        views = "" if setting.augmentation == "none" else f", {setting.augmentation}"
        return f"{setting.backbone or 'own network'} {setting.size_text} {setting.resize}{views}"


@dataclass(frozen=True)
class Images:
    """The images that are searched on."""

    all: tuple[LabelledImage, ...]
    """[N]"""
    labels: tuple[str, ...]
    """All classes"""
    rows: Rows
    """Classes and units of the images; their features are not read"""
    seed: int

    def sample(self, count: int) -> "NDArray[np.int64]":
        """Numbers of a stratified sample of whole units, which is part of every larger one. Rare classes keep two units
        for each fold, where they have them."""
        numbers, rows = np.arange(len(self.all)), self.rows
        if count >= len(numbers):
            return numbers
        chosen = []
        for label in np.unique(rows.labels):
            of_class = numbers[rows.labels == label]
            share = max(count / len(numbers), 2 * FOLDS / len(np.unique(rows.units[of_class])))
            chosen += nested_parts(rows, of_class, (min(1.0, share),), self.seed)
        return numbers[np.isin(rows.units, rows.units[np.concatenate(chosen)])]
