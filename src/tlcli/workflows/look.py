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
from tlcli.config.schema import Config
from tlcli.data.exclusion import read_exclusion
from tlcli.data.index import Index, Picture
from tlcli.data.manifest import Manifest, Tree, tree_of
from tlcli.progress import Progress
from tlcli.threads import threads
from tlcli.workflows.dataset import index_at

if TYPE_CHECKING:
    from tlcli.data.sizing import Preparation

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
    """What looking at every file gives: counts, unreadable pictures, what else is worth a line."""
    from tlcli.workflows.frozen_pass import preparation_of  # noqa: PLC0415 - a second fetch must not pay for NumPy

    with progress.stage("Counting pictures"):
        index = index_at(root, config.dataset, known)
    unreadable = {**index.bad, **_unreadable(index, preparation_of(config), progress)}
    readable = replace(index, pictures=tuple(p for p in index.pictures if p.name not in unreadable))
    return {"pictures": readable.counts(), "unreadable": unreadable, "notes": index.notes, "read_as": read_as(config)}


def read_as(config: Config) -> str:
    """Digest of all in the config that :func:`_seen` depends on."""
    elsewhere = {"path", "sources", "licence", "citation", "limits"}
    excluded = read_exclusion(config.dataset.exclude) if config.dataset.exclude else ()
    read = [config.dataset.model_dump(mode="json", exclude=elsewhere), config.image.model_dump(mode="json"), excluded]
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def _unreadable(index: Index, preparation: "Preparation", progress: Progress) -> dict[str, str]:
    """Pictures that cannot be read, each with the reason.

    Args:
        index: what there is.
        preparation: formats that are read, and limits.
        progress: told of every picture.
    """
    from tlcli.data.decode import BadPictureError, glance  # noqa: PLC0415 - as above

    def look(pictures: Sequence[Picture]) -> dict[str, str]:
        bad = {}
        for picture in pictures:
            try:
                glance(picture.path, preparation)
            except BadPictureError as error:
                bad[picture.name] = str(error)
        return bad

    pictures, bad = index.pictures, dict[str, str]()
    batches = [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]
    with progress.stage("Looking at pictures", len(pictures), "pictures"), ThreadPoolExecutor(threads()) as pool:
        for batch, found in zip(batches, pool.map(look, batches), strict=True):
            bad |= found
            progress.advance(len(batch))
    return bad
