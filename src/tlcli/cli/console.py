"""The only module that prints: results on stdout, progress, notes and errors on stderr."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from tlcli.errors import TlcliError
from tlcli.progress import Progress

if TYPE_CHECKING:
    from tlcli.evaluation.split_metrics import ClassMetrics, Metrics
    from tlcli.features.pipeline import Extraction


class _Amount(ProgressColumn):
    """How much of a stage is done, and how fast, in its unit."""

    def render(self, task: Task) -> Text:
        unit, speed = task.fields["unit"], task.finished_speed or task.speed
        if unit == "bytes":
            done, total, rate = (decimal(int(n or 0)) for n in (task.completed, task.total, speed))
        else:
            done, total, rate = f"{task.completed:,.0f}", f"{task.total or 0:,.0f}", f"{speed or 0:,.1f} {unit}"
        amount = f"{done}/{total}" if task.total else done if task.completed else ""
        return Text(f"{amount}  {rate}/s" if speed else amount, style="progress.download")


class _Bars(Progress):
    """Shows a bar for each open stage on a terminal, and notes everywhere, both on stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console
        title = TextColumn("{task.description}", markup=False)
        self._bars = Bars(title, BarColumn(), _Amount(), TimeRemainingColumn(), console=console, transient=True)
        self._open: list[TaskID] = []

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        if not self._open:
            self._bars.start()
        self._open.append(self._bars.add_task(title, total=total, unit=unit))
        try:
            yield
        finally:
            if len(self._open) == 1:
                self._bars.stop()
            self._bars.remove_task(self._open.pop())

    def advance(self, steps: int = 1) -> None:
        if self._open:
            self._bars.advance(self._open[-1], steps)

    def note(self, message: str) -> None:
        self._console.print(f"[dim]{escape(printable(message))}[/]", soft_wrap=True)


def _console(stderr: bool = False, quiet: bool = False, width: int | None = None) -> Console:
    """Prints text as it is: no colours for numbers and paths, no emoji for ``:words:``."""
    return Console(stderr=stderr, quiet=quiet, width=width, emoji=False, highlight=False)


class Screen:
    """Where a command prints: nothing with ``--quiet``; with ``--json`` a document on stdout and the rest on stderr."""

    has_printed_document: ClassVar[bool] = False
    """Whether this process has printed its document: there is one at most, also where the command fails."""

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json = as_json
        self.errors = _console(stderr=True, quiet=quiet)
        self._out = self.errors if as_json else _console(quiet=quiet)
        self._quiet = quiet
        self.progress = Progress() if quiet else _Bars(self.errors)

    def line(self, text: str = "") -> None:
        """Prints a line as it is; the terminal wraps long lines, so that paths can be copied."""
        self._out.print(printable(text), markup=False, soft_wrap=True)

    def bold(self, text: str) -> None:
        """Prints a line in bold."""
        self._out.print(printable(text), markup=False, soft_wrap=True, style="bold")

    def heading(self, title: str, verdict: str, style: str) -> None:
        """Prints the title of a section and its verdict in the style of a colour."""
        self._out.print(Text.assemble((title, "bold"), ": ", (verdict, style)))

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Prints names and values in two columns; long words are folded, none is cut off."""
        grid = Table.grid(Column(overflow="fold", max_width=21), Column(overflow="fold"), padding=(0, 2))
        for name, value in rows:
            grid.add_row(Text(f"  {name}"), Text(value))
        self._out.print(grid)

    def next_command(self, *words: str) -> None:
        """Prints the command to run next, quoted for a shell."""
        self._out.print(Text.assemble("Next: ", (shlex.join(words), "bold cyan")), soft_wrap=True)

    def table(self, table: Table) -> None:
        """Prints a table, wider than the screen where it must be: a number without its end is another number."""
        needed = self._out.measure(table, options=self._out.options.update(width=10_000)).maximum
        _console(self._as_json, self._quiet, max(needed, self._out.width)).print(table)

    def some(self, lines: Sequence[str], most: int = 10) -> None:
        """Prints the first lines, and how many more there are."""
        for line in lines[:most]:
            self.line(line)
        if len(lines) > most:
            self.line(f"  and {len(lines) - most:,} more (--json lists all)")

    def document(self, value: Any) -> None:
        """Prints the JSON document of the command, with ``--json``: dataclasses become objects, and times strings."""
        if self._as_json and not Screen.has_printed_document:
            # a character that stdout's encoding lacks would be written as \\x.., which JSON does not have
            is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
            text = json.dumps(value, indent=2, ensure_ascii=not is_utf8, allow_nan=False, default=_jsonable)
            Screen.has_printed_document = True
            sys.stdout.write(text + "\n")


def _jsonable(value: Any) -> Any:
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - keeps --help fast

    return to_jsonable_python(value, fallback=TlcliError.document)


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """The text with its control characters escaped: the name of a class or file could move the cursor, or change the
    title of the window."""
    return text.translate(_CONTROLS)


def print_error(message: str, hint: str = "", code: str = "") -> None:
    """Prints an error on stderr with its code, and what to do next in a line of its own."""
    console = _console(stderr=True)
    name = f"Error [{code}]:" if code else "Error:"
    console.print(f"[bold red]{escape(name)}[/] {escape(printable(message))}", soft_wrap=True)
    if hint:
        console.print(f"[bold]Hint:[/] {escape(printable(hint))}", soft_wrap=True)


def write_out(text: str) -> None:
    """Writes text for other programs to stdout, as it is."""
    sys.stdout.write(text)


def reuse(features: "Extraction") -> str:
    """How many features were computed, and how many came from the store."""
    return f"Features: {features.computed:,} computed, {features.reused:,} reused"


LONGEST_NAME, _LONGEST_HEADING = 60, 24
"""Characters of a class name in the first column of a table, and above other columns."""


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def counts_table(counts: Mapping[Any, Mapping[str, int]]) -> Table:
    """Number of images of each class and split, with sums."""
    table, labels = plain_table("class", *counts, "all", title="Images"), list(next(iter(counts.values())))
    for label, name in zip(labels, _names(labels), strict=True):
        numbers = [by_label[label] for by_label in counts.values()]
        table.add_row(name, *(f"{n:,}" for n in numbers), f"{sum(numbers):,}")
    sums = [sum(by_label.values()) for by_label in counts.values()]
    table.add_section()
    table.add_row("all", *(f"{n:,}" for n in sums), f"{sum(sums):,}")
    return table


def metrics_table(metrics: "Mapping[Any, Metrics]") -> Table:
    """Metrics in rows, splits in columns."""
    from tlcli.evaluation.metrics import SCORES  # noqa: PLC0415 - NumPy

    table, splits = plain_table("", *metrics, title="Metrics"), metrics.values()
    table.add_row("images", *(f"{m.n:,}" for m in splits))
    table.add_row("accuracy", *(f"{m.accuracy:.4f}" for m in splits))
    table.add_row("95 % interval", *("{:.4f} - {:.4f}".format(*m.accuracy_ci95) for m in splits))
    for score in SCORES:
        values = [m.scores[score.name] for m in splits]
        table.add_row(score.title, *map(_number, values))
    return table


def _number(value: float | None) -> str:
    """With four decimals; "-" for what is undefined."""
    return "-" if value is None else f"{value:.4f}"


def _names(labels: Sequence[str], longest: int = LONGEST_NAME) -> list[str]:
    """The names of all classes for cells, safe from markup."""
    from tlcli.reports.names import distinct_names  # noqa: PLC0415 - keeps --help fast

    return [escape(name) for name in distinct_names(labels, longest)]


def per_class_table(per_class: "Mapping[str, ClassMetrics]", of: str = "test images") -> Table:
    """Classes in rows, metrics in columns."""
    table = plain_table("class", "precision", "recall", "F1", "support", title=f"Per-class metrics, {of}")
    for name, m in zip(_names(list(per_class)), per_class.values(), strict=True):
        table.add_row(name, *(_number(value) for value in (m.precision, m.recall, m.f1)), f"{m.support:,}")
    return table


def confusion_table(matrix: Sequence[Sequence[int]], labels: Sequence[str], of: str = "test images") -> Table:
    """True classes in rows, predicted classes in columns."""
    names = _names(labels)
    table = plain_table("true \\ predicted", *_names(labels, _LONGEST_HEADING), title=f"Confusion matrix, {of}")
    for name, row in zip(names, matrix, strict=True):
        table.add_row(name, *(f"{n:,}" for n in row))
    return table
