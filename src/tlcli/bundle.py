"""The bundle: all that predict needs, in ``manifest.json`` and ``head.safetensors``.

The backbone itself stays in the cache, named by the digest of its weights.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from tlcli.backbones.catalog import CATALOG
from tlcli.data.decode import DECODER_VERSION
from tlcli.data.sizing import Preparation
from tlcli.disk import whole_file, write_text
from tlcli.errors import ModelError
from tlcli.heads.head import Head
from tlcli.manifest import FORMAT_VERSION, Manifest, read_manifest


@dataclass(frozen=True)
class Bundle:
    """A loaded and checked bundle."""

    manifest: Manifest
    head: Head

    @property
    def preparation(self) -> Preparation:
        """The picture preparation the head was trained with."""
        fields = self.manifest.preparation.model_dump()
        del fields["decoder_version"]
        return Preparation(**fields)


def save_bundle(folder: Path, manifest_fields: dict[str, Any], head: Head) -> None:
    """Writes the bundle; ``manifest_fields`` is the manifest less what follows from the head and this version."""
    data = safetensors.numpy.save({"weights": head.weights, "bias": head.bias})
    with whole_file(folder / "head.safetensors") as temporary:
        temporary.write_bytes(data)
    head_sha256 = hashlib.sha256(data).hexdigest()
    manifest = Manifest(**{**manifest_fields, "format_version": FORMAT_VERSION, "head_sha256": head_sha256})
    write_text(folder / "manifest.json", manifest.model_dump_json(indent=2, exclude_none=True) + "\n")


def load_bundle(folder: Path) -> Bundle:
    """Reads a bundle and checks all of it: schema, versions, digests, names, shapes, finite values.

    Raises:
        ModelError: anything is missing or does not fit.
    """
    manifest = read_manifest(folder / "manifest.json")
    row = CATALOG.get(manifest.backbone.name)
    if row is None:
        raise ModelError(f"The bundle {folder} needs the backbone '{manifest.backbone.name}', unknown to this version.")
    if manifest.preparation.decoder_version != DECODER_VERSION:
        raise ModelError(
            f"The bundle {folder} was made with picture preparation {manifest.preparation.decoder_version}, this "
            f"version has {DECODER_VERSION}: train again, or use tlcli {manifest.tlcli_version}."
        )
    if manifest.preparation.size < row.min_size:
        raise ModelError(
            f"The bundle {folder} makes pictures {manifest.preparation.size} pixels wide, and {row.name} takes "
            f"{row.min_size} or more: it is damaged. Train again."
        )
    if len(set(manifest.labels)) < len(manifest.labels):
        raise ModelError(f"The bundle {folder} names a class twice: it is damaged. Train again.")
    units = 1 if len(manifest.labels) == 2 else len(manifest.labels)
    return Bundle(manifest, _head(folder / "head.safetensors", manifest.head_sha256, (row.features, units)))


def _head(path: Path, sha256: str, shape: tuple[int, int]) -> Head:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(f"{path} is damaged: its digest is not the one in the manifest. Train again.")
        arrays = safetensors.numpy.load(data)
    except OSError as error:
        raise ModelError(f"The head {path} cannot be read ({error.strerror}).") from error
    except (safetensors.SafetensorError, KeyError) as error:  # KeyError: bfloat16, which NumPy does not know
        raise ModelError(f"{path} is not a safetensors file: {error}.") from error
    shapes = {"weights": shape, "bias": (shape[1],)}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ModelError(f"{path} does not hold the arrays {shapes}.")
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise ModelError(f"{path} holds values that are not finite float32 numbers.")
    return Head(arrays["weights"], arrays["bias"])
