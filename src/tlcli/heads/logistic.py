"""L2-regularised logistic regressions on rows of any number, many at once, by preconditioned L-BFGS.

Every pass over the rows serves all problems (the folds), and features stay float32 and are never copied whole.
The features are turned into the principal axes of a sample of rows and scaled by what the curvature is about there:
10 to 80 passes then do, with more features than rows as with many more rows than features; plain L-BFGS takes
hundreds where the penalty is weak.
Shapes: N rows, D features, R axes, P problems, U units (1 for two classes, else one a class).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import expit

from tlcli.features.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CURVATURE = 0.05
"""p (1 - p) of a typical row: between 1/4 at the start and what is left of it once most rows are told apart. From 0.02
to 0.25 the number of passes varies by a third."""
_FLAT = 1e-7
"""Axes with less than this share of the largest axis's variance are float32's rounding."""
_STRAIGHT = 0.1
"""Axes whose curvature is less than this share of the penalty's need no scaling of their own."""
MAX_PASSES = 500


@dataclass(frozen=True)
class Axes:
    """Principal axes of standardised rows."""

    directions: "NDArray[np.float32]"
    """[D, R], orthonormal"""
    variances: "NDArray[np.float64]"
    """[R]"""

    @classmethod
    def of(cls, features: "NDArray[np.float32]") -> "Axes":
        """Of standardised rows [n, D]; the smaller of the two Gram matrices is decomposed."""
        count, width = features.shape
        if count < width:
            values, left = eigh(features @ features.T, driver="evd", check_finite=False)
            kept = values > _FLAT * values[-1]
            directions = features.T @ (left[:, kept] / np.sqrt(values[kept]))
        else:
            values, vectors = eigh(features.T @ features, driver="evd", check_finite=False)
            kept = values > _FLAT * values[-1]
            directions = vectors[:, kept]
        return cls(directions.astype(np.float32), values[kept].astype(np.float64) / count)


@dataclass(frozen=True)
class Problems:
    """P logistic regressions on the same rows."""

    row_weights: "Callable[[slice], NDArray[np.float32]]"
    """Where rows stand -> weight of each in each problem's loss, [n, P]; 0 for rows that a problem must not see."""
    total_weights: "NDArray[np.float64]"
    """[P], sums of the above"""
    strengths: "NDArray[np.float64]"
    """[P], weight of the penalty (sum of squared weights / 2) against the summed loss"""
    spreads: "NDArray[np.float32]"
    """[D, P], by which a problem divides the features before it penalises: its own rows' spread"""


@dataclass(frozen=True)
class Solution:
    """Weights on standardised features, [D, P, U], and biases, [P, U]."""

    weights: "NDArray[np.float32]"
    bias: "NDArray[np.float32]"
    settled: bool = True
    """It ended because there was nothing left to gain, not because of ``MAX_PASSES``."""

    def of(self, problem: int) -> "Solution":
        """That of one problem alone."""
        return Solution(self.weights[:, [problem]], self.bias[[problem]], self.settled)

    def mean(self) -> "Solution":
        """The problems' mean, as one."""
        return Solution(self.weights.mean(axis=1, keepdims=True), self.bias.mean(axis=0, keepdims=True), self.settled)

    def logits(self, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Standardised rows [n, D] -> [n, P, U]."""
        width, problems, units = self.weights.shape
        flat = features @ self.weights.reshape(width, problems * units)
        return flat.reshape(len(features), problems, units) + self.bias


def row_losses(
    logits: "NDArray[np.float32]", labels: "NDArray[np.int64]"
) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Cross-entropy of each row in each problem, [n, P], and its gradient by the logits, [n, P, U]."""
    if logits.shape[-1] == 1:
        truth = labels[:, None].astype(np.float32)  # [n, 1]
        one = logits[..., 0]
        return np.logaddexp(np.float32(0), one) - truth * one, (expit(one) - truth)[..., None]
    at = np.arange(len(labels))
    largest = logits.max(axis=-1, keepdims=True)
    odds = np.exp(logits - largest)
    total = odds.sum(axis=-1, keepdims=True)
    losses = (np.log(total) + largest)[..., 0] - logits[at, :, labels]
    odds /= total
    odds[at, :, labels] -= 1
    return losses, odds


class _Preconditioner:
    """Symmetric and positive: what turns the problems' curvature into about the identity. It acts on arrays [D, P, U]
    as ``far I + V diag(along - far) V^T``, with ``far`` for the directions in which the sample does not vary."""

    def __init__(self, axes: Axes, problems: Problems) -> None:
        curvature = _CURVATURE * axes.variances[:, None] * problems.total_weights  # [R, P]
        bent = (curvature > _STRAIGHT * problems.strengths).any(axis=1)
        self._directions, curvature = np.ascontiguousarray(axes.directions[:, bent]), curvature[bent]
        self._far = problems.strengths**-0.5
        self._along = (curvature + problems.strengths) ** -0.5

    def times(self, array: "NDArray[np.floating]") -> "NDArray[np.float32]":
        return self._apply(array, self._along, self._far)

    def divide(self, array: "NDArray[np.floating]") -> "NDArray[np.float32]":
        return self._apply(array, 1 / self._along, 1 / self._far)

    def _apply(
        self, array: "NDArray[np.floating]", along: "NDArray[np.float64]", far: "NDArray[np.float64]"
    ) -> "NDArray[np.float32]":
        width, count, units = array.shape
        flat = array.astype(np.float32).reshape(width, -1)
        turned = (self._directions.T @ flat).reshape(-1, count, units)
        turned *= (along - far).astype(np.float32)[:, :, None]
        applied = (self._directions @ turned.reshape(-1, count * units)).reshape(array.shape)
        applied += flat.reshape(array.shape) * far.astype(np.float32)[:, None]
        return np.asarray(applied, np.float32)


def solve(
    rows: Rows, axes: Axes, problems: Problems, classes: int, tolerance: float, start: Solution | None = None
) -> Solution:  # fmt: skip
    """Minimises all problems' penalised losses.

    Args:
        rows: N standardised rows, read block by block in every pass.
        axes: of a sample of the standardised rows; they decide how many passes it takes, not what comes out.
        problems: which rows count how much, and strengths.
        classes: L.
        tolerance: largest component of the gradient at which it stops, in preconditioned coordinates, of the loss
            divided by the square root of its rows' total weight.
        start: where it begins; zeros where None.
    """
    units = 1 if classes == 2 else classes
    shape = (rows.width + 1, len(problems.strengths), units)  # the last row holds the biases
    conditioner = _Preconditioner(axes, problems)
    # Each problem's loss is divided by its rows' weight, so that one tolerance holds for all: ``root`` squared.
    root = problems.total_weights[:, None] ** -0.5  # [P, 1]
    bias_scale = _CURVATURE**-0.5 * root
    spreads = problems.spreads[:, :, None]

    def objective(point: "NDArray[np.float64]") -> "tuple[float, NDArray[np.float64]]":
        parts = point.reshape(shape) / root
        penalised = conditioner.times(parts[:-1])  # [D, P, U], weights on features of each problem's own spread
        solution = Solution(penalised / spreads, (parts[-1] * bias_scale).astype(np.float32))
        loss, by_weights, by_bias = _loss(rows, problems, solution)
        by_weights = by_weights / spreads + problems.strengths.astype(np.float32)[:, None] * penalised
        loss += 0.5 * problems.strengths * np.einsum("dpu,dpu->p", penalised, penalised, dtype=np.float64)
        gradient = np.concatenate([conditioner.times(by_weights), (by_bias * bias_scale)[None]]) * root
        return float(loss @ root[:, 0] ** 2), gradient.ravel()

    first = np.zeros(shape)
    if start is not None:
        first[:-1] = conditioner.divide(start.weights * spreads) * root
        first[-1] = start.bias / bias_scale * root
    options = {"maxfun": MAX_PASSES, "maxiter": MAX_PASSES, "gtol": tolerance, "ftol": 0.0}
    found = minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    point, settled = found.x.reshape(shape) / root, found.status != 1  # 1: the limit; 2: float32 knows no better
    return Solution(conditioner.times(point[:-1]) / spreads, (point[-1] * bias_scale).astype(np.float32), settled)


def _loss(
    rows: Rows, problems: Problems, solution: Solution
) -> "tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]":
    """One pass: summed loss [P], and its gradient by the weights [D, P, U] and by the biases [P, U]."""
    width, count, units = solution.weights.shape
    total, by_bias = np.zeros(count), np.zeros((count, units))
    by_weights = np.zeros((width, count * units), np.float32)
    for place, features in rows.blocks():
        labels, weights = rows.labels[place], problems.row_weights(place)
        losses, excess = row_losses(solution.logits(features), labels)
        total += np.einsum("np,np->p", losses, weights, dtype=np.float64)
        excess *= weights[:, :, None]
        by_bias += excess.sum(axis=0, dtype=np.float64)
        by_weights += features.T @ excess.reshape(len(features), -1)
    return total, by_weights.reshape(width, count, units), by_bias
