"""runs: lists the runs of a directory, and compares two of them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaml import YAMLError

from tlcli.backbones.catalog import CATALOG
from tlcli.config.load import MAX_BYTES, OF_NO_RUN, flat_settings
from tlcli.config.yaml_core import Loader
from tlcli.errors import DataError, ModelError
from tlcli.runs.folders import RunConfig, named_run, no_runs, other_configs, runs_of
from tlcli.runs.summary import RunSummary, summarize
from tlcli.system.files import read_regular

if TYPE_CHECKING:
    from tlcli.runs.comparison import Comparison


@dataclass(frozen=True)
class ListedRuns:
    """The runs of a directory, the newest first."""

    runs: tuple[RunSummary, ...]
    broken: dict[str, str]
    """Runs that cannot be read: name -> reason."""


@dataclass(frozen=True)
class ComparedRuns:
    """Two runs on the same images, and how their configs differ."""

    test: "Comparison | None"
    """None where a run was not evaluated on test images, or they have none in common but out-of-fold predictions."""
    out_of_fold: "Comparison | None"
    """On training and validation images, by cross-validation. None where a run was trained without, or the comparison
    on test images is all there is."""
    settings: dict[str, tuple[Any, Any]]
    """Config key -> value of a and of b, where they differ; None where a config lacks it."""


def list_runs(runs_dir: Path, config: RunConfig | None = None) -> ListedRuns:
    """All finished runs of a directory, or those of a config. Broken runs hide no others.

    Raises:
        ModelError: all runs of this name are of other configs.
    """
    found: list[RunSummary] = []
    broken: dict[str, str] = {}
    for run in runs_of(runs_dir, config):
        try:
            found.append(summarize(run))
        except ModelError as error:
            broken[f"{run.parent.name}/{run.name}"] = error.message
    if config and not found and not broken and other_configs(runs_dir, config):
        raise no_runs(runs_dir, config)
    return ListedRuns(_with_settings(found), broken)


def _with_settings(found: list[RunSummary]) -> tuple[RunSummary, ...]:
    """The runs, each with its values of the settings that differ between them. Where the images are is not one.

    What any of them was given by --set comes first; last what is not set, or differs only because the backbone does.
    """
    read: dict[Path, dict[str, Any]] = {}
    for run in found:
        with suppress(ModelError):  # its figures are worth showing
            read[run.path] = dict(flat_settings(_config(run.path)))
    keys = dict.fromkeys(key for one in read.values() for key in one)
    first = next(iter(read.values()), {})
    differing = [
        key
        for key in keys
        if not key.startswith((*OF_NO_RUN, "dataset.path"))
        and any(one.get(key) != first.get(key) for one in read.values())
    ]
    set_keys = {_key(override) for run in found for override in run.overrides}
    chosen = {key for key in differing if any(_is_set(key, one) for one in set_keys)}
    derived = {key for key in differing if key not in chosen and all(_is_derived(key, one) for one in read.values())}

    def rank(key: str, run: RunSummary) -> int:
        own = {_key(override) for override in run.overrides}
        is_left_open = read[run.path].get(key) is None and not any(_is_set(key, one) for one in own)
        return 2 if key in derived or is_left_open else key not in chosen

    return tuple(
        replace(
            run,
            settings={key: read[run.path].get(key) for key in sorted(differing, key=lambda key: rank(key, run))}
            if run.path in read
            else {},
        )
        for run in found
    )


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _is_set(key: str, override: str) -> bool:
    return key == override or key.startswith(f"{override}.")


def _is_derived(key: str, settings: Mapping[str, Any]) -> bool:
    """Whether a setting is what the backbone says, or is not set."""
    value, row = settings.get(key), CATALOG.get(str(settings.get("backbone.name")))
    section, _, name = key.partition(".")
    return value is None or (section == "image" and row is not None and value == getattr(row, name, None))


def compare(runs_dir: Path, a: str, b: str) -> ComparedRuns:
    """Compares two runs on the test images of both, where both are evaluated, and by their cross-validation.

    They are named as :func:`~tlcli.runs.folders.named_run` takes them.

    Raises:
        DataError: classes, labels or all images differ, so that there is nothing to compare.
        ModelError: a run is missing or malformed, or they have neither test images nor cross-validation.
        UsageError: a name is ambiguous, or both name the same run.
    """
    from tlcli.runs.comparison import compare_out_of_fold, compare_runs  # noqa: PLC0415 - SciPy; listing needs none

    run_a, run_b = named_run(runs_dir, a), named_run(runs_dir, b)
    out_of_fold, refused = None, None
    try:
        out_of_fold = compare_out_of_fold(runs_dir, run_a, run_b)
    except DataError as error:  # other training images; the test images may be the same
        refused = error
    test = None
    try:
        test = compare_runs(runs_dir, run_a, run_b)
    except (DataError, ModelError) as error:
        if error.code not in ("model.run_not_evaluated", "data.no_common_test_images"):
            raise
        if out_of_fold is None:
            raise refused or error from None
    settings_a, settings_b = (dict(flat_settings(_config(run))) for run in (run_a, run_b))
    keys = dict.fromkeys([*settings_a, *settings_b])
    return ComparedRuns(
        test,
        out_of_fold,
        {key: (settings_a.get(key), settings_b.get(key)) for key in keys if settings_a.get(key) != settings_b.get(key)},
    )


def _config(run: Path) -> dict[str, Any]:
    """The config as it was written, not validated."""
    path = run / "config.yaml"
    try:
        value = Loader(read_regular(path, MAX_BYTES).decode()).get_single_data()
    except (OSError, UnicodeDecodeError, YAMLError, RecursionError) as error:
        raise ModelError("model.run_unreadable", f"{path} cannot be read ({error}).", "Train again.") from error
    return value if isinstance(value, dict) else {}
