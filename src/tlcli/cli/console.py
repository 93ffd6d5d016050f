"""The only module that prints: results on stdout, progress, notes and errors on stderr."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len
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


class _Notes(Progress):
    """Prints notes on stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, message: str) -> None:
        self._console.print(f"[dim]{escape(printable(message))}[/]", soft_wrap=True)


class _Bars(_Notes):
    """On a terminal: a bar for each open stage."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        title = TextColumn("{task.description}", markup=False)
        self._bars = Bars(title, BarColumn(), _Amount(), TimeRemainingColumn(), console=console, transient=True)
        self._open: list[TaskID] = []

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
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


@dataclass
class _Stage:
    """An open stage."""

    title: str
    total: int | None
    unit: str
    started: float
    done: int = 0

    def line(self, now: float) -> str:
        """How much is done, how fast, and how long it will take."""
        seconds = max(now - self.started, 0.001)
        facts = [f"{seconds:,.0f} s"]
        if self.done:
            of = f" of {self._amount(self.total)}" if self.total else ""
            rate = self.done / seconds
            speed = decimal(int(rate)) if self.unit == "bytes" else f"{rate:,.1f}"
            facts = [f"{self._amount(self.done)}{of} {'' if self.unit == 'bytes' else self.unit}".rstrip(), *facts]
            facts.append(f"{speed}/s")
            if self.total:
                facts.append(f"about {max(self.total - self.done, 0) / rate:,.0f} s left")
        return f"{self.title}: {', '.join(facts)}"

    def _amount(self, count: int) -> str:
        return decimal(count) if self.unit == "bytes" else f"{count:,}"


class Lines(_Notes):
    """Without a terminal, as in CI and nohup: a line on the innermost open stage every 30 seconds.

    A thread prints it, as there are long stages without steps; it ends with the outermost stage.
    """

    def __init__(self, console: Console, every_seconds: float = 30) -> None:
        super().__init__(console)
        self._every, self._due = every_seconds, 0.0
        self._open: list[_Stage] = []

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
        """Opens a stage; the outermost starts the thread."""
        ended = None if self._open else Event()
        self._due = self._due or monotonic() + self._every  # many short stages count as one
        self._open.append(_Stage(title, total, unit, monotonic()))
        if ended is not None:
            Thread(target=self._report, args=(ended,), daemon=True).start()
        try:
            yield
        finally:
            self._open.pop()
            if ended is not None:
                ended.set()

    def advance(self, steps: int = 1) -> None:
        """Counts steps of the innermost stage."""
        if self._open:
            self._open[-1].done += steps

    def _report(self, ended: Event) -> None:
        while not ended.wait(max(0.0, self._due - monotonic())):
            self._due = monotonic() + self._every
            with suppress(IndexError, OSError, ValueError):  # the stage ended meanwhile; stderr is closed
                self._console.print(printable(self._open[-1].line(monotonic())), markup=False, soft_wrap=True)


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
        self.progress = Progress() if quiet else _Bars(self.errors) if self.errors.is_terminal else Lines(self.errors)

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

    def fits(self, table: Table) -> bool:
        """Whether a table is not wider than 80 columns, or than a wider screen."""
        needed = self._out.measure(table, options=self._out.options.update(width=10_000)).maximum
        return needed <= max(WIDTH, self._out.width)

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
"""Characters of a class name in a line, and above a column."""
WIDTH, _SHORTEST_NAME = 80, 12
"""Columns that tables fit, for which long class names are shortened; characters that are left of these at least."""
_MANY_CLASSES, _SHOWN_CLASSES = 30, 20
"""Classes up to which tables have all, and how many they have of more."""


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def counts_table(counts: Mapping[Any, Mapping[str, int]]) -> Table:
    """Number of images of each class and split, with sums; of many classes, those with the fewest training images."""
    labels = list(next(iter(counts.values())))
    training = next(iter(counts.values()))
    shown = _shown(labels, lambda label: training[label])
    title = "Images" if len(shown) == len(labels) else f"Images of the {len(shown)} smallest of {len(labels):,} classes"
    rows = [[*(of[label] for of in counts.values()), sum(of[label] for of in counts.values())] for label in shown]
    sums = [sum(of.values()) for of in counts.values()]
    cells = [[f"{n:,}" for n in row] for row in (*rows, [*sums, sum(sums)])]
    table = plain_table("class", *counts, "all", title=title)
    names = _names(labels, _room([[*map(str, counts), "all"], *cells]))
    for label, row in zip(shown, cells, strict=False):
        table.add_row(names[labels.index(label)], *row)
    table.add_section()
    table.add_row("all" if len(shown) == len(labels) else "all classes", *cells[-1])
    return table


def _shown(labels: Sequence[str], key: Callable[[str], Any]) -> list[str]:
    """All classes; of many, those with the smallest keys, in this order."""
    return list(labels) if len(labels) <= _MANY_CLASSES else sorted(labels, key=key)[:_SHOWN_CLASSES]


def _room(rows: Sequence[Sequence[str]], named_columns: int = 1) -> int:
    """Characters for the names in the first columns of a table, beside these cells with their headings."""
    cells = sum(max(map(cell_len, column)) + 3 for column in zip(*rows, strict=True))
    return max(_SHORTEST_NAME, (WIDTH - cells - 3 * (named_columns - 1)) // named_columns)


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
    """The names of all classes for cells, safe from markup; letters of two columns count twice."""
    from tlcli.reports.names import distinct_names  # noqa: PLC0415 - keeps --help fast

    names = distinct_names(labels, longest)
    if max(map(cell_len, names), default=0) > longest:
        names = distinct_names(labels, longest // 2)
    return [escape(name) for name in names]


def per_class_table(per_class: "Mapping[str, ClassMetrics]", of: str = "test images") -> Table:
    """Classes in rows, metrics in columns; of many classes, those with the lowest F1."""

    def rank(label: str) -> float:
        found = per_class[label].f1
        return 2.0 if found is None else found  # what was never measured is named elsewhere

    labels, title = list(per_class), f"Per-class metrics, {of}"
    shown = _shown(labels, rank)
    if len(shown) < len(labels):
        title += f": the {len(shown)} lowest F1 of {len(labels):,} classes (all: metrics.json)"
    cells = [
        [*(_number(value) for value in (m.precision, m.recall, m.f1)), f"{m.support:,}"]
        for m in (per_class[label] for label in shown)
    ]
    headings = ("precision", "recall", "F1", "support")
    table, names = plain_table("class", *headings, title=title), _names(labels, _room([headings, *cells]))
    for label, row in zip(shown, cells, strict=True):
        table.add_row(names[labels.index(label)], *row)
    return table


def confusion_table(matrix: Sequence[Sequence[int]], labels: Sequence[str], of: str = "test images") -> Table:
    """True classes in rows, predicted classes in columns."""
    names = _names(labels)
    table = plain_table("true \\ predicted", *_names(labels, _LONGEST_HEADING), title=f"Confusion matrix, {of}")
    for name, row in zip(names, matrix, strict=True):
        table.add_row(name, *(f"{n:,}" for n in row))
    return table


def confusions_table(
    matrix: Sequence[Sequence[int]], labels: Sequence[str], of: str = "test images", most: int = 10
) -> Table:
    """The largest confusions in place of a matrix that is too wide: true and predicted class, images, share of the true
    class."""
    found = sorted(
        ((count, i, j) for i, row in enumerate(matrix) for j, count in enumerate(row) if count and i != j),
        key=lambda one: (-one[0], *one[1:]),
    )
    cells = [[f"{count:,}", f"{count / sum(matrix[i]):.1%}"] for count, i, _ in found[:most]]
    headings = ("images", "of the class")
    names = _names(labels, _room([headings, *cells], named_columns=2))
    title = f"Largest confusions, {of}: {min(most, len(found))} of {len(found):,} (all: metrics.json)"
    table = plain_table("true", "predicted", *headings, title=title)
    table.columns[1].justify = "left"
    for (_, i, j), row in zip(found, cells, strict=False):
        table.add_row(names[i], names[j], *row)
    return table
