"""The bundle: all that predict needs, in ``manifest.json``, ``head.safetensors`` and ``reference.safetensors``.

The backbone itself stays in the cache, named by the digest of its weights.
Shapes: D features, U units, M reference images.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from tlcli.backbones.catalog import CATALOG
from tlcli.errors import ModelError
from tlcli.heads.head import Head
from tlcli.heads.task import Task
from tlcli.images.decode import DECODER_VERSION
from tlcli.images.preparation import Preparation
from tlcli.model.manifest import FORMAT_VERSION, Manifest, or_with, read_manifest, sealed
from tlcli.model.reference import Reference
from tlcli.system.files import read_regular, whole_file, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST = 1 << 30
"""Bytes of a file of arrays: a head of 100,000 classes has 0.8 GB."""


@dataclass(frozen=True)
class Bundle:
    """A loaded and checked bundle."""

    manifest: Manifest
    head: Head
    reference: Reference

    @property
    def preparation(self) -> Preparation:
        """The image preparation the head was trained with."""
        fields = self.manifest.preparation.model_dump()
        del fields["decoder_version"]
        return Preparation(**fields)


def save_bundle(folder: Path, manifest_fields: dict[str, Any], head: Head, reference: Reference) -> None:
    """Writes the bundle; ``manifest_fields`` is the manifest less what follows from the head, the reference and this
    version."""
    names = np.frombuffer(json.dumps(reference.names).encode(), np.uint8)
    arrays: dict[str, dict[str, NDArray[Any]]] = {
        "head": {"weights": head.weights, "bias": head.bias},
        "reference": {"features": reference.features, "labels": reference.labels, "names": names},
    }
    digests = {}
    for name, content in arrays.items():
        data = safetensors.numpy.save(content)
        with whole_file(folder / f"{name}.safetensors") as temporary:
            temporary.write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    follows = {
        "format_version": FORMAT_VERSION,
        "head_sha256": digests["head"],
        "temperature": head.temperature,
        "reference": {"sha256": digests["reference"], "limit": reference.limit},
    }
    manifest = Manifest(**{**manifest_fields, **follows})
    written = sealed(manifest.model_dump(mode="json", exclude_none=True))
    write_text(folder / "manifest.json", json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def load_bundle(folder: Path) -> Bundle:
    """Reads a bundle and checks all of it: schema, versions, digests, names, shapes, finite values.

    Raises:
        ModelError: anything is missing or does not fit.
    """
    manifest = read_manifest(folder / "manifest.json")
    row = CATALOG.get(manifest.backbone.name)
    if row is None:
        raise ModelError(
            f"The bundle {folder} needs the backbone '{manifest.backbone.name}', unknown to this version: train again"
            f"{or_with(manifest.tlcli_version)}."
        )
    if manifest.preparation.decoder_version != DECODER_VERSION:
        raise ModelError(
            f"The bundle {folder} was made with image preparation {manifest.preparation.decoder_version}, this "
            f"version has {DECODER_VERSION}: train again{or_with(manifest.tlcli_version)}."
        )
    if manifest.preparation.size < row.min_size:
        raise ModelError(
            f"The bundle {folder} makes images {manifest.preparation.size} pixels wide, and {row.name} takes "
            f"{row.min_size} or more: it is damaged. Train again."
        )
    if len(set(manifest.labels)) < len(manifest.labels):
        raise ModelError(f"The bundle {folder} names a class twice: it is damaged. Train again.")
    units = Task(manifest.labels).units
    head = _head(folder / "head.safetensors", manifest, (row.features, units))
    return Bundle(manifest, head, _reference(folder / "reference.safetensors", manifest, row.features))


def _head(path: Path, manifest: Manifest, shape: tuple[int, int]) -> Head:
    arrays = _arrays(path, manifest.head_sha256)
    _check(path, arrays, {"weights": (np.float32, shape), "bias": (np.float32, (shape[1],))})
    return Head(arrays["weights"], arrays["bias"], manifest.temperature)


def _reference(path: Path, manifest: Manifest, width: int) -> Reference:
    arrays = _arrays(path, manifest.reference.sha256)
    count, text = (len(arrays[name]) if name in arrays and arrays[name].ndim else 0 for name in ("labels", "names"))
    expected = {"features": (np.float16, (count, width)), "labels": (np.int64, (count,)), "names": (np.uint8, (text,))}
    _check(path, arrays, expected)
    try:
        names = json.loads(arrays["names"].tobytes())
    except ValueError as error:
        raise ModelError(f"{path} holds no names of images: it is damaged. Train again.") from error
    are_names = isinstance(names, list) and len(names) == count > 0 and all(isinstance(name, str) for name in names)
    labels = arrays["labels"]
    if not are_names or labels.min() < 0 or labels.max() >= len(manifest.labels):
        raise ModelError(f"{path} does not hold a name and a class for each image: it is damaged. Train again.")
    return Reference(arrays["features"], labels, tuple(names), manifest.reference.limit)


def _arrays(path: Path, sha256: str) -> "dict[str, NDArray[Any]]":
    try:
        data = read_regular(path, _MOST)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(f"{path} is damaged: its digest is not the one in the manifest. Train again.")
        return safetensors.numpy.load(data)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}). Train again.") from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # bfloat16, 65 axes: what NumPy does not know
        raise ModelError(f"{path} is not a safetensors file: {error}.") from error


def _check(path: Path, arrays: "dict[str, NDArray[Any]]", expected: dict[str, tuple[Any, tuple[int, ...]]]) -> None:
    shapes = {name: shape for name, (_, shape) in expected.items()}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ModelError(f"{path} does not hold the arrays {shapes}.")
    for name, (kind, _) in expected.items():
        array = arrays[name]
        if array.dtype != kind or not np.isfinite(array).all():
            raise ModelError(f"{path}: {name} holds values that are not finite {np.dtype(kind).name} numbers.")
