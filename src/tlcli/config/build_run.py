"""From a run's directory to its config, its model and the data set that it was trained on."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.config.build_dataset import dataset_folder, dataset_index, read_index
from tlcli.config.build_features import OWN_FILES_SAY, with_absolute_paths
from tlcli.config.load import OF_NO_RUN, LoadedConfig, config_options, flat_settings, load_config
from tlcli.config.no_effect import has_effect
from tlcli.config.schema import Config
from tlcli.datasets.digests import digests_of
from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import DataError, ModelError, UsageError
from tlcli.model.bundle import Bundle, load_bundle
from tlcli.progress import Progress
from tlcli.runs.contents import data_root
from tlcli.runs.folders import RunConfig, complete_runs_of, find_run, no_runs
from tlcli.runs.images import RecordedImage, difference
from tlcli.runs.records import RunRecord, read_record
from tlcli.system.remote.path import RemotePath, as_path


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


@dataclass(frozen=True)
class MatchingRun:
    """A run with the settings and the data set of a config."""

    folder: Path
    newer: tuple[Path, ...]
    """Runs of this config that are newer, and have other settings."""


def find_matching_run(
    runs_dir: Path, config: RunConfig, loaded: LoadedConfig, run: Path | None = None, any_folder: bool = False
) -> MatchingRun:
    """The newest run of a config that was trained with the settings that the config has now; or the run given, if it
    was.

    Args:
        runs_dir: directory of the runs.
        config: names the config's runs.
        loaded: the config, as it is now.
        run: one run, see :func:`~tlcli.runs.folders.named_run`.
        any_folder: the images may be in another folder now.

    Raises:
        ModelError: the config has no run, or none with these settings.
        UsageError: the run given is of another config or ambiguous.
    """
    given = [find_run(runs_dir, config, run)] if run is not None else complete_runs_of(runs_dir, config)
    if not given:
        raise no_runs(runs_dir, config)
    for number, one in enumerate(given):
        if not setting_differences(one, loaded.config, any_folder):
            return MatchingRun(one.resolve(), tuple(given[:number]))
    differing = setting_differences(given[0], loaded.config, any_folder)
    listed = "; ".join(f"{key}: {before}, now {now}" for key, (before, now) in list(differing.items())[:5])
    which = f"The run {given[0]}" if run is not None else f"The newest run of '{config.given}', {given[0]},"
    raise ModelError(
        "model.no_run_with_settings",
        f"{which} was trained with other settings than the config has now: "
        f"{listed}{' ...' if len(differing) > 5 else ''}.",
        f"Give the settings of the run with --set, or name it with --run alone; or train: "
        f"{shlex.join(['tlcli', 'train', *loaded.options])}",
    )


def setting_differences(run: Path, config: Config, any_folder: bool = False) -> dict[str, tuple[str, str]]:
    """Settings and data set of a run that are not those of a config: dotted key -> value of the run and of the config.

    What the config leaves to be chosen (``auto``, ``levels: data``) agrees with every value, and settings that have no
    effect agree with one another.
    """
    try:
        config_of_run = load_config(run / "config.yaml").config
    except UsageError as error:
        return {"config.yaml": (f"unreadable ({error.code})", "valid")}
    of_run = settings_of(config_of_run.with_backbone_defaults())
    wanted = settings_of(with_absolute_paths(config.with_backbone_defaults()))
    left_open = {key for key, value in wanted.items() if value == "auto" and key.startswith("backbone.")}
    left_open |= {"image.levels"} if config.image.levels == "data" else set()
    left_open |= {"dataset.path"} if any_folder else set()
    if config.backbone.path is not None:  # what its files said when the run was trained
        left_open |= {key for key in OWN_FILES_SAY if wanted.get(key) is None}
    return {
        key: (_shown(of_run.get(key)), _shown(wanted.get(key)))
        for key in dict.fromkeys([*of_run, *wanted])
        if key not in left_open and of_run.get(key) != wanted.get(key)
        if not key.startswith(OF_NO_RUN) and (has_effect(config_of_run, key) or has_effect(config, key))
    }


def settings_of(config: Config) -> dict[str, object]:
    """All values of a config by their dotted keys."""
    return dict(flat_settings(config.model_dump(mode="json")))


def _shown(value: object) -> str:
    return "not set" if value is None else f"{json.dumps(value, ensure_ascii=False):.100}"


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
    """The training images that are still where they were, with the same content; those on a store as they were
    recorded, as finding out would read all of them."""
    root = data_root(run.record)
    training = {as_path(one.path, root): one for one in recorded if one.is_fitted}
    there: dict[Path, str] = {path: one.sha256 for path, one in training.items() if isinstance(path, RemotePath)}
    there |= digests_of(path for path in training if path not in there and path.is_file()).of
    return [
        LabelledImage(path, one.path, one.sha256, one.label, "train", one.sha256)
        for path, one in training.items()
        if there.get(path) == one.sha256
    ]
