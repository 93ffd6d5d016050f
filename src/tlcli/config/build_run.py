"""From a run's directory to its config, its model and the data set that it was trained on."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.config.build_dataset import dataset_folder, dataset_index, read_index
from tlcli.config.load import config_options, load_config
from tlcli.config.schema import Config
from tlcli.datasets.digests import digests_of
from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import DataError
from tlcli.model.bundle import Bundle, load_bundle
from tlcli.progress import Progress
from tlcli.runs.images import RecordedImage, difference
from tlcli.runs.records import RunRecord, read_record


@dataclass(frozen=True)
class OpenedRun:
    """A run, opened."""

    folder: Path
    record: RunRecord
    config: Config
    bundle: Bundle

    @classmethod
    def open(cls, folder: Path) -> "OpenedRun":
        """Reads the record, the config and the model.

        Raises:
            ModelError: the run or its bundle is damaged.
        """
        config = load_config(folder / "config.yaml").config
        return cls(folder, read_record(folder), config, load_bundle(folder / "model"))


def data_of(run: OpenedRun, recorded: Sequence[RecordedImage], verify: bool) -> Index:
    """The data set as the run saw it; with other splits, training images could be among the test images.

    Args:
        run: the run.
        recorded: its images.
        verify: read every image for its digest, also images that look unchanged.

    Raises:
        DataError: it is missing, or has changed.
    """
    record, dataset = run.record, run.config.dataset
    options = config_options(record.config, record.overrides)
    elsewhere = shlex.join(["tlcli", "evaluate", "--run", str(run.folder), "--data", "FOLDER"])
    again = f"Train again: {shlex.join(['tlcli', 'train', *options])}"
    if dataset_folder(dataset)[0] is None:
        dataset_index(dataset, options, verify, f"If they are in another place now, run: {elsewhere}")
    try:
        found = dataset_index(dataset, options, verify, drawn_late=record.filtered is None)
        index = _as_trained(run, found)
    except DataError as error:
        raise DataError(
            "data.changed_since_training",
            f"The images of this run cannot be read as they were when it was trained, so they have changed: "
            f"{error.message}",
            f"Restore them; or, if they are in another place now, run: {elsewhere}",
        ) from error
    if index.digest() != record.data_digest:
        raise DataError(
            "data.changed_since_training",
            f"The images in {index.root} are not those that this run was trained on, so that training images could be "
            f"among the test images: {difference(recorded, (*index.images, *index.set_aside))}.",
            f"If the run's images are in another place, or to measure the run on these as they are, add --data FOLDER. "
            f"{again}",
        )
    return index


def count_renamed(recorded: Sequence[RecordedImage], index: Index, progress: Progress) -> int:
    """How many images have other names than when the run was trained, which is noted."""
    renamed = difference(recorded, (*index.images, *index.set_aside)).renamed
    if renamed:
        progress.note(
            f"{len(renamed):,} images have other names than when this run was trained, with the same content, class "
            f"and split, for example {renamed[0]}."
        )
    return len(renamed)


def with_present_names(run: OpenedRun, recorded: Sequence[RecordedImage], index: Index) -> OpenedRun:
    """The run, its reference images named as they are now: under an old name there may be another image."""
    contents = {one.path: one.sha256 for one in recorded}
    names = {image.sha256: image.name for image in index.of("train")}
    reference = run.bundle.reference
    present = tuple(names.get(contents.get(name, ""), name) for name in reference.names)
    return replace(run, bundle=replace(run.bundle, reference=replace(reference, names=present)))


def _as_trained(run: OpenedRun, index: Index) -> Index:
    """The index without the images that training left out as unreadable, whatever they are called now."""
    names, contents = {item.path for item in run.record.skipped}, set(run.record.skipped_sha256)

    def trained(images: Sequence[LabelledImage]) -> tuple[LabelledImage, ...]:
        return tuple(one for one in images if one.name not in names and one.sha256 not in contents)

    return Index(
        index.root, index.labels, trained(index.images), {}, (), set_aside=trained(index.set_aside),
        excluded=index.excluded,
    )  # fmt: skip


def moved_data(run: OpenedRun, data: Path, verify: bool) -> Index | None:
    """The run's own images where ``data`` has them, in the same classes and splits; else None."""
    try:
        index = _as_trained(
            run, read_index(data, run.config.dataset, verify=verify, drawn_late=run.record.filtered is None)
        )
    except (DataError, OSError):  # what is wrong with it is said when it is read as a test set
        return None
    return index if index.digest() == run.record.data_digest else None


def readable_training_images(run: OpenedRun, recorded: Sequence[RecordedImage]) -> list[LabelledImage]:
    """The training images that are still where they were, with the same content."""
    root, training = Path(run.record.data_root), [one for one in recorded if one.is_fitted]
    digests = digests_of({root / one.path: None for one in training if (root / one.path).is_file()}).of
    return [
        LabelledImage(root / one.path, one.path, one.sha256, one.label, "train", one.sha256)
        for one in training
        if digests.get(root / one.path) == one.sha256
    ]
