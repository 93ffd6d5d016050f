"""Solves one L2-regularised logistic regression with many output units, where arithmetic decides how long it takes.

The rows are rotated to their own principal axes first, so that the preconditioner of :mod:`tlcli.heads.solver` is a
diagonal: its four products of a pass with the axes fall away, and features beyond the number of rows as well. What
is left, two products a pass, is divided into parts of fixed size, so that their sums are equal bit for bit however many
threads compute them.
Shapes: n rows, D features, R axes, U output units (see :mod:`tlcli.heads.task`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.heads.solver import MAX_PASSES, Axes, Solution, curvature_of
from tlcli.heads.task import Task
from tlcli.system.cpu import threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANY_UNITS = 100
"""Output units from which the rotation costs less than it saves: with 1,280 features, as much as 15 passes do."""
_PART = 256
"""Rows, and axes, of a part of the products: large enough for fast products."""
_KEPT = 10
"""Steps that L-BFGS remembers."""
_HALVINGS = 12
"""Shorter steps that are tried before the loss counts as the lowest that float32 allows."""


@dataclass(frozen=True)
class PrincipalRows:
    """Rows of one problem in the coordinates of their principal axes, without rows of weight 0."""

    features: "NDArray[np.float32]"
    """[n, R]"""
    labels: "NDArray[np.int64]"
    """[n]"""
    weights: "NDArray[np.float32]"
    """[n], of each row in the loss"""
    scales: "NDArray[np.float32]"
    """[D, 1], what the features were divided by before the rotation: see :class:`~tlcli.heads.solver.Problems`"""
    axes: Axes

    @classmethod
    def of(
        cls, features: "NDArray[np.float32]", labels: "NDArray[np.int64]", weights: "NDArray[np.float32]",
        scales: "NDArray[np.float32]", axes: Axes | None = None,
    ) -> "PrincipalRows":  # fmt: skip
        """Rotates standardised rows.

        Args:
            features: standardised [n, D].
            labels: class numbers [n].
            weights: of the rows [n], above 0.
            scales: [D].
            axes: of these rows, where they are known from before.
        """
        scaled = features / scales
        count, width = scaled.shape
        # The Gram matrix of few rows in float64: axes of little variance would not be orthonormal in float32.
        axes = axes or Axes.of(scaled.astype(np.float64) if count < width else scaled)
        return cls(np.asarray(scaled @ axes.directions, np.float32), labels, weights, scales[:, None], axes)


def solve_many(rows: PrincipalRows, penalty: float, task: Task, tolerance: float, start: Solution | None) -> Solution:
    """Minimises the penalised loss, as :func:`tlcli.heads.solver.solve` does for several problems.

    Args:
        rows: in memory.
        penalty: 1 / C.
        task: gives the number of units and the loss.
        tolerance: as there.
        start: initial solution of one problem; zeros where None.
    """
    curvature = curvature_of(task)
    weight = float(rows.weights.sum(dtype=np.float64))
    root, bias_scale = weight**-0.5, (curvature * weight) ** -0.5
    along = ((curvature * weight * rows.axes.variances + penalty) ** -0.5).astype(np.float32)[:, None]  # [R, 1]
    shape = (len(along) + 1, task.units)  # the last row holds the biases
    point = np.zeros(shape, np.float32)
    if start is not None:
        point[:-1] = rows.axes.directions.T @ (start.weights[:, 0] * rows.scales) / along * np.float32(root)
        point[-1] = start.bias[0] / bias_scale * root

    def solution(at: "NDArray[np.float32]") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
        parts = at.reshape(shape) / np.float32(root)
        return parts[:-1] * along, parts[-1] * np.float32(bias_scale)

    with ThreadPoolExecutor(threads()) as pool:

        def objective(at: "NDArray[np.float32]") -> "tuple[float, NDArray[np.float32]]":
            weights, bias = solution(at)
            loss, gradient = _loss(rows, task, weights, bias, pool)
            gradient[:-1] += np.float32(penalty) * weights
            gradient[:-1] *= along * np.float32(root)
            gradient[-1] *= bias_scale * root
            loss += 0.5 * penalty * float(np.vdot(weights, weights))
            return loss * root**2, gradient.ravel()

        found, converged = minimise(objective, point.ravel(), tolerance)
    weights, bias = solution(found)
    return Solution((rows.axes.directions @ weights / rows.scales)[:, None], bias[None], converged)


def _loss(
    rows: PrincipalRows, task: Task, weights: "NDArray[np.float32]", bias: "NDArray[np.float32]",
    pool: ThreadPoolExecutor,
) -> "tuple[float, NDArray[np.float32]]":  # fmt: skip
    """One pass: the summed loss, and its gradient with respect to weights and biases [R + 1, U]."""
    count, width = rows.features.shape
    excess = np.empty((count, task.units), np.float32)
    gradient = np.empty((width + 1, task.units), np.float32)

    def of_rows(part: slice) -> float:
        logits = rows.features[part] @ weights
        logits += bias
        losses, above = task.cross_entropy(logits[:, None], rows.labels[part])
        np.multiply(above[:, 0], rows.weights[part, None], out=excess[part])
        return float(losses[:, 0] @ rows.weights[part].astype(np.float64))

    def of_axes(part: slice) -> None:
        np.matmul(rows.features[:, part].T, excess, out=gradient[part])

    total = sum(pool.map(of_rows, _parts(count)))
    for _ in pool.map(of_axes, _parts(width)):
        pass
    gradient[-1] = excess.sum(axis=0, dtype=np.float64)
    return total, gradient


def _parts(count: int) -> Sequence[slice]:
    return [slice(start, min(start + _PART, count)) for start in range(0, count, _PART)]


def minimise(
    objective: "Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]", point: "NDArray[np.float32]",
    tolerance: float,
) -> "tuple[NDArray[np.float32], bool]":  # fmt: skip
    """L-BFGS (Nocedal & Wright 2006, algorithm 7.4) in float32, for a convex function whose Hessian is about the
    identity.

    SciPy's, in float64 and with bounds that nobody needs here, takes three times as long as the pass itself once a
    million numbers are optimised.

    Args:
        objective: a point -> the value there, and its gradient.
        point: to start at.
        tolerance: largest component of the gradient at which it stops.

    Returns:
        The point, and whether it was found within :data:`~tlcli.heads.solver.MAX_PASSES` passes.
    """
    value, gradient = objective(point)
    steps: list[tuple[NDArray[np.float32], NDArray[np.float32], float]] = []
    passes = 1
    while np.abs(gradient).max() > tolerance:
        direction = _direction(gradient, steps)
        slope = float(direction @ gradient)
        if slope >= 0:  # rounding
            return point, True
        length = 1.0
        for _ in range(_HALVINGS):
            if passes >= MAX_PASSES:
                return point, False
            moved = point + np.float32(length) * direction
            next_value, next_gradient = objective(moved)
            passes += 1
            if next_value <= value + 1e-4 * length * slope:
                break
            length /= 2
        else:  # float32 allows no lower loss
            return point, True
        step, turned = moved - point, next_gradient - gradient
        if (along := float(step @ turned)) > 0:
            steps = [*steps[1 - _KEPT :], (step, turned, 1 / along)]
        point, value, gradient = moved, next_value, next_gradient
    return point, True


def _direction(
    gradient: "NDArray[np.float32]", steps: "Sequence[tuple[NDArray[np.float32], NDArray[np.float32], float]]"
) -> "NDArray[np.float32]":
    """Less the approximate inverse Hessian times the gradient (the two loops of algorithm 7.4)."""
    direction = -gradient
    shares = []
    for step, turned, inverse in reversed(steps):
        shares.append(np.float32(inverse * float(step @ direction)))
        direction -= shares[-1] * turned
    if steps:
        _, turned, inverse = steps[-1]
        direction *= np.float32(1 / (inverse * float(turned @ turned)))
    for (step, turned, inverse), share in zip(steps, reversed(shares), strict=True):
        direction += (share - np.float32(inverse * float(turned @ direction))) * step
    return direction
