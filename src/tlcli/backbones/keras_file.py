"""Reads the weights of Keras's files as arrays only: HDF5 of every version, and ``.keras``, whose configuration and
everything else that could run code is not even opened.

Two formats are in HDF5 (keras-team/keras, legacy/saving/legacy_h5_format.py and saving/saving_lib.py):

- by names, ``model.save_weights("x.h5")`` and ``model.save("x.h5")``: a group for each layer of the model in the order
  of ``layer_names``, with the arrays ``weight_names``. A model inside a model is one group with the arrays of all its
  layers.
- by classes, ``.weights.h5`` and ``.keras``: ``layers/conv2d_3/vars/0``, the fourth convolution's first variable. Since
  Keras 3.3 ``vars`` has the layer's name. A model inside a model is ``layers/functional/layers/...``.

The network is looked for among the layers of the file and among those of every model in it: by the names of its layers,
then by their order. What lies around it, as a head of one's own, is left out; what lies within it is another network.
"""

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from tlcli.backbones.weights_format import KERAS_MEMBER

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    Shapes = tuple[tuple[int, ...], ...]

_MAX_OBJECTS = 500_000
"""Groups, arrays and names: 100 times those of the largest network with its optimiser."""
_MAX_DEPTH = 40
_MAX_RATIO = 100
"""How much smaller than its content a member of a ``.keras`` archive may be; random numbers hardly shrink."""
_FILTERS = {1, 2, 3}
"""deflate, shuffle and checksum, which are compiled in; others would load a library."""
_NEVER_TRAINED = "normalization"
"""Of a model inside a model, files by names have it behind everything that is trained."""
_LISTS = ("layers", "_layer_checkpoint_dependencies")
"""The groups that hold a model's layers, in Keras 3 and in TensorFlow 2.12 and 2.13."""


@dataclass(frozen=True)
class _Layer:
    """A layer with arrays in a file, or with variables in the network."""

    names: tuple[str, ...]
    """Of a layer of the network also with the name of the model around it, as some versions write it; empty where the
    file has none."""
    kinds: tuple[str, ...]
    """Its class inside those of the models around it, without underscores: ("sequential", "conv2d"); empty where the
    file has none."""
    numbers: tuple[int, ...]
    """Its number, and theirs, among those of one class."""
    arrays: "list[Any]" = field(compare=False)
    """Datasets, or variables."""

    @property
    def name(self) -> str:
        return self.names[0] if self.names else ""

    @property
    def shapes(self) -> "Shapes":
        return tuple(tuple(array.shape) for array in self.arrays)


def values_of(network: "keras.Model", path: Path) -> "Iterator[tuple[Any, NDArray[Any], str]]":
    """Finds the array of each variable.

    Args:
        network: a Keras model.
        path: HDF5, or a ``.keras`` archive.

    Yields:
        a variable of the network, its values, and the place of the array in the file.

    Raises:
        ValueError: the file does not hold this network, or more than one, or it is not read.
        OSError, RuntimeError, KeyError, zipfile.BadZipFile: it is damaged.
    """
    with _opened(path) as file:
        for layer, stored in _matched(_of_network(network), _models(file)):
            for variable, array in zip(layer.arrays, stored.arrays, strict=True):
                yield variable, _read(array), str(array.name)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    with path.open("rb") as start:
        is_archive = start.read(2) == b"PK"
    source: Any = io.BytesIO(_member(path)) if is_archive else path
    with h5py.File(source, "r") as file:
        yield file


def _member(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(KERAS_MEMBER)
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{KERAS_MEMBER} is encrypted, or compressed by other means than deflate")
        if info.file_size > _MAX_RATIO * max(info.compress_size, 1):
            raise ValueError(f"{KERAS_MEMBER} has {info.file_size:,} bytes made of {info.compress_size:,}")
        with archive.open(info) as member:
            return member.read(info.file_size)


def _read(array: h5py.Dataset) -> "NDArray[Any]":
    """Its shape is that of a variable: no larger than the network.

    Raises:
        ValueError: it is not made of plain numbers of this very file.
    """
    plist = array.id.get_create_plist()
    filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
    if array.dtype.kind not in "fiu" or array.is_virtual or array.external or not filters <= _FILTERS:
        raise ValueError(f"'{array.name}' is not an array of plain numbers (float16, float32, float64)")
    values: NDArray[Any] = array[()]
    return values


# The network


def _of_network(network: "keras.Model") -> list[_Layer]:
    counts, found = defaultdict[tuple[str, ...], int](int), []
    for kinds, names, layer in _with_kinds(network, ()):
        found.append(_Layer((layer.name, "_".join(names)), kinds, (counts[kinds],), list(layer.weights)))
        counts[kinds] += 1
    return found


def _with_kinds(
    model: "keras.Model", kinds: tuple[str, ...], names: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Any]]:
    for layer in model.layers:
        inner = (*kinds, type(layer).__name__.lower()), (*names, layer.name)
        if hasattr(layer, "layers"):
            yield from _with_kinds(layer, *inner)
        elif layer.weights:
            yield *inner, layer


# The file


def _models(file: h5py.File) -> list[list[_Layer]]:
    """The layers of each model in a file: those inside other models first, the whole file last."""
    weights = _group(file, "model_weights") if "model_weights" in file else file
    if _names(weights, "layer_names"):
        return _models_by_names(weights)
    return _models_by_classes(file)


def _models_by_names(weights: h5py.Group) -> list[list[_Layer]]:
    groups = []
    for name in _names(weights, "layer_names"):
        group, layers = _group(weights, name), dict[str, list[Any]]()
        for array in _names(group, "weight_names"):
            # conv1_bn/gamma; in old versions gamma:0 or conv1_bn_gamma. A model has what is not trained at its end.
            layers.setdefault(array.rpartition("/")[0] or name, []).append(_dataset(group, array))
        groups.append([_Layer((_plain(inner),), (), (), arrays) for inner, arrays in layers.items()])
    return [*(group for group in groups if len(group) > 1), [layer for group in groups for layer in group]]


def _models_by_classes(file: h5py.File) -> list[list[_Layer]]:
    models: dict[str, list[_Layer]] = {}
    for path, group in sorted(_with_arrays(file)):
        arrays = [_dataset(group, name) for name in sorted(group, key=_number)]
        name = group.attrs.get("name", "")
        for at in [at for at, part in enumerate(path) if part in _LISTS]:
            parts = [part for part in path[at + 1 :] if part not in _LISTS]
            kinds = tuple(re.sub(r"_\d+$", "", part).replace("_", "") for part in parts)
            numbers = tuple(_number(part) for part in parts)
            layer = _Layer((_plain(name),) if isinstance(name, str) and name else (), kinds, numbers, arrays)
            models.setdefault("/".join(path[:at]), []).append(layer)
    inner_first = sorted(models, key=lambda path: -len(path))
    return [sorted(models[path], key=lambda layer: (layer.kinds, layer.numbers)) for path in inner_first]


def _with_arrays(file: h5py.File) -> Iterator[tuple[tuple[str, ...], h5py.Group]]:
    """Every group ``vars`` that is not empty, with the path before it."""
    waiting: list[tuple[tuple[str, ...], h5py.Group]] = [((), file)]
    seen = 0
    while waiting:
        path, group = waiting.pop()
        seen += len(group)
        if seen > _MAX_OBJECTS or len(path) > _MAX_DEPTH:
            raise ValueError("it has too many groups")
        if path and path[-1] == "vars":
            if len(group):
                yield path[:-1], group
            continue
        inner = [name for name in group if group.get(name, getclass=True) is h5py.Group]
        # On Windows, the first versions wrote "layers\\conv2d" as one name.
        waiting += [((*path, *name.split("\\")), _group(group, name)) for name in inner]


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    found = _linked(parent, name)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"'{name}' is not a group")
    return found


def _dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    found = _linked(parent, name)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"'{name}' is not an array")
    return found


def _linked(parent: h5py.Group, name: str) -> Any:
    """What a path inside the file leads to; links to other places and other files are not followed."""
    for part in name.strip("/").split("/"):
        if not isinstance(parent, h5py.Group) or not isinstance(parent.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"'{name}' is missing or a link")
        parent = parent[part]
    return parent


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; a long one is in several attributes, ``weight_names0`` and so on."""
    numbered = takewhile(group.attrs.__contains__, (f"{attribute}{number}" for number in count()))
    parts = [attribute] if attribute in group.attrs else list(numbered)
    if sum(group.attrs.get_id(part).get_space().get_simple_extent_npoints() for part in parts) > _MAX_OBJECTS:
        raise ValueError(f"{attribute} has too many names")
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _plain(name: str) -> str:
    """conv1/bn, as DenseNet's layers are called in Keras 2, is conv1_bn in Keras 3."""
    return name.replace("/", "_")


def _number(name: str) -> int:
    """conv2d -> 0, conv2d_3 -> 3, 12 -> 12"""
    digits = re.search(r"(?:^|_)(\d+)$", name)
    return int(digits[1]) if digits else 0


# Which layer of the file is which of the network


class _MisfitError(ValueError):
    """A model of the file is not the network."""

    def __init__(self, fitting: int, reason: str, *, by_names: bool = True) -> None:
        super().__init__(reason)
        self.fitting = fitting
        """Layers that fit."""
        self.by_names = by_names


def _matched(network: list[_Layer], models: list[list[_Layer]]) -> list[tuple[_Layer, _Layer]]:
    found: list[list[tuple[_Layer, _Layer]]] = []
    misfits: list[_MisfitError] = []
    for model in models:
        used = {id(array) for pairs in found for _, layer in pairs for array in layer.arrays}
        if any(id(array) in used for layer in model for array in layer.arrays):
            continue  # the model around the one that fits
        for match in (_by_names, _by_order):
            try:
                found.append(match(network, model))
                break
            except _MisfitError as misfit:
                misfits.append(misfit)
    if len(found) > 1:
        raise ValueError(f"it holds {len(found)} networks that fit; save the one that is meant")
    if not found:
        raise max(misfits, key=_telling, default=ValueError("it holds no layers with arrays"))
    return found[0]


def _telling(misfit: _MisfitError) -> tuple[bool, int]:
    """Names tell more of what is wrong than shapes."""
    return misfit.by_names and misfit.fitting > 0, misfit.fitting


def _by_names(network: list[_Layer], model: list[_Layer]) -> list[tuple[_Layer, _Layer]]:
    """By the names of layers; those that Keras has numbered itself (conv2d_7) in the order of their numbers."""
    own = [layer for layer in network if _is_numbered(layer)]
    places = {layer.name: place for place, layer in enumerate(model) if layer.name}
    chosen = dict[_Layer, int]()
    for layer in network:
        if _is_numbered(layer):
            continue
        place = next((places[name] for name in layer.names if name in places), None)
        if place is None:
            raise _MisfitError(len(chosen), f"it has no layer '{layer.name}'")
        stored = model[place]
        if stored.shapes != layer.shapes:
            raise _MisfitError(
                len(chosen) + 1,
                f"its layer '{layer.name}' has arrays of shapes {_listed(stored.shapes)}, {_listed(layer.shapes)} are "
                "needed",
            )
        chosen[layer] = place
    if not chosen:
        raise _MisfitError(0, "its layers have no names")
    for kind in {layer.kinds[-1] for layer in own}:
        needed = sorted((one for one in own if one.kinds[-1] == kind), key=lambda layer: _number(layer.name))
        numbered = [
            place for place, layer in enumerate(model)
            if re.sub(r"_\d+$", "", layer.name).replace("_", "") == kind and place not in chosen.values()
        ]  # fmt: skip
        numbered.sort(key=lambda place: _number(model[place].name))
        start = _run([layer.shapes for layer in needed], [model[place].shapes for place in numbered])
        if start is None:
            raise _MisfitError(len(chosen), f"its layers '{kind}' are not those of the network")
        chosen.update(zip(needed, numbered[start:], strict=False))
    _check_within(model, {place: layer.kinds[-1] != _NEVER_TRAINED for layer, place in chosen.items()})
    return [(layer, model[chosen[layer]]) for layer in network]


def _check_within(model: list[_Layer], chosen: dict[int, bool]) -> None:
    """Between the network's layers must be no others: ResNet50's names are all in ResNet101, too.

    Args:
        model: the layers of the file.
        chosen: places of the network's layers, and whether they tell its extent.
    """
    spans = defaultdict[tuple[str, ...], list[int]](list)
    for place in sorted(place for place, tells in chosen.items() if tells):
        spans[model[place].kinds].append(place)
    for places in spans.values():
        for place in range(places[0], places[-1]):
            if place not in chosen:
                raise _MisfitError(len(chosen), f"its layer '{model[place].name}' is not in the network")


def _by_order(network: list[_Layer], model: list[_Layer]) -> list[tuple[_Layer, _Layer]]:
    """By the shapes of a run of layers; of each class where the file tells classes."""
    chosen = dict[_Layer, _Layer]()
    by_class = bool(model and model[0].kinds)
    for kinds in dict.fromkeys(layer.kinds if by_class else () for layer in network):
        needed = [layer for layer in network if not by_class or layer.kinds == kinds]
        stored = [layer for layer in model if layer.kinds == kinds]
        start = _run([layer.shapes for layer in needed], [layer.shapes for layer in stored])
        if start is None:
            fitting = next(
                (n for n, (one, other) in enumerate(zip(needed, stored, strict=False)) if one.shapes != other.shapes),
                min(len(needed), len(stored)),
            )
            layer = needed[min(fitting, len(needed) - 1)]
            raise _MisfitError(
                len(chosen) + fitting, f"none of its layers fits '{layer.name}' ({_listed(layer.shapes)})"
            )
        chosen.update(zip(needed, stored[start:], strict=False))
    return [(layer, chosen[layer]) for layer in network]


def _run(needed: "Sequence[Shapes]", shapes: "Sequence[Shapes]") -> int | None:
    """Where ``needed`` begins in ``shapes``; None if it is nowhere."""
    starts = range(len(shapes) - len(needed) + 1)
    return next((start for start in starts if shapes[start : start + len(needed)] == needed), None)


def _is_numbered(layer: _Layer) -> bool:
    """Whether Keras has named a layer, by its class and a number that depends on what was built before."""
    return re.sub(r"_\d+$", "", layer.name).replace("_", "") == layer.kinds[-1]


def _listed(shapes: "Shapes") -> str:
    return ", ".join(" x ".join(map(str, shape)) or "1" for shape in shapes)
