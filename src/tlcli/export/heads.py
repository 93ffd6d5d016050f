"""What all formats share: a run's head as arrays, its calibration and standardisation folded in.

Shapes: D features that the head takes, M landmarks of a kernel head, L classes, R reference images, F features of the
last layer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.errors import UsageError
from tlcli.heads.expansion import Expansion
from tlcli.model.bundle import Bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Kernel:
    """What a kernel head is linear in: exp(-d) with d = |a (x - mean)|² to each landmark, the scale ``a`` of a feature
    being sqrt(gamma) over its deviation."""

    mean: "NDArray[np.float32]"
    """[D]"""
    scale: "NDArray[np.float32]"
    """[D], what features are multiplied by after the mean is subtracted."""
    landmarks: "NDArray[np.float32]"
    """[M, D], scaled likewise."""

    @classmethod
    def of(cls, expansion: Expansion) -> "Kernel":
        """The kernel of an expansion, without its transform."""
        root = np.sqrt(expansion.gamma)
        scale = root / expansion.scale.astype(np.float64)
        landmarks = root * expansion.landmarks.astype(np.float64)
        return cls(expansion.mean, scale.astype(np.float32), landmarks.astype(np.float32))


@dataclass(frozen=True)
class ExportedHead:
    """A head with everything that makes its answers."""

    name: str
    """Before the names of its outputs, where an artefact has several heads; else empty."""
    labels: tuple[str, ...]
    inputs: tuple[str, ...]
    """Names of the blocks of features that it takes, in the order of ``weights``."""
    weights: "NDArray[np.float32]"
    """[D, L], or [M, L] of a kernel head: with a column of zeros for the first of two classes, so that the softmax of
    the logits is the sigmoid of one unit."""
    bias: "NDArray[np.float32]"
    """[L]"""
    kernel: Kernel | None
    reference: "NDArray[np.float32]"
    """[R, F], of length 1 each"""
    limit: float
    """Distance above which the answer is "none of these"."""
    thresholds: tuple[float, ...] | None
    """[L]: the answer is the class whose probability is the largest multiple of its threshold; None: the most
    probable."""

    @classmethod
    def of(cls, bundle: Bundle, name: str = "") -> "ExportedHead":
        """The head of a bundle; its temperature, and of a kernel head the transform, are folded into the weights."""
        head = bundle.head
        weights, bias = head.weights.astype(np.float64), head.bias.astype(np.float64)
        if head.expansion is not None:
            weights = head.expansion.transform.astype(np.float64) @ weights
        if head.task.kind == "binary":
            weights, bias = (np.concatenate([np.zeros_like(one), one], axis=-1) for one in (weights, bias))
        return cls(
            name,
            bundle.labels,
            bundle.inputs.names,
            (weights / head.temperature).astype(np.float32),
            (bias / head.temperature).astype(np.float32),
            Kernel.of(head.expansion) if head.expansion is not None else None,
            bundle.reference.features.astype(np.float32),
            bundle.reference.limit,
            bundle.thresholds.of_classes if bundle.thresholds else None,
        )

    def output(self, kind: str) -> str:
        """The name of an output: ``probabilities`` or ``distance``, behind the head's name where there are several."""
        return f"{self.name}_{kind}" if self.name else kind

    def arrays(self) -> "dict[str, NDArray[np.float32]]":
        """All arrays by name, for a file."""
        kernel = {} if self.kernel is None else {f"kernel.{name}": one for name, one in vars(self.kernel).items()}
        return {"weights": self.weights, "bias": self.bias, "reference": self.reference, **kernel}


def head_names(runs: Sequence[Path], given: Sequence[str | None]) -> tuple[str, ...]:
    """A name for each head of an artefact, all different: the run's own, else its config's folder; empty for one run.

    Args:
        runs: their directories.
        given: their names of ``--name``, if any.

    Raises:
        UsageError: a run is named twice.
    """
    if len(runs) == 1:
        return ("",)
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("usage.export_run_twice", "A run is named twice.", "Name each run of --run once.")
    wished = [re.sub(r"[^A-Za-z0-9]+", "_", name or run.parent.name).strip("_") or "run"
              for run, name in zip(runs, given, strict=True)]  # fmt: skip
    wished = [name if name[0].isalpha() else f"run_{name}" for name in wished]
    names: list[str] = []
    for name in wished:
        number, found = 1, name
        while found in names:
            number += 1
            found = f"{name}_{number}"
        names.append(found)
    return tuple(names)
