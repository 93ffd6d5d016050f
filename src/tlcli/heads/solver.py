"""Solves many L2-regularised logistic regressions on the same rows at once, by preconditioned L-BFGS.

Every pass over the rows serves all problems (the folds); rows stream from the store, so they may be larger than memory,
and features stay float32. The features are rotated to the principal axes of a sample of rows and scaled by the
approximate curvature along each: 10 to 80 passes are then enough, with more features than rows as with many more rows
than features; plain L-BFGS takes hundreds where the penalty is weak.
Shapes: N rows, D features, R axes, P problems, U output units (see :mod:`tlcli.heads.task`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize

from tlcli.features.rows import Rows
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CURVATURE = 0.05
"""p (1 - p) of a typical row: 1/4 at the start, and less once most rows are classified with confidence. From 0.02 to
0.25 the number of passes varies by a third. With many units it is the mean, 1/U: with 1,000 of them 0.05 takes twice
as many passes."""
_FLAT = 1e-7
"""Axes with less than this share of the largest axis's variance are rounding errors of float32."""
_TURNED = 1e-5
"""Share of the largest axis's variance that products of two features of turned rows are below: rounding errors."""
_STRAIGHT = 0.1
"""Axes whose curvature is less than this share of the penalty's need no scaling of their own."""
MAX_PASSES = 500
"""Passes over the rows after which the solver gives up."""


@dataclass(frozen=True)
class Axes:
    """Principal axes of standardised rows, for the preconditioner."""

    directions: "NDArray[np.float32]"
    """[D, R], orthonormal"""
    variances: "NDArray[np.float64]"
    """[R]"""
    are_turned: bool = False
    """Whether the rows are turned to them already: R is D, and the directions are left out"""

    @staticmethod
    def turned(features: "NDArray[np.float32]") -> "tuple[NDArray[np.float32], Axes]":
        """Turns standardised rows [n, D] to their axes: rows [n, R] that have the same products with one another.

        An L2 penalty does not change with a rotation, so logistic regressions on them are the same as on the rows, with
        fewer features where D is larger than n, and a preconditioner that costs nothing.
        """
        count, width = features.shape
        is_wide = count < width
        values, vectors = eigh(
            features @ features.T if is_wide else features.T @ features, driver="evd", check_finite=False
        )
        kept = values > _FLAT * values[-1]
        rows = vectors[:, kept] * np.sqrt(values[kept]) if is_wide else features @ vectors[:, kept]
        axes = Axes(np.empty((0, 0), np.float32), values[kept].astype(np.float64) / count, are_turned=True)
        return np.ascontiguousarray(rows, np.float32), axes

    @classmethod
    def of(cls, features: "NDArray[np.float32]") -> "Axes":
        """Computes them from standardised rows [n, D], by the smaller of the two Gram matrices. Rows that are turned to
        their axes already are noticed: they have a diagonal one."""
        count, width = features.shape
        if count < width:
            values, left = eigh(features @ features.T, driver="evd", check_finite=False)
            kept = values > _FLAT * values[-1]
            directions = features.T @ (left[:, kept] / np.sqrt(values[kept]))
        else:
            gram = features.T @ features
            variances = np.diagonal(gram).astype(np.float64) / count
            if np.abs(gram - np.diag(np.diagonal(gram))).max() <= _TURNED * variances.max() * count:
                return cls(np.empty((0, 0), np.float32), variances, are_turned=True)
            values, vectors = eigh(gram, driver="evd", check_finite=False)
            kept = values > _FLAT * values[-1]
            directions = vectors[:, kept]
        return cls(directions.astype(np.float32), values[kept].astype(np.float64) / count)


@dataclass(frozen=True)
class Problems:
    """P logistic regressions on the same rows."""

    row_weights: "Callable[[slice], NDArray[np.float32]]"
    """Slice of the rows -> weight of each row in each problem's loss, [n, P]; 0 for rows that a problem holds out."""
    total_weights: "NDArray[np.float64]"
    """[P], sums of the above"""
    penalties: "NDArray[np.float64]"
    """[P], 1 / C: weight of half the squared weights against the summed loss"""
    scales: "NDArray[np.float32]"
    """[D, P], what each problem divides the features by before it penalises their weights: the scale of its rows"""


@dataclass(frozen=True)
class Solution:
    """Weights on standardised features, [D, P, U], and biases, [P, U]."""

    weights: "NDArray[np.float32]"
    bias: "NDArray[np.float32]"
    converged: bool = True
    """False where ``MAX_PASSES`` ended the search."""

    def of(self, problem: int) -> "Solution":
        """The solution of one problem."""
        return Solution(self.weights[:, [problem]], self.bias[[problem]], self.converged)

    def mean(self) -> "Solution":
        """The mean over the problems, as a solution of one problem."""
        return Solution(self.weights.mean(axis=1, keepdims=True), self.bias.mean(axis=0, keepdims=True), self.converged)

    def logits(self, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Standardised rows [n, D] -> [n, P, U]."""
        width, problems, units = self.weights.shape
        flat = features @ self.weights.reshape(width, problems * units)
        return flat.reshape(len(features), problems, units) + self.bias


def curvature_of(task: Task) -> float:
    """The second derivative of a row's loss with respect to a logit, about: see :data:`_CURVATURE`."""
    return min(_CURVATURE, 1 / task.units)


class _Preconditioner:
    """Symmetric, positive definite; makes the Hessian of every problem about the identity. It acts on arrays [D, P, U]
    as ``far I + V diag(along - far) V^T``, with ``far`` for the directions in which the sample does not vary."""

    def __init__(self, axes: Axes, problems: Problems, task: Task) -> None:
        curvature = curvature_of(task) * axes.variances[:, None] * problems.total_weights  # [R, P]
        self._directions = None
        if not axes.are_turned:
            bent = (curvature > _STRAIGHT * problems.penalties).any(axis=1)
            self._directions, curvature = np.ascontiguousarray(axes.directions[:, bent]), curvature[bent]
        self._far = problems.penalties**-0.5
        self._along = (curvature + problems.penalties) ** -0.5

    def times(self, array: "NDArray[np.floating]") -> "NDArray[np.float32]":
        return self._apply(array, self._along, self._far)

    def divide(self, array: "NDArray[np.floating]") -> "NDArray[np.float32]":
        return self._apply(array, 1 / self._along, 1 / self._far)

    def _apply(
        self, array: "NDArray[np.floating]", along: "NDArray[np.float64]", far: "NDArray[np.float64]"
    ) -> "NDArray[np.float32]":
        if self._directions is None:
            return np.asarray(array * along[:, :, None], np.float32)
        width, count, units = array.shape
        flat = array.astype(np.float32).reshape(width, -1)
        turned = (self._directions.T @ flat).reshape(-1, count, units)
        turned *= (along - far).astype(np.float32)[:, :, None]
        applied = (self._directions @ turned.reshape(-1, count * units)).reshape(array.shape)
        applied += flat.reshape(array.shape) * far.astype(np.float32)[:, None]
        return np.asarray(applied, np.float32)


def solve(
    rows: Rows, axes: Axes, problems: Problems, task: Task, tolerance: float, start: Solution | None = None
) -> Solution:  # fmt: skip
    """Minimises the penalised losses of all problems.

    Args:
        rows: N standardised rows, read block by block in every pass.
        axes: of a sample of the standardised rows; they decide how many passes it takes, not the result.
        problems: weights of the rows and penalties.
        task: gives the number of units and the loss.
        tolerance: largest component of the gradient at which it stops, in preconditioned coordinates, of the loss
            divided by the square root of its rows' total weight.
        start: initial solution; zeros where None.
    """
    shape = (rows.width + 1, len(problems.penalties), task.units)  # the last row holds the biases
    conditioner = _Preconditioner(axes, problems, task)
    # Each problem's loss is divided by its rows' weight, so that one tolerance holds for all: ``root`` squared.
    root = problems.total_weights[:, None] ** -0.5  # [P, 1]
    bias_scale = curvature_of(task) ** -0.5 * root
    scales = problems.scales[:, :, None]

    def objective(point: "NDArray[np.float64]") -> "tuple[float, NDArray[np.float64]]":
        parts = point.reshape(shape) / root
        penalised = conditioner.times(parts[:-1])  # [D, P, U], weights on features divided by each problem's own scale
        solution = Solution(penalised / scales, (parts[-1] * bias_scale).astype(np.float32))
        loss, by_weights, by_bias = _loss(rows, problems, task, solution)
        by_weights = by_weights / scales + problems.penalties.astype(np.float32)[:, None] * penalised
        loss += 0.5 * problems.penalties * np.einsum("dpu,dpu->p", penalised, penalised, dtype=np.float64)
        gradient = np.concatenate([conditioner.times(by_weights), (by_bias * bias_scale)[None]]) * root
        return float(loss @ root[:, 0] ** 2), gradient.ravel()

    first = np.zeros(shape)
    if start is not None:
        first[:-1] = conditioner.divide(start.weights * scales) * root
        first[-1] = start.bias / bias_scale * root
    options = {"maxfun": MAX_PASSES, "maxiter": MAX_PASSES, "gtol": tolerance, "ftol": 0.0}
    found = minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    point, converged = found.x.reshape(shape) / root, found.status != 1  # 1: the limit; 2: float32 allows no lower loss
    return Solution(conditioner.times(point[:-1]) / scales, (point[-1] * bias_scale).astype(np.float32), converged)


def _loss(
    rows: Rows, problems: Problems, task: Task, solution: Solution
) -> "tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]":
    """One pass: summed loss [P], and its gradient with respect to weights [D, P, U] and biases [P, U]."""
    width, count, units = solution.weights.shape
    total, by_bias = np.zeros(count), np.zeros((count, units))
    by_weights = np.zeros((width, count * units), np.float32)
    for block, features in rows.blocks():
        labels, weights = rows.labels[block], problems.row_weights(block)
        losses, excess = task.cross_entropy(solution.logits(features), labels)
        total += np.einsum("np,np->p", losses, weights, dtype=np.float64)
        excess *= weights[:, :, None]
        by_bias += excess.sum(axis=0, dtype=np.float64)
        by_weights += features.T @ excess.reshape(len(features), -1)
    return total, by_weights.reshape(width, count, units), by_bias
