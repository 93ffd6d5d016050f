"""Is a fine-tuned network better than the frozen one? Both on the same images, and on shifted copies of them.

Importing this imports no NumPy: what only reads a run starts fast.
Shapes: N images, L classes; labels int [N], probabilities [N, L], rows sum to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LEAST = 1e-12
"""Of a probability, for its logarithm."""

Compared = Literal["accuracy", "balanced accuracy"]
"""What a difference is of."""


@dataclass(frozen=True)
class Side:
    """One of the two."""

    accuracy: float
    log_loss: float
    calibration_error: float
    """Expected, over 15 bins."""
    balanced_accuracy: float | None = None
    """None in older runs."""

    @classmethod
    def of(cls, labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> "Side":
        """Of its answers."""
        import numpy as np  # noqa: PLC0415 - see the module

        from tlcli.evaluation.calibration import expected_calibration_error  # noqa: PLC0415 - see the module
        from tlcli.evaluation.metrics import balanced_accuracy_of  # noqa: PLC0415 - see the module

        chosen = np.maximum(probabilities[np.arange(len(labels)), labels], _LEAST)
        predicted = probabilities.argmax(axis=1)
        return cls(
            float((predicted == labels).mean()), float(-np.log(chosen).mean()),
            expected_calibration_error(labels, probabilities),
            balanced_accuracy_of(labels, predicted, probabilities.shape[1]),
        )  # fmt: skip

    def score(self, compared: Compared) -> float:
        """What is compared."""
        balanced = self.balanced_accuracy
        return self.accuracy if compared == "accuracy" or balanced is None else balanced


@dataclass(frozen=True)
class Pair:
    """Both on the same images."""

    frozen: Side
    tuned: Side
    difference: float
    """Accuracy of the fine-tuned minus that of the frozen one, or balanced accuracy: see :attr:`Proof.compared`."""
    difference_ci95: tuple[float, float]
    p: float
    """McNemar's exact test; of groups of images a test of their sums; of balanced accuracy a permutation test."""

    @property
    def is_better(self) -> bool:
        """Whether there is evidence that the fine-tuned one is better."""
        return self.difference_ci95[0] > 0 and self.p < _LEVEL

    @property
    def is_worse(self) -> bool:
        """Whether there is evidence that the frozen one is better."""
        return self.difference_ci95[1] < 0 and self.p < _LEVEL


_LEVEL = 0.05


@dataclass(frozen=True)
class Proof:
    """What fine-tuning brought, on validation images."""

    images: int
    plain: Pair
    shifts: dict[str, Pair]
    """The same images blurred, noisy, darker, brighter."""
    compared: Compared = "accuracy"

    @property
    def is_better(self) -> bool:
        """Whether there is evidence, on the images as they are."""
        return self.plain.is_better


def pair_of(
    labels: "NDArray[np.int64]", units: "NDArray[np.int64]", frozen: "NDArray[np.float64]",
    tuned: "NDArray[np.float64]", compared: Compared = "accuracy",
) -> Pair:  # fmt: skip
    """Compares two classifiers.

    Args:
        labels: the ground truth [N].
        units: which images belong together [N].
        frozen: probabilities of one [N, L].
        tuned: of the other.
        compared: what the difference is of.
    """
    from tlcli.evaluation.balanced_difference import balanced_difference  # noqa: PLC0415 - SciPy
    from tlcli.evaluation.compare import clustered_difference, paired_difference  # noqa: PLC0415 - SciPy

    right, right_tuned = (answers.argmax(axis=1) == labels for answers in (frozen, tuned))
    gained = right_tuned.astype("int64") - right
    if compared == "balanced accuracy":
        found = balanced_difference(labels, gained, units)
    else:
        only_frozen, only_tuned = int((gained < 0).sum()), int((gained > 0).sum())
        both = int((right & right_tuned).sum())
        plain = paired_difference(both, only_frozen, only_tuned, len(labels) - both - only_frozen - only_tuned)
        found = clustered_difference(plain, gained, units)
    return Pair(
        Side.of(labels, frozen), Side.of(labels, tuned), found.difference, (found.low, found.high), found.p
    )  # fmt: skip


def prove(
    labels: "NDArray[np.int64]", units: "NDArray[np.int64]",
    answers: "Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]", plain: str,
    compared: Compared = "accuracy",
) -> Proof:  # fmt: skip
    """Compares both on images as they are, and on shifted copies.

    Args:
        labels: the ground truth [N].
        units: which images belong together [N].
        answers: probabilities of the frozen and of the fine-tuned one [N, L], by the name of the shift.
        plain: the name of the images as they are.
        compared: what the differences are of.
    """
    found = {name: pair_of(labels, units, *both, compared) for name, both in answers.items()}
    shifts = {name: pair for name, pair in found.items() if name != plain}
    return Proof(len(labels), found[plain], shifts, compared)
