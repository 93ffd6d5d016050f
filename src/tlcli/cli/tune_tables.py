"""The table of tlcli tune."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from tlcli.cli.console import plain_table, printable
from tlcli.progress import format_duration

if TYPE_CHECKING:
    from tlcli.tuning.outcome import Contender, Outcome

_PASS, _HEAD = 21, 21
"""Characters of the columns of settings, so that the table fits 80."""


def leaderboard_table(outcome: "Outcome", most: int = 10) -> Table:
    """The best contenders, and below them the fine-tuned winner and the config as it is; "=" marks those that could be
    as good as the best.

    Args:
        outcome: of the search.
        most: contenders shown.
    """
    from tlcli.tuning.metric_units import title_of  # noqa: PLC0415 - keeps --help fast

    shown = outcome.contenders[:most]
    count = len(outcome.contenders)
    title = "Leaderboard" if len(shown) == count else f"Leaderboard: {len(shown)} of {count:,} (all: leaderboard.csv)"
    heading = title_of(outcome.metric).replace(" ", "\n", 1)
    table = plain_table(
        "",
        "network, size\nresize, augmentation",
        "layers, pooling\nhead",
        f"{heading}\n95 % interval",
        "ms\nMB\nsearch",
        title=title,
    )
    for number, width in ((1, _PASS), (2, _HEAD)):
        column = table.columns[number]
        column.justify, column.max_width, column.overflow = "left", width, "fold"
    table.columns[0].justify = "right"
    for rank, one in enumerate(shown, 1):
        mark = " =" if rank > 1 and one.is_equal else "  "
        table.add_row(f"{rank}{mark}", *_cells(outcome, one), end_section=rank == len(shown))
    if found := outcome.fine_tuned:
        folds = "" if found.folds == found.of_folds else f",\n{found.folds} of {found.of_folds} folds"
        mark = " =" if found.contender.is_equal else ""
        table.add_row(mark, *_cells(outcome, found.contender, f"fine-tuned{folds}:\n"))
    if outcome.given:
        table.add_row("", *_cells(outcome, outcome.given, "config as it is:\n"))
    return table


def _cells(outcome: "Outcome", one: "Contender", before: str = "") -> list[str]:
    from tlcli.reports.tune_text import (  # noqa: PLC0415 - keeps --help fast
        ends,
        figure,
        head_words,
        layers_text,
        milliseconds,
        network_name,
    )

    augmentation = "" if one.input.augmentation == "none" else f", {one.input.augmentation}"
    passed = f"{before}{network_name(one.input)} {one.input.size_text}\n{one.input.resize}{augmentation}"
    layers = layers_text(one.input, one.head.layers).replace("all but the last layer", "without last")
    words = " ".join(head_words(one.head)).replace("logistic regression", "logistic")
    head = f"{layers}, {one.head.pooling}\n{words}"
    return [
        escape(printable(passed)),
        escape(printable(head)),
        f"{figure(outcome.metric, one.score)}\n{ends(outcome.metric, one.interval)}",
        f"{milliseconds(one.cost.ms_per_image)}\n{one.cost.megabytes:,.0f}\n{format_duration(one.cost.seconds)}",
    ]
