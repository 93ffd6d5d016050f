"""What a trained model answers, and what an answer rests on.

Shapes: S pixels a side, G and H positions of the finest feature map that the head takes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNSURE, NONE_OF_THESE = "unsure", "none of these"


@dataclass(frozen=True)
class Prediction:
    """The answer for one image, or why there is none."""

    path: str
    """The file as it was given; ``image 3`` for the third image where bytes or pixels were given."""
    best_guess: str | None
    """The most probable class, or with thresholds the one that they decide for, whether it is the answer or not; None
    where the image is unreadable."""
    probability: float | None
    """Calibrated probability of ``best_guess``."""
    top: tuple[tuple[str, float], ...]
    """``best_guess``, then the other most probable classes in descending order, with their probabilities."""
    probabilities: tuple[float, ...]
    """One for each class, in the model's order; empty where the image is unreadable."""
    refusal: str | None = None
    """Why the answer is no class: :data:`UNSURE` or :data:`NONE_OF_THESE`; None where it is one, or unreadable."""
    distance: float | None = None
    """Cosine distance (0 to 2) of its feature to the nearest reference image of the bundle."""
    error: str | None = None
    """Why the image is unreadable."""
    error_code: str | None = None
    """The stable code of that error, such as ``image.truncated``."""
    prediction_set: tuple[str, ...] | None = None
    """Classes among which the image's is with the coverage asked for, in the order of ``top``; None where none was."""
    threshold: float | None = None
    """Of ``best_guess``: of all classes, its probability is the largest multiple of its threshold. None where the model
    has no thresholds, so that ``best_guess`` is the most probable class."""

    @property
    def label(self) -> str | None:
        """The final answer: a class; None where the answer is no class, or the image is unreadable."""
        return self.best_guess if self.refusal is None else None

    @property
    def answer(self) -> str | None:
        """The final answer as a text: ``label``, or ``refusal``; None where the image is unreadable."""
        return self.refusal or self.best_guess

    @property
    def text(self) -> str:
        """The answer; where it is no class, the most probable class in brackets."""
        return self.best_guess or "" if self.refusal is None else f"{self.refusal} ({self.best_guess}?)"

    @property
    def is_none_of_these(self) -> bool:
        """Whether the image is out of distribution; a class may have the name "none of these", too."""
        return self.refusal == NONE_OF_THESE

    def document(self) -> dict[str, object]:
        """What ``predict --json`` prints of it, and what a server answers."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {
            "path": self.path, "label": self.label, "answer": self.answer, "best_guess": self.best_guess,
            "probability": self.probability, "threshold": self.threshold, "prediction_set": self.prediction_set,
            "distance": self.distance, "top": top, "error": self.error, "error_code": self.error_code,
        }  # fmt: skip


@dataclass(frozen=True)
class Neighbour:
    """A training image near to a new one."""

    name: str
    label: str
    similarity: float
    """Cosine similarity of the features."""


NoMap = Literal["kernel", "class_token", "no_positions"]
"""Why there is no map of the evidence: the head is not linear in the features; it takes a class token, which belongs to
no position; the network gives features without positions."""


@dataclass(frozen=True)
class Explanation:
    """What an answer rests on."""

    pixels: "NDArray[np.uint8]"
    """uint8 [H, W, 3], as the backbone sees the image"""
    evidence: "NDArray[np.float64] | None"
    """[G, H], the contribution of each part of the image to the log odds of the label
    (:func:`tlcli.evaluation.activation_map.activation_map`); None where only the neighbours explain, see ``no_map``"""
    neighbours: tuple[Neighbour, ...]
    """The nearest reference images, the nearest first"""
    no_map: NoMap | None = None
    """Why ``evidence`` is None"""
