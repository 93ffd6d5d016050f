"""The budget of a search, and what passes, heads and mini-batch heads are expected to take of it."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from time import monotonic

from tlcli.backbones.spec import BackboneSpec
from tlcli.engines.interface import Engine
from tlcli.features.extractor import FeatureExtractor
from tlcli.images.items import Decoder
from tlcli.progress import Progress

MINIBATCH_FIT = 2.7e-7
"""Seconds of a mini-batch fit for each row and feature, until one was measured: 0.7 s for 2,000 images with 1,280
features (two busy cores, 30 epochs)."""


@dataclass
class Clock:
    """How much of the budget is spent."""

    budget: float
    """Seconds"""
    started: float = field(default_factory=monotonic)
    is_cut: bool = False
    """Whether something was left out for want of time"""

    @property
    def seconds(self) -> float:
        """Since the start."""
        return monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.budget - self.seconds)

    def allows(self, seconds: float, share: float) -> bool:
        """Whether something that takes so long would end before this share of the budget is spent."""
        return self.seconds + seconds <= share * self.budget


@dataclass
class Pace:
    """What was measured of passes and heads so far, by which the next are predicted."""

    _opened: dict[Hashable, float] = field(default_factory=dict)
    """Seconds that opening the engine of a pass took the first time, its conversion included"""
    _reopened: float = 0.0
    """Seconds that the last converted network took to open"""
    _rate: float = 1.0
    """Seconds that the images of the last pass took, for each second predicted by the measured speed: decoding"""
    _of_image: float = 0.0
    """Seconds that the heads of the last pass took for an image"""
    _of_base: float = 0.0
    """Seconds of the heads on one choice of features"""

    def timed(self, extractor: FeatureExtractor, key: Hashable) -> tuple[FeatureExtractor, list[float]]:
        """The extractor of a pass, and the seconds that it spends on opening its engine, as it does."""
        found: list[float] = []

        def opened(spec: BackboneSpec, decoder: Decoder, progress: Progress) -> Engine:
            started = monotonic()
            engine = extractor.opener(spec, decoder, progress)
            found.append(monotonic() - started)
            if key in self._opened:
                self._reopened = found[-1]
            self._opened.setdefault(key, found[-1])
            return engine

        return replace(extractor, opener=opened), found

    def opening(self, key: Hashable, is_converted: bool) -> float:
        """Seconds until the engine of a pass is open.

        Args:
            key: of the pass.
            is_converted: images have passed it in an earlier part of the search.
        """
        if is_converted or key in self._opened:
            return self._reopened
        return list(self._opened.values())[-1] if self._opened else 0.0

    def passed(self, seconds: float, predicted: float, heads: float, images: int) -> None:
        """Notes a pass that was measured.

        Args:
            seconds: of the images, without opening the engine.
            predicted: the same by the network's speed alone; 0 where all were stored.
            heads: seconds of the heads.
            images: that the heads were fitted on.
        """
        if predicted > 0:
            self._rate = max(1.0, seconds / predicted)
        self._of_image = heads / images

    def pass_seconds(self, computed: float, images: int) -> float:
        """Of a pass with its heads, the engine being open.

        Args:
            computed: seconds of the images that are not stored, by the network's speed alone.
            images: that the heads are fitted on.
        """
        return computed * self._rate + images * self._of_image

    def heads_took(self, seconds: float, bases: int) -> None:
        """Notes that heads on so many choices of features took so long, several side by side."""
        if bases:
            self._of_base = seconds / bases

    def heads_seconds(self, side_by_side: int) -> float:
        """Until the first heads on another pass are scored."""
        return self._of_base * side_by_side
