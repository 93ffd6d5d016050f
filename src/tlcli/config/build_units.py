"""From a config to the units of its frozen pass, planned, and computed on this machine.

Remote images pass before they are indexed: an index needs their digests, and their bytes are read once.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from tlcli.config.build_dataset import dataset_index, dataset_scan
from tlcli.config.build_features import Opener, feature_extractor
from tlcli.config.load import LoadedConfig
from tlcli.datasets.digests import Digests, digests_of
from tlcli.datasets.index import Index
from tlcli.datasets.labelled_files import LabelledFile, Scan
from tlcli.datasets.object_digests import ObjectDigests
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.key import preparation_digest
from tlcli.features.units import UNIT_ROWS, Unit, UnitResult, UnitRow, compute_unit, state_of, unreadable
from tlcli.images.augmentation import PLAIN
from tlcli.progress import SILENT, Progress
from tlcli.system.remote.path import RemotePath

Shard = tuple[int, int]
"""The number of a part of the units, from 1, and how many parts there are."""
WHOLE: Shard = (1, 1)


@dataclass(frozen=True)
class UnitPlan:
    """The units of a pass that have something to compute."""

    units: tuple[Unit, ...]
    images: int
    """Of all units of the shard, those that are done among them."""
    total: int
    """Units of the shard, those that are done among them."""
    all_views: int
    """Of all images of the shard."""
    bad: dict[str, str]
    """Images of units that are done and are known to be unreadable, by name, and the reasons."""

    @property
    def views(self) -> int:
        """Of the units that have something to compute; what they have in part is not known before."""
        return sum(len(row.views) for unit in self.units for row in unit.rows)


@dataclass(frozen=True)
class UnitPass:
    """What computes the units of a config, and what the records know of its images."""

    loaded: LoadedConfig
    scan: Scan
    extractor: FeatureExtractor
    digests: ObjectDigests

    def plan(self, shard: Shard = WHOLE, index: Index | None = None) -> UnitPlan:
        """Plans units of :data:`tlcli.features.units.UNIT_ROWS` images.

        Args:
            shard: which units; every n-th.
            index: says which images are for training, where the data do not: only these need augmented views.
        """
        of_training = None if index is None else {image.path for image in index.of("train")}
        units, bad, images, total, views = list[Unit](), dict[str, str](), 0, 0, 0
        for number, some in enumerate(_chunks(self.scan.files, UNIT_ROWS)):
            if number % shard[1] != shard[0] - 1:
                continue
            rows = [row for file in some if (row := self._row(file, of_training))]
            images, total, views = images + len(some), total + 1, views + sum(len(row.views) for row in rows)
            states = [state_of(row, self.extractor.store, self.digests) for row in rows]
            if all(states):
                bad |= unreadable(rows, states)
            else:
                units.append(Unit(number, tuple(rows)))
        return UnitPlan(tuple(units), images, total, views, bad)

    def run(self, plan: UnitPlan, progress: Progress = SILENT) -> list[UnitResult]:
        """Computes the units of a plan, here one after the other; see :func:`tlcli.features.units.compute_unit`."""
        if not plan.units:
            return []
        extractor = self.extractor
        if extractor.elsewhere:
            results = extractor.elsewhere(extractor, plan.units, progress)
            self.digests.reload()
            return results
        stage = progress.stage("Computing features", plan.views, "images")
        with closing(extractor.open_engine(progress)) as engine, stage:
            return [
                compute_unit(unit, extractor.decoder, engine, extractor.store, self.digests, progress)
                for unit in plan.units
            ]

    @cached_property
    def _of_files(self) -> Digests:
        return digests_of(path for file in self.scan.files if not isinstance(path := file.path, RemotePath))

    @property
    def needs_index(self) -> bool:
        """Training images are augmented, and the data do not say which these are."""
        return len(self.extractor.views) > 1 and not self._has_splits

    @cached_property
    def _has_splits(self) -> bool:
        given = {file.split for file in self.scan.files}
        draws = self.loaded.config.dataset.split.validation > 0 and "validation" not in given
        return None not in given and not draws

    def known(self) -> Digests | None:
        """Digests of the remote images, and why others are unreadable; None where some were never read."""
        found = Digests()
        for file in self.scan.files:
            path = file.path
            if not isinstance(path, RemotePath) or path in self.scan.digests:
                continue
            address, version = path.address, path.listed.version
            sha256, reason = self.digests.known(address, version)
            if sha256:
                found.of[path] = sha256
            elif reason:
                found.errors[path] = reason
            else:
                return None
        return found

    def index(self, known: Digests) -> Index:
        """The index of the data set, without reading an image again."""
        return dataset_index(self.loaded.config.dataset, self.loaded.options, objects=known)

    def unreadable(self) -> dict[str, str]:
        """sha256 of the remote images whose bytes are unreadable, and the reasons."""
        found = {}
        for file in self.scan.files:
            if isinstance(path := file.path, RemotePath):
                address, version = path.address, path.listed.version
                if reason := self.digests.reason(address, version):
                    found[self.scan.digests.get(path) or self.digests.sha256(address, version)] = reason
        return {sha256: reason for sha256, reason in found.items() if sha256}

    def _row(self, file: LabelledFile, of_training: set[Path] | None) -> UnitRow | None:
        """The row of an image; None for a file that cannot be read, which the index reports."""
        path = file.path
        is_training = file.split == "train" if of_training is None and self._has_splits else path in (of_training or ())
        views = self.extractor.views if is_training else (PLAIN,)
        sha256 = self.scan.digests.get(path, "")
        if isinstance(path, RemotePath):
            listed = path.listed
            return UnitRow(path.address, listed.version, listed.size, sha256, views)
        sha256 = sha256 or self._of_files.of.get(path, "")
        return UnitRow(str(path), "", None, sha256, views) if sha256 else None


def unit_pass(
    loaded: LoadedConfig, verify: bool = False, progress: Progress = SILENT, opened: Opener = feature_extractor
) -> UnitPass:  # fmt: skip
    """Reads what images there are, chooses the engine, and opens the store and the records.

    Args:
        loaded: the config.
        verify: list and read everything again.
        progress: receives the choices.
        opened: opens the extractor.

    Raises:
        DataError, NetworkError: the images are missing, or refused.
        ModelError: the weights or the engine are unavailable.
        UsageError: the extra ``remote`` is not installed.
    """
    config = loaded.config
    scan = dataset_scan(config.dataset, loaded.options, verify)
    index = None
    if config.backbone.precision == "int8" or config.image.levels == "data":  # these are measured on training images
        index = dataset_index(config.dataset, loaded.options, verify)
    extractor = opened(index, config, progress)
    decoder = preparation_digest(extractor.decoder.preparation)
    return UnitPass(loaded, scan, extractor, ObjectDigests(decoder, progress, anew=verify and index is None))


@dataclass(frozen=True)
class RemotePass:
    """What the pass of remote images found."""

    extractor: FeatureExtractor
    computed: int
    """Views."""
    known: Digests
    bad: dict[str, str]
    """sha256 of unreadable images, and the reasons."""


def pass_remote(
    loaded: LoadedConfig, verify: bool = False, progress: Progress = SILENT, opened: Opener = feature_extractor
) -> RemotePass | None:  # fmt: skip
    """Computes the plain views of remote images before they are indexed, and augmented views where the data say which
    images are for training; None where all images are files of this machine.

    Args:
        loaded: the config.
        verify: list and read everything again.
        progress: receives the stages.
        opened: opens the extractor.

    Raises:
        DataError, NetworkError: the images are missing, refused, or changed meanwhile.
        ModelError: the weights or the engine are unavailable.
        UsageError: the extra ``remote`` is not installed.
    """
    with progress.stage("Listing images"):
        passed = unit_pass(loaded, verify, progress, opened)
    if not any(isinstance(file.path, RemotePath) for file in passed.scan.files):
        return None
    results = passed.run(passed.plan(), progress)
    computed = sum(one.computed for one in results)
    return RemotePass(passed.extractor, computed, passed.known() or Digests(), passed.unreadable())


def has_remote_images(loaded: LoadedConfig) -> bool:
    """Whether a config's images may be remote: its path is an address, or a manifest."""
    path = loaded.config.dataset.path
    return path is not None and (isinstance(path, RemotePath) or path.suffix.lower() in (".csv", ".parquet"))


def _chunks(files: Iterable[LabelledFile], size: int) -> Iterator[Sequence[LabelledFile]]:
    waiting = iter(files)
    while some := list(islice(waiting, size)):
        yield some
