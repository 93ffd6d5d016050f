"""What lies in a data folder: every file is looked at once, and what was seen becomes the folder's manifest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tlcli
from tlcli.config.build_dataset import read_index
from tlcli.config.schema import Config
from tlcli.datasets.acquire.manifest import Manifest, Tree, tree_of
from tlcli.datasets.exclusion import read_exclusion
from tlcli.datasets.index import Index, LabelledImage
from tlcli.progress import Progress
from tlcli.system.cpu import threads

if TYPE_CHECKING:
    from tlcli.images.preparation import Preparation

_BATCH = 100


def described(
    root: Path, config: Config, named: Mapping[str, str], progress: Progress, version: str | None = None
) -> Manifest:  # fmt: skip
    """What a folder holds that fetch has not filled."""
    seen = seen_in(root, config, progress)
    return made_manifest(config, named, tree_of(root), seen, version, (), config.dataset.licence)


def made_manifest(
    config: Config, named: Mapping[str, str], tree: Tree, seen: Mapping[str, Any],
    version: str | None, archives: Sequence[Mapping[str, Any]], licence: str | None,
) -> Manifest:  # fmt: skip
    """The manifest of a folder.

    Args:
        config: for what to cite.
        named: the source, as manifests name it.
        tree: the folder's files.
        seen: what :func:`seen_in` gives.
        version: the source's.
        archives: what was unpacked.
        licence: under what terms.
    """
    return Manifest(
        source=named,
        version=version,
        archives=tuple(archives),
        files=tree.files,
        bytes=tree.bytes,
        tree=tree.digest,
        folders=tree.folders,
        licence=licence,
        citation=config.dataset.citation,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        tlcli=tlcli.__version__,
        **seen,
    )


def seen_in(root: Path, config: Config, progress: Progress, known: Mapping[str, str] = {}) -> dict[str, Any]:
    """What looking at every file gives: counts, unreadable images, what else is worth a line."""
    from tlcli.config.build_features import preparation_of  # noqa: PLC0415 - a second fetch must not pay for NumPy

    with progress.stage("Counting images"):
        index = read_index(root, config.dataset, known)
    unreadable = {**index.bad, **_unreadable(index, preparation_of(config), progress)}
    readable = replace(index, images=tuple(p for p in index.images if p.name not in unreadable))
    return {"images": readable.counts(), "unreadable": unreadable, "notes": index.notes, "read_as": read_as(config)}


def read_as(config: Config) -> str:
    """Digest of all in the config that :func:`_seen` depends on."""
    elsewhere = {"path", "sources", "licence", "citation", "limits"}
    excluded = read_exclusion(config.dataset.exclude) if config.dataset.exclude else ()
    read = [config.dataset.model_dump(mode="json", exclude=elsewhere), config.image.model_dump(mode="json"), excluded]
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def _unreadable(index: Index, preparation: "Preparation", progress: Progress) -> dict[str, str]:
    """Images that cannot be read, each with the reason.

    Args:
        index: what there is.
        preparation: formats that are read, and limits.
        progress: told of every image.
    """
    from tlcli.images.decode import BadImageError, quick_check  # noqa: PLC0415 - as above

    def look(images: Sequence[LabelledImage]) -> dict[str, str]:
        bad = {}
        for image in images:
            try:
                quick_check(image.path, preparation)
            except BadImageError as error:
                bad[image.name] = str(error)
        return bad

    images, bad = index.images, dict[str, str]()
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    with progress.stage("Looking at images", len(images), "images"), ThreadPoolExecutor(threads()) as pool:
        for batch, found in zip(batches, pool.map(look, batches), strict=True):
            bad |= found
            progress.advance(len(batch))
    return bad
