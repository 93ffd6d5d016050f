"""Acquiring a data set: a source's archives are downloaded, unpacked beside the data directory, checked, installed."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.datasets.acquire.archives.archive import DamagedError, RefusedError
from tlcli.datasets.acquire.archives.checks import UnpackLimits
from tlcli.datasets.acquire.archives.unpack import check_is_archive, is_archive, unpack
from tlcli.datasets.acquire.downloads.download import RemoteFile, download
from tlcli.datasets.acquire.downloads.partial_file import FileDigest
from tlcli.datasets.acquire.downloads.retries import DEFAULT_POLICY
from tlcli.datasets.acquire.install import InstallDirectory, InstallError, locked_directory
from tlcli.datasets.acquire.installed import installed_dataset
from tlcli.datasets.acquire.manifest import ArchiveRecord, DatasetManifest, read_manifest
from tlcli.datasets.acquire.scan import DatasetReader, check_mostly_readable
from tlcli.datasets.acquire.sources.archive import check_archive
from tlcli.datasets.acquire.sources.source import DatasetSource
from tlcli.datasets.digests import remember
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress


@dataclass(frozen=True)
class _Acquired:
    """What was unpacked, and from what."""

    digests: Mapping[str, str]
    """sha256 of every file by its path in the staging directory."""
    archives: tuple[ArchiveRecord, ...]
    version: str | None = None
    licence: str | None = None
    kept_in: Path | None = None
    """Where downloads are kept until the data set is installed; None if nothing was downloaded."""


@dataclass(frozen=True)
class Acquisition:
    """How a source is downloaded, unpacked, checked and installed."""

    target: Path
    """The data directory."""
    reader: DatasetReader
    limits: UnpackLimits
    progress: Progress
    configured: Sequence[DatasetSource]
    """The config's sources; a data set that is there and came from one of them is as good."""
    by_hand: bool
    """Whether the source was named on the command line."""
    force: bool
    """Whether to fetch again, and to ignore downloads that an earlier fetch has left."""

    def install(self, source: DatasetSource) -> tuple[DatasetManifest, bool]:
        """Installs what a source gives; a data set that fetch had installed before stays until then.

        Returns:
            What is there now, and whether it was there already, as another process was faster.

        Raises:
            NetworkError, DataError, ResourceError: the source is unavailable, or its archives are unusable.
            InstallError: the data directory must not be replaced.
        """
        with locked_directory(self.target, self.progress) as directory:
            directory.check_replaceable()
            there = None if self.force else installed_dataset(self.target, self.configured, self.reader, SILENT)
            if there and self.by_hand and source.record != there.source:
                if source.archive is not None:
                    check_is_archive(source.archive)  # else --force would not help
                message = f"{self.target} holds a data set that was fetched before ({there.source})."
                raise InstallError("data.already_fetched", message, f"Replace it by {source.record} with --force.")
            if there:
                return there, True
            replaces = directory.filled
            with directory.staging() as staging:
                acquired = self._acquire(source, staging, directory)
                manifest = self._checked(source, staging, acquired)
                if not directory.install(staging, manifest, replaces):
                    return read_manifest(directory.target) or manifest, True
            remember({self.target / path: sha256 for path, sha256 in acquired.digests.items()})
            directory.remove_downloads()
            return manifest, False

    def _checked(self, source: DatasetSource, staging: Path, acquired: _Acquired) -> DatasetManifest:
        """The manifest of the staging directory, which must hold what the config expects."""
        known = {f"{staging}/{path}": sha256 for path, sha256 in acquired.digests.items()}
        try:
            manifest = self.reader.describe(staging, source.record, known)
            check_mostly_readable(manifest)
        except DataError as error:
            if error.code == "data.images_packed" and source.record.kind in ("kaggle", "competition"):
                hint = f"{error.hint} Or write their names into the source: files: [NAME, NAME]; these are unpacked."
                error = DataError("data.images_packed", error.message, hint)
            raise _relocated(error, staging, str(self.target), acquired.kept_in) from None
        notes = tuple(note.replace(str(staging), str(self.target)) for note in manifest.notes)
        changes = {"archives": acquired.archives, "version": acquired.version, "by_hand": self.by_hand, "notes": notes}
        return manifest.model_copy(update={**changes, "licence": manifest.licence or acquired.licence})

    def _acquire(self, source: DatasetSource, staging: Path, directory: InstallDirectory) -> _Acquired:
        """Fills ``staging``, an empty directory, with the files of a source that is copied."""
        offer = source.offer(DEFAULT_POLICY, self.progress)
        if offer.archive is not None:
            digest = check_archive(offer.archive, source.size, source.sha256, self.progress)
            files = self._unpack(offer.archive, staging, source)
            return _Acquired(files, (_record(offer.archive.name, digest),))
        digests, records = dict[str, str](), list[ArchiveRecord]()
        for offered in offer.files:
            file = replace(offered, size=source.size, digest=source.sha256)
            # the same name in every process
            path = directory.work / f"{hashlib.sha256(file.identity.encode()).hexdigest()[:16]}.download"
            if self.force:
                path.unlink(missing_ok=True)
            with directory.staging() as own:
                digest, files = self._download_and_unpack(file, path, own, source)
                _merge(own, files, staging, digests, file.name)
            records.append(_record(file.name, digest))
        return _Acquired(digests, tuple(records), offer.version, offer.licence, kept_in=directory.work)

    def _unpack(self, archive: Path, staging: Path, source: DatasetSource, name: str = "") -> dict[str, str]:
        """Unpacks the source's folder of an archive; of one named by hand, that of any source. So with encodings."""
        others = dict.fromkeys(other.record.subdir for other in self.configured if other.record.subdir)
        subdirs = (*others, "") if self.by_hand else (source.record.subdir,)
        encodings = [one.record.encoding for one in (self.configured if self.by_hand else (source,))]
        encoding = next(filter(None, encodings), None)
        return unpack(archive, staging, subdirs, self.limits, self.progress, name, encoding)

    def _download_and_unpack(
        self, file: RemoteFile, path: Path, staging: Path, source: DatasetSource
    ) -> tuple[FileDigest, dict[str, str]]:  # fmt: skip
        """Downloads what is missing and unpacks it; a damaged file that an earlier fetch began is downloaded again."""
        left_over = path.exists() or path.with_name(f".{path.name}.part").exists()
        digest = self._downloaded(file, path)
        if source.record.files and not is_archive(path):  # a single file, which is copied as it is
            target = staging / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            return digest, {file.name: digest.sha256}
        try:
            return digest, self._unpack(path, staging, source, file.name)
        except DataError as error:
            useless = isinstance(error, RefusedError)
            if useless:
                path.unlink()
            if not (left_over and isinstance(error, DamagedError)):
                shown = f"'{file.name}' of {file.source}"
                raise _relocated(error, path, shown, None if useless else path.parent) from error
        self.progress.note(f"{file.name}: the download of an earlier fetch is damaged; downloading it again.")
        for entry in staging.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return self._download_and_unpack(file, path, staging, source)

    def _downloaded(self, file: RemoteFile, path: Path) -> FileDigest:
        if path.exists():  # complete, and not unpacked: the process ended in between
            try:
                return check_archive(path, file.size, file.digest, self.progress)
            except DataError:
                path.unlink()
        return download(file, path, progress=self.progress, unpacked=True)


def _relocated(error: DataError, path: Path, shown: str, kept_in: Path | None) -> DataError:
    """The same error about a temporary path, with the name that people know, and where the download is kept."""
    code, message, hint = (text.replace(str(path), shown) for text in error.args)
    if "yourself:" in hint:  # the command is for a file that people must have
        hint = f"Download it in a browser. {hint}"
    if kept_in:
        hint += f" The download is kept in {kept_in}: correct the config, then run the same command again."
    return type(error)(code, message, hint.strip())


def _merge(own: Path, files: Mapping[str, str], staging: Path, digests: dict[str, str], name: str) -> None:
    """Moves what one archive held to what others did; a file that is equal in two of them is there once.

    Raises:
        DataError: two archives hold different files of one name.
    """
    if not digests:
        staging.rmdir()
        own.replace(staging)
    for path, sha256 in files.items() if digests else ():
        if digests.get(path, sha256) != sha256:
            message = f"'{path}' of {name} differs from the file of this name in an archive before it."
            raise DataError("data.archives_conflict", message, "Fetch one of the archives.")
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        (own / path).replace(staging / path)
    digests |= files


def _record(name: str, digest: FileDigest) -> ArchiveRecord:
    return ArchiveRecord(name=name, sha256=digest.sha256, bytes=digest.size)
