"""Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"): one number that makes a head's
probabilities match how often it is correct.

Shapes: N images, L classes; labels int [N], probabilities [N, L], rows sum to 1.
"""

from dataclasses import replace
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from tlcli.features.rows import Rows
from tlcli.heads.fit_record import Fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEMPERATURES = (0.05, 20.0)
"""Bounds of the search; the temperatures of useful heads lie well within."""
_PRIOR = 10.0
"""Weight of the prior at temperature 1, see :func:`fit_temperature`."""


def calibrated(fit: Fit, validation: Rows, images: int) -> Fit:
    """The fit with a temperature, fitted on validation rows and on training rows that its cross-validation held out.

    Args:
        fit: an uncalibrated fit (temperature 1).
        validation: rows of the validation images. Alone they are often too few (bench/calibration.py).
        images: number of training images. Only held-out rows below it, the plain views, count: augmented views are not
            what the head will see.
    """
    labels, probabilities = [validation.labels], [fit.head.predict(validation)]
    if fit.held_out is not None:
        plain = fit.held_out.rows < images
        labels.append(fit.held_out.labels[plain])
        probabilities.append(fit.held_out.probabilities[plain])
    temperature = fit_temperature(np.concatenate(labels), np.concatenate(probabilities))
    return replace(fit, head=replace(fit.head, temperature=temperature))


def fit_temperature(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> float:
    """The temperature that logits are divided by, for the lowest log loss on images that the head was not fitted on.

    With few images, or where all are classified correctly, the lowest loss can be at temperature 0 (full confidence).
    So a Gamma prior on b = 1/T adds ``k (b - 1 - log b)`` to the summed loss, ``k`` = 10: least at b = 1, with a
    standard deviation of about 0.3, the spread of what heads need. Both are convex in b, so there is one answer.

    Args:
        labels: the ground truth [N]. The more, the better: a few hundred determine the temperature to 0.14, which is no
            better than an uncalibrated good head.
        probabilities: of each class [N, L], at temperature 1.

    Returns:
        T, between 0.05 and 20: above 1 where the head is overconfident, below 1 where it is underconfident.
    """
    logits = _logits(probabilities)
    truth = logits[np.arange(len(labels)), labels].sum()

    def loss(log_temperature: float) -> float:
        b = exp(-log_temperature)
        return float(logsumexp(b * logits, axis=1).sum() - b * truth + _PRIOR * (b - 1 + log_temperature))

    low, high = _TEMPERATURES
    found = minimize_scalar(loss, bounds=(log(low), log(high)), method="bounded", options={"xatol": 1e-5})
    return exp(float(found.x))


def with_temperature(probabilities: "NDArray[np.float64]", temperature: float) -> "NDArray[np.float64]":
    """Probabilities [N, L] with their logits divided by ``temperature``; the ranking of the classes stays."""
    return np.asarray(softmax(_logits(probabilities) / temperature, axis=1))


def _logits(probabilities: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
