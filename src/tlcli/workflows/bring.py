"""Gets the archives of one source and unpacks them, beside the place where the data set will be."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.config.dataset import Dataset, Limits
from tlcli.config.sources import ArchiveSource, CompetitionSource, KaggleSource, Source, UrlSource
from tlcli.datasets.acquire.archives import unpack
from tlcli.datasets.acquire.downloads.download import Patience, Receipt, Wanted, download
from tlcli.datasets.acquire.install import Place
from tlcli.datasets.acquire.sources import archive, url
from tlcli.datasets.acquire.sources.offer import Offer
from tlcli.errors import DataError
from tlcli.progress import Progress

NETWORKED = (KaggleSource, CompetitionSource, UrlSource)
"""Sources that need the network."""


KEPT = " The download is kept in {}: put the config right, and run the same command again."


@dataclass(frozen=True)
class Brought:
    """What was unpacked, and from what."""

    digests: Mapping[str, str]
    """sha256 of every file by its path in the staging folder."""
    archives: tuple[Mapping[str, Any], ...]
    """Name, sha256 and bytes of each archive."""
    version: str | None = None
    licence: str | None = None
    downloaded: bool = False
    """Whether archives were downloaded; they are kept until the data set has its name."""


def bring(
    source: Source, dataset: Dataset, place: Place, staging: Path, force: bool, silence: float, progress: Progress
) -> Brought:  # fmt: skip
    """Fills ``staging`` with the files of a source.

    Args:
        source: one that is copied.
        dataset: limits, and the folders inside archives that its sources take.
        place: whose work folder keeps downloads until they are unpacked, also across kills.
        staging: an empty folder.
        force: do not use a download that an earlier fetch has left.
        silence: seconds without an answer until the source is given up.
        progress: told of downloads and unpacking.

    Raises:
        NetworkError, DataError, ResourceError: it did not work.
    """
    unpacking = _Unpacking(staging, _subdirs(source, dataset), _limits(dataset.limits), progress)
    if isinstance(source, ArchiveSource):
        receipt, digests = _from_here(source, unpacking, progress)
        return Brought(digests, (_record(source.archive.name, receipt),))
    patience = Patience(answer=min(20, silence), silence=silence)
    offer = _offer(source, patience, progress)
    loose = isinstance(source, (KaggleSource, CompetitionSource)) and bool(source.files)
    digests, records = dict[str, str](), list[Mapping[str, Any]]()
    for wanted in offer.wanted:
        getting = _Getting(wanted, place, patience, progress)
        if force:
            getting.path.unlink(missing_ok=True)
        with place.staging() as own:
            receipt, found = getting.unpacked(replace(unpacking, staging=own), loose)
            _merge(own, found, staging, digests, wanted.name)
        records.append(_record(wanted.name, receipt))
    return Brought(digests, tuple(records), offer.version, offer.licence, downloaded=True)


def _merge(own: Path, found: Mapping[str, str], staging: Path, digests: dict[str, str], name: str) -> None:
    """Moves what one archive held to what others did; the same file in two of them is there once.

    Raises:
        DataError: two archives hold different files of one name.
    """
    if not digests:
        staging.rmdir()
        own.replace(staging)
    for path, sha256 in found.items() if digests else ():
        if digests.get(path, sha256) != sha256:
            raise DataError(
                f"'{path}' of {name} is another file than the same of an archive before it; fetch one of them."
            )
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        (own / path).replace(staging / path)
    digests |= found


def _from_here(source: ArchiveSource, unpacking: "_Unpacking", progress: Progress) -> tuple[Receipt, dict[str, str]]:
    """An archive on this machine; where no digest is expected, it is found while the archive is unpacked."""
    if source.sha256 or source.size:
        return archive.check(source.archive, source.size, source.sha256, progress), unpacking.take(source.archive)
    with ThreadPoolExecutor(1) as beside:
        receipt = beside.submit(archive.check, source.archive)
        digests = unpacking.take(source.archive)
    return receipt.result(), digests


def page_of(source: Source) -> str | None:
    """Where a person gets a source's archive in a browser."""
    if isinstance(source, KaggleSource):
        return f"https://www.kaggle.com/datasets/{source.kaggle}"
    if isinstance(source, CompetitionSource):
        return f"https://www.kaggle.com/competitions/{source.competition}/data"
    return None


def _record(name: str, receipt: Receipt) -> Mapping[str, Any]:
    return {"name": name, "sha256": receipt.sha256, "bytes": receipt.size}


def _subdirs(source: Source, dataset: Dataset) -> tuple[str, ...]:
    """The source's own folder; for an archive got by hand (--from) that of any source, else all of it."""
    if source in dataset.sources:
        return (source.subdir,)
    return (*dict.fromkeys(other.subdir for other in dataset.sources if other.subdir), "")


def _limits(limits: Limits) -> unpack.Limits:
    return unpack.Limits(limits.max_files, round(limits.max_gb * 1e9), limits.max_ratio)


def _offer(source: Source, patience: Patience, progress: Progress) -> Offer:
    if isinstance(source, UrlSource):
        return Offer((url.wanted(source.url, source.sha256, source.size),))
    from tlcli.datasets.acquire.sources.kaggle import offers  # noqa: PLC0415 - its client takes 0.3 s

    if isinstance(source, KaggleSource):
        return offers.dataset(
            source.kaggle, source.version, source.files, source.size, source.sha256, patience, progress
        )
    if isinstance(source, CompetitionSource):
        return offers.competition(source.competition, source.files, source.size, source.sha256, patience, progress)
    raise TypeError(source)


@dataclass(frozen=True)
class _Unpacking:
    """How archives are unpacked."""

    staging: Path
    subdirs: Sequence[str]
    limits: unpack.Limits
    progress: Progress

    def take(self, path: Path, name: str = "") -> dict[str, str]:
        """Unpacks an archive; gives the digests of its files."""
        return unpack.unpack(path, self.staging, self.subdirs, self.limits, self.progress, name)


@dataclass(frozen=True)
class _Getting:
    """One file of a source, downloaded and unpacked."""

    wanted: Wanted
    place: Place
    patience: Patience
    progress: Progress

    @property
    def path(self) -> Path:
        """Where it lies until it is unpacked; the same name in every process."""
        return self.place.work / f"{hashlib.sha256(self.wanted.identity.encode()).hexdigest()[:16]}.download"

    def unpacked(self, unpacking: _Unpacking, loose: bool) -> tuple[Receipt, dict[str, str]]:
        """Downloads what is missing and unpacks it; a damaged file that an earlier fetch began is downloaded anew.

        Args:
            unpacking: how.
            loose: whether a file that is no archive is taken as it is.
        """
        left_over = self.path.exists() or self.path.with_name(f".{self.path.name}.part").exists()
        try:
            return self._once(unpacking, loose)
        except unpack.DamagedError:
            if not left_over:
                raise
        self.progress.note(f"{self.wanted.name}: what an earlier fetch has left is damaged; downloading it anew.")
        for entry in unpacking.staging.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return self._once(unpacking, loose)

    def _once(self, unpacking: _Unpacking, loose: bool) -> tuple[Receipt, dict[str, str]]:
        receipt = self._downloaded()
        if loose and not unpack.is_archive(self.path):
            target = unpacking.staging / self.wanted.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path, target)
            return receipt, {self.wanted.name: receipt.sha256}
        try:
            return receipt, unpacking.take(self.path, self.wanted.name)
        except DataError as error:
            told = str(error).replace(str(self.path), f"'{self.wanted.name}' of {self.wanted.shown}")
            if isinstance(error, (unpack.DamagedError, unpack.RefusedError)) or not unpack.is_archive(self.path):
                self.path.unlink()  # of no use, whatever the config says
            else:
                told += KEPT.format(self.place.work)
            raise type(error)(told) from error

    def _downloaded(self) -> Receipt:
        if self.path.exists():  # complete, and not unpacked: the process was ended in between
            try:
                return archive.check(self.path, self.wanted.size, self.wanted.digest, self.progress)
            except DataError:
                self.path.unlink()
        return download(self.wanted, self.path, self.patience, self.progress, unpacked=True)
