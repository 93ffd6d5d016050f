"""The only module that prints: results on stdout, progress, notes and errors on stderr."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.progress import ProgressColumn, Task, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from tlcli.progress import Progress


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
        self._console.print(f"[dim]{escape(message)}[/]", highlight=False, soft_wrap=True)


def _columns(total: int | None, unit: str) -> list[ProgressColumn]:
    title = TextColumn("{task.description}")
    if total is None and unit != "bytes":
        return [SpinnerColumn(), title]
    if unit == "bytes":
        return [title, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    return [title, BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()]


class Screen:
    """Where one command prints: nothing in quiet, and with JSON everything but the document goes to stderr."""

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json = as_json
        self.errors = Console(stderr=True, quiet=quiet)
        self._out = self.errors if as_json else Console(quiet=quiet)
        self.progress = Progress() if quiet else _Bars(self.errors)

    def line(self, text: str = "") -> None:
        """A line as it is; long lines are left to the terminal, so that paths can be copied."""
        self._out.print(text, markup=False, highlight=False, soft_wrap=True)

    def bold(self, text: str) -> None:
        """A line that stands out."""
        self._out.print(text, markup=False, highlight=False, soft_wrap=True, style="bold")

    def next_command(self, command: str) -> None:
        """What to run next."""
        self._out.print(f"Next: [bold cyan]{escape(command)}[/]", highlight=False, soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table."""
        self._out.print(table)

    def document(self, value: Any) -> None:
        """The one JSON document, where it was asked for."""
        if self._as_json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_error(message: str) -> None:
    """An error on stderr."""
    Console(stderr=True).print(f"[bold red]Error:[/] {escape(message)}", highlight=False, soft_wrap=True)


def write_out(text: str) -> None:
    """Text for other programs, as it is."""
    sys.stdout.write(text)


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def counts_table(counts: Mapping[Any, Mapping[str, int]]) -> Table:
    """Pictures for each class and split, with sums."""
    table = plain_table("class", *counts, "all", title="Pictures")
    for label in next(iter(counts.values())):
        numbers = [by_label[label] for by_label in counts.values()]
        table.add_row(escape(label), *(f"{n:,}" for n in numbers), f"{sum(numbers):,}")
    sums = [sum(by_label.values()) for by_label in counts.values()]
    table.add_section()
    table.add_row("all", *(f"{n:,}" for n in sums), f"{sum(sums):,}")
    return table


def metrics_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """One line a split."""
    columns = ("split", "pictures", "accuracy", "95 % interval", "balanced", "ROC-AUC", "log loss", "ECE")
    table = plain_table(*columns, title="Measured")
    for split, m in metrics.items():
        low, high = m["accuracy_ci95"]
        auc = "-" if m["roc_auc"] is None else f"{m['roc_auc']:.4f}"
        numbers = (f"{m['balanced_accuracy']:.4f}", auc, f"{m['log_loss']:.4f}", f"{m['ece']:.4f}")
        table.add_row(split, f"{m['n']:,}", f"{m['accuracy']:.4f}", f"{low:.4f} - {high:.4f}", *numbers)
    return table


def per_class_table(per_class: Mapping[str, Mapping[str, float]]) -> Table:
    """One line a class."""
    table = plain_table("class", "precision", "recall", "F1", "pictures", title="Test pictures by class")
    for name, m in per_class.items():
        table.add_row(escape(name), f"{m['precision']:.4f}", f"{m['recall']:.4f}", f"{m['f1']:.4f}", f"{m['n']:,}")
    return table


def confusion_table(matrix: list[list[int]], labels: list[str]) -> Table:
    """True classes down, predicted classes across."""
    table = plain_table("true \\ predicted", *(escape(label) for label in labels), title="Confusion matrix, test pictures")
    for label, row in zip(labels, matrix, strict=True):
        table.add_row(escape(label), *(f"{n:,}" for n in row))
    return table
