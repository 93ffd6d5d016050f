"""The bundle: all that predict needs, in ``manifest.json``, ``head.safetensors`` and ``reference.safetensors``.

The backbone itself stays in the cache, named by the digest of its weights.
Shapes: N images, D features, U output units of the head, M reference images.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.catalog import Backbone
from tlcli.errors import ModelError
from tlcli.evaluation.thresholds import Thresholds
from tlcli.heads.expansion import Expansion
from tlcli.heads.head import Head
from tlcli.heads.task import Task
from tlcli.images.decode import DECODER_VERSION
from tlcli.images.preparation import Preparation
from tlcli.model.manifest import FORMAT_VERSION, TAIL_FILE, BundleManifest, read_manifest, sealed, train_again
from tlcli.model.prediction import NoMap
from tlcli.model.reference import Reference
from tlcli.system.files import read_regular, whole_file, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_BYTES = 1 << 30
"""Of a file of arrays: a head of 100,000 classes has 0.8 GB."""


@dataclass(frozen=True)
class Bundle:
    """A loaded and checked bundle."""

    manifest: BundleManifest
    head: Head
    reference: Reference
    folder: Path = Path()
    """Where it was read from."""

    @property
    def tail(self) -> tuple[Path, str] | None:
        """The file of a fine-tuned network's last blocks, and its digest; None of a frozen one."""
        sha256 = self.manifest.backbone.tail_sha256
        return (self.folder / TAIL_FILE, sha256) if sha256 else None

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the head's probabilities."""
        return self.manifest.labels

    @property
    def blocks(self) -> Blocks:
        """All blocks of the backbone's features, as an engine gives them."""
        return self.row.blocks

    @property
    def row(self) -> Backbone:
        """The backbone, as the catalog has it or the manifest."""
        return self.manifest.row

    @cached_property
    def inputs(self) -> Blocks:
        """The blocks that the head takes."""
        return self.blocks.named(self.manifest.backbone.inputs)

    @cached_property
    def thresholds(self) -> Thresholds | None:
        """What decides the answers; None: the most probable class is the answer."""
        found = self.manifest.thresholds
        return Thresholds(found.objective, found.of_classes) if found else None

    @property
    def no_map(self) -> NoMap | None:
        """Why its answers have no map of the evidence; None where they have one."""
        if not self.row.has_positions:
            return "no_positions"
        if any(block.pooling == "cls" for block in self.inputs.all):
            return "class_token"
        return "kernel" if self.head.expansion is not None else None

    @property
    def preparation(self) -> Preparation:
        """The preparation of images that the head was trained with."""
        return preparation_of(self.manifest)


def preparation_of(manifest: BundleManifest) -> Preparation:
    """Returns the preparation of images that a manifest records."""
    return Preparation(**manifest.preparation.model_dump(exclude={"decoder_version"}))


def save_bundle(
    folder: Path, manifest_fields: Mapping[str, Any], head: Head, reference: Reference, tail: Path | None = None
) -> None:  # fmt: skip
    """Writes a bundle.

    Args:
        folder: the bundle's directory.
        manifest_fields: labels, backbone, preparation and tlcli_version of the manifest; the other fields follow from
            the head, the reference and this version.
        head: the fitted head.
        reference: the training images to compare with.
        tail: the file of a fine-tuned network's last blocks, which is copied.

    Raises:
        ResourceError: the disk is full.
    """
    names = np.frombuffer(json.dumps(reference.names).encode(), np.uint8)
    arrays: dict[str, dict[str, NDArray[Any]]] = {
        "head": {"weights": head.weights, "bias": head.bias, **_other_arrays(head)},
        "reference": {"features": reference.features, "labels": reference.labels, "names": names},
    }
    digests = {}
    for name, content in arrays.items():
        # safetensors writes memory as it lies, and would scramble arrays that LAPACK returns by columns.
        data = safetensors.numpy.save({key: np.ascontiguousarray(array) for key, array in content.items()})
        with whole_file(folder / f"{name}.safetensors") as temporary:
            temporary.write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    if tail is not None:
        with whole_file(folder / TAIL_FILE) as temporary:
            shutil.copyfile(tail, temporary)
    derived = {
        "format_version": FORMAT_VERSION,
        "head_sha256": digests["head"],
        "temperature": head.temperature,
        "gamma": head.expansion.gamma if head.expansion else None,
        "reference": {"sha256": digests["reference"], "limit": reference.limit},
    }
    manifest = BundleManifest(**{**manifest_fields, **derived})
    written = sealed(manifest.model_dump(mode="json", exclude_none=True))
    write_text(folder / "manifest.json", json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def load_bundle(folder: Path) -> Bundle:
    """Reads a bundle and checks all of it: schema, versions, digests, names, shapes, finite values.

    Raises:
        ModelError: a file is missing, malformed or damaged.
    """
    manifest = read_manifest(folder / "manifest.json")
    row = manifest.row
    if manifest.preparation.decoder_version != DECODER_VERSION:
        raise ModelError(
            "model.decoder_version",
            f"The bundle {folder} was made with image decoder {manifest.preparation.decoder_version}; this version "
            f"has {DECODER_VERSION}.",
            train_again(manifest.tlcli_version),
        )
    height, width = manifest.preparation.size
    if min(height, width) < row.min_size or len(set(manifest.labels)) < len(manifest.labels):
        raise ModelError(
            "model.bundle_damaged",
            f"The bundle {folder} is damaged: it has images of {height} x {width} pixels ({row.name} takes "
            f"{row.min_size} or more a side) or names a class twice.",
            train_again(),
        )
    units, inputs = Task(manifest.labels).units, row.blocks.named(manifest.backbone.inputs)
    if inputs.names != manifest.backbone.inputs:
        raise ModelError(
            "model.bundle_damaged",
            f"The bundle {folder} is damaged: {row.name} has no blocks of features {manifest.backbone.inputs}.",
            train_again(),
        )
    head = _head(folder / "head.safetensors", manifest, (inputs.width, units))
    reference = _reference(folder / "reference.safetensors", manifest, row.features)
    return Bundle(manifest, head, reference, folder)


def _head(path: Path, manifest: BundleManifest, shape: tuple[int, int]) -> Head:
    arrays = _arrays(path, manifest.head_sha256)
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {}
    width, units = shape
    if manifest.gamma is not None:
        landmarks, expanded = (arrays[name].shape[:1] if name in arrays else (0,) for name in ("landmarks", "weights"))
        expected = {
            "mean": (np.float32, (width,)),
            "scale": (np.float32, (width,)),
            "landmarks": (np.float16, (*landmarks, width)),
            "transform": (np.float32, (*landmarks, *expanded)),
        }
        (width,) = expanded or (0,)
    elif "typical" in arrays:  # bundles of earlier versions have none
        expected = {"typical": (np.float32, (width,))}
    _check(path, arrays, {"weights": (np.float32, (width, units)), "bias": (np.float32, (units,)), **expected})
    expansion = Expansion(gamma=manifest.gamma, **{name: arrays[name] for name in expected}) if manifest.gamma else None
    return Head(arrays["weights"], arrays["bias"], manifest.temperature, expansion, arrays.get("typical"))


def _other_arrays(head: Head) -> "dict[str, NDArray[Any]]":
    if head.expansion is None:
        return {} if head.typical is None else {"typical": head.typical}
    return {name: getattr(head.expansion, name) for name in ("mean", "scale", "landmarks", "transform")}


def _reference(path: Path, manifest: BundleManifest, width: int) -> Reference:
    arrays = _arrays(path, manifest.reference.sha256)
    count, text = (len(arrays[name]) if name in arrays and arrays[name].ndim else 0 for name in ("labels", "names"))
    expected = {"features": (np.float16, (count, width)), "labels": (np.int64, (count,)), "names": (np.uint8, (text,))}
    _check(path, arrays, expected)
    try:
        names = json.loads(arrays["names"].tobytes())
    except ValueError:
        names = None
    are_names = isinstance(names, list) and len(names) == count > 0 and all(isinstance(name, str) for name in names)
    labels = arrays["labels"]
    if not are_names or labels.min() < 0 or labels.max() >= len(manifest.labels):
        raise ModelError(
            "model.arrays_malformed",
            f"{path} is damaged: it lacks a valid name and class for each reference image.",
            train_again(),
        )
    return Reference(arrays["features"], labels, tuple(names), manifest.reference.limit)


def _arrays(path: Path, sha256: str) -> "dict[str, NDArray[Any]]":
    try:
        data = read_regular(path, _MAX_BYTES)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(
                "model.bundle_damaged",
                f"{path} is damaged: its digest differs from the one in the manifest.",
                train_again(),
            )
        return safetensors.numpy.load(data)
    except OSError as error:
        raise ModelError(
            "model.bundle_unreadable", f"{path} cannot be read: {error.strerror}.", train_again()
        ) from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # KeyError: a dtype that NumPy lacks
        raise ModelError(
            "model.arrays_malformed", f"{path} is not a valid safetensors file: {error}.", train_again()
        ) from error


def _check(path: Path, arrays: "dict[str, NDArray[Any]]", expected: dict[str, tuple[Any, tuple[int, ...]]]) -> None:
    shapes = {name: shape for name, (_, shape) in expected.items()}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ModelError("model.arrays_malformed", f"{path} does not hold the arrays {shapes}.", train_again())
    for name, (kind, _) in expected.items():
        array = arrays[name]
        if array.dtype != kind or not np.isfinite(array).all():
            raise ModelError(
                "model.arrays_malformed",
                f"{path}: {name} must hold finite {np.dtype(kind).name} numbers.",
                train_again(),
            )
