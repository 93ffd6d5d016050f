"""The only module that prints: results on stdout, progress, notes and errors on stderr."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from tlcli.progress import Progress

if TYPE_CHECKING:
    from tlcli.features.pipeline import Extraction


class _Rate(ProgressColumn):
    """Steps a second, with their unit."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class _Bars(Progress):
    """Shows stages on stderr: a bar where the total is known, on a terminal; elsewhere nothing but notes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        outer = self._bars, self._task
        if outer[0] is not None:
            outer[0].stop()
        with Bars(*_columns(total, unit), console=self._console, transient=True) as bars:
            self._bars, self._task = bars, bars.add_task(title, total=total, unit=unit)
            try:
                yield
            finally:
                self._bars, self._task = outer
        if outer[0] is not None:
            outer[0].start()

    def advance(self, steps: int = 1) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, steps)

    def note(self, message: str) -> None:
        self._console.print(f"[dim]{escape(visible(message))}[/]", soft_wrap=True)


def _columns(total: int | None, unit: str) -> list[ProgressColumn]:
    title = TextColumn("{task.description}", markup=False)
    if total is None and unit != "bytes":
        return [SpinnerColumn(), title]
    if unit == "bytes":
        return [title, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    return [title, BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()]


def _console(stderr: bool = False, quiet: bool = False, width: int | None = None) -> Console:
    """Text stays as it is: no colours for numbers and paths, no images for ``:words:``."""
    return Console(stderr=stderr, quiet=quiet, width=width, emoji=False, highlight=False)


class Screen:
    """Where one command prints: nothing in quiet, and with JSON everything but the document goes to stderr."""

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json = as_json
        self.errors = _console(stderr=True, quiet=quiet)
        self._out = self.errors if as_json else _console(quiet=quiet)
        self._quiet = quiet
        self.progress = Progress() if quiet else _Bars(self.errors)

    def line(self, text: str = "") -> None:
        """A line as it is; long lines are left to the terminal, so that paths can be copied."""
        self._out.print(visible(text), markup=False, soft_wrap=True)

    def bold(self, text: str) -> None:
        """A line that stands out."""
        self._out.print(text, markup=False, soft_wrap=True, style="bold")

    def heading(self, title: str, verdict: str, style: str) -> None:
        """What follows, and what came of it."""
        self._out.print(Text.assemble((title, "bold"), ": ", (verdict, style)))

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and what there is to say of them, in two columns; long words are folded, none is cut."""
        grid = Table.grid(Column(overflow="fold", max_width=21), Column(overflow="fold"), padding=(0, 2))
        for name, value in rows:
            grid.add_row(Text(f"  {name}"), Text(value))
        self._out.print(grid)

    def next_command(self, *words: str) -> None:
        """What to run next, quoted for a shell."""
        self._out.print(Text.assemble("Next: ", (shlex.join(words), "bold cyan")), soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table; wider than the screen where it must be, as a number with its end cut off is another number."""
        wide = _console(width=self._needed(table), stderr=self._as_json, quiet=self._quiet)
        (self._out if self.fits(table) else wide).print(table)

    def fits(self, table: Table) -> bool:
        """Whether the screen is wide enough for it."""
        return self._needed(table) <= self._out.width

    def _needed(self, table: Table) -> int:
        return self._out.measure(table, options=self._out.options.update(width=10_000)).maximum

    def document(self, value: Any) -> None:
        """The one JSON document, where it was asked for."""
        if self._as_json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """The text with its control characters written out: a class or a file may be named so that it would move the
    cursor, or the window's title."""
    return text.translate(_CONTROLS)


def print_error(message: str) -> None:
    """An error on stderr."""
    _console(stderr=True).print(f"[bold red]Error:[/] {escape(visible(message))}", soft_wrap=True)


def write_out(text: str) -> None:
    """Text for other programs, as it is."""
    sys.stdout.write(text)


def reuse(features: "Extraction") -> str:
    """What the frozen pass had to do."""
    return f"Features: {features.computed:,} computed, {features.reused:,} reused"


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def counts_table(counts: Mapping[Any, Mapping[str, int]]) -> Table:
    """Images for each class and split, with sums."""
    table = plain_table("class", *counts, "all", title="Images")
    for label in next(iter(counts.values())):
        numbers = [by_label[label] for by_label in counts.values()]
        table.add_row(escape(label), *(f"{n:,}" for n in numbers), f"{sum(numbers):,}")
    sums = [sum(by_label.values()) for by_label in counts.values()]
    table.add_section()
    table.add_row("all", *(f"{n:,}" for n in sums), f"{sum(sums):,}")
    return table


def metrics_table(metrics: Mapping[Any, Mapping[str, Any]]) -> Table:
    """One column a split."""
    table = plain_table("", *metrics, title="Measured")
    table.add_row("images", *(f"{m['n']:,}" for m in metrics.values()))
    table.add_row("accuracy", *(f"{m['accuracy']:.4f}" for m in metrics.values()))
    table.add_row("95 % interval", *("{:.4f} - {:.4f}".format(*m["accuracy_ci95"]) for m in metrics.values()))
    for name, key in _OTHER_METRICS.items():
        table.add_row(name, *("-" if m[key] is None else f"{m[key]:.4f}" for m in metrics.values()))
    return table


_OTHER_METRICS = {
    "balanced accuracy": "balanced_accuracy",
    "ROC-AUC": "roc_auc",
    "log loss": "log_loss",
    "calibration error": "ece",
}


def per_class_table(per_class: Mapping[str, Mapping[str, float]]) -> Table:
    """One line a class."""
    table = plain_table("class", "precision", "recall", "F1", "images", title="Test images by class")
    for name, m in per_class.items():
        table.add_row(
            escape(name), f"{m['precision']:.4f}", f"{m['recall']:.4f}", f"{m['f1']:.4f}", f"{m['support']:,}"
        )
    return table


def confusion_table(matrix: list[list[int]], labels: list[str]) -> Table:
    """True classes down, predicted classes across."""
    names = [escape(label) for label in labels]
    table = plain_table("true \\ predicted", *names, title="Confusion matrix, test images")
    for label, row in zip(labels, matrix, strict=True):
        table.add_row(escape(label), *(f"{n:,}" for n in row))
    return table
