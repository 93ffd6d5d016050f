"""Loads a weights file into a Keras network, as arrays only: safetensors, HDF5 and ``.keras``, PyTorch's ``.pth``."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tlcli.backbones import keras_file, torch_names
from tlcli.backbones.torch_file import read_tensors
from tlcli.backbones.weights_format import format_of, has_torch_names
from tlcli.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DAMAGED = (OSError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What h5py and zipfile raise of a damaged file."""


def load_weights(network: keras.Model, path: Path, name: str, *, published: bool = False) -> None:
    """Sets every variable of the network.

    Args:
        network: of the catalog, or of :data:`tlcli.backbones.catalog.TORCH_ROWS` for a file of PyTorch.
        path: a file of a format that :func:`tlcli.backbones.weights_format.format_of` knows.
        name: the backbone's, for messages.
        published: it is the checked file of ``keras.applications``, which Keras itself reads.

    Raises:
        ModelError: the file is damaged, or does not fit the network.
    """
    try:
        if published:
            network.load_weights(path)
            return
        pairs = list(_values(network, path))  # all of them are checked before the first is assigned
        for _, values, where in pairs:
            if not np.isfinite(values).all():
                raise ValueError(f"'{where}' contains NaN or infinity")
        for variable, values, _ in pairs:
            variable.assign(np.asarray(values, np.float32))
    except _DAMAGED as error:
        raise ModelError(
            "model.weights_malformed", f"{path} cannot be read as arrays: {str(error) or type(error).__name__}.",
            "Save or copy the file again.",
        ) from error  # fmt: skip
    except (ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:  # also types unknown to NumPy
        raise ModelError(
            "model.weights_mismatch",
            f"The weights in {path} do not fit {name}: {error}.",
            "Set backbone.name to the network that the file was saved from (see docs/backbones.md).",
        ) from error
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its variables


def load_tail(network: keras.Model, path: Path) -> None:
    """Sets the variables that a file of fine-tuned arrays has, by their paths.

    Raises:
        ModelError: the file is damaged, or does not fit the network.
    """
    variables = {variable.path: variable for variable in network.weights}
    try:
        for name, values in load_file(path).items():
            if variables[name].shape != values.shape or not np.isfinite(values).all():
                raise ValueError(name)
            variables[name].assign(values)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            "model.tail_mismatch", f"The fine-tuned weights in {path} do not fit the network: {error}.",
            "Train again: tlcli train",
        ) from error  # fmt: skip


def _values(network: keras.Model, path: Path) -> "Iterator[tuple[Any, NDArray[Any], str]]":
    """Each variable with its values, and their name in the file."""
    form = format_of(path)
    if form == "torch":
        return torch_names.values_of(network, read_tensors(path))
    if form == "keras":
        return keras_file.values_of(network, path)
    if has_torch_names(path):
        return torch_names.values_of(network, load_file(path))
    return _in_order(network, load_file(path))


def _in_order(network: keras.Model, arrays: "dict[str, NDArray[Any]]") -> "Iterator[tuple[Any, NDArray[Any], str]]":
    """Arrays in the order of ``model.weights``, by their sorted names."""
    if len(arrays) != len(network.weights):
        raise ValueError(f"the file has {len(arrays)} arrays, the network has {len(network.weights)} variables")
    for key, variable in zip(sorted(arrays), network.weights, strict=True):
        array = arrays[key]
        if array.shape != tuple(variable.shape):
            raise ValueError(f"array '{key}' has shape {array.shape}, {variable.path} needs {tuple(variable.shape)}")
        yield variable, array, key
