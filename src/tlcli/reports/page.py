"""Results -> one HTML file that needs nothing beside it: no script, no network, light and dark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import tlcli
from tlcli.datasets.layout import SplitName
from tlcli.system.files import write_text


@dataclass(frozen=True)
class Thumbnail:
    """A small image with what is said below it."""

    name: str
    address: str | None
    """As a data address; None where the file is not to be read."""
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A test image that is worth a look: what was answered, why, and what it is like."""

    image: Thumbnail
    predicted: str
    probability: float
    heat: str | None
    """What spoke for the answer, laid over the image; a data address."""
    neighbours: tuple[Thumbnail, ...]
    """The nearest training images."""

    @property
    def is_right(self) -> bool:
        """Whether the answer is the label."""
        return self.predicted == self.image.label


@dataclass(frozen=True)
class Cell:
    """One field of the confusion matrix that has images."""

    true: str
    predicted: str
    place: str
    """Its id in the page."""
    count: int
    share: float
    """Of the true class's images."""
    images: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Pair:
    """Two images that show the same, and where each lies."""

    first: Thumbnail
    second: Thumbnail
    kind: str
    """exact or near"""


_MATRIX, _CONFUSIONS = 20, 30
"""Classes up to which the whole matrix is shown, and the confusions listed where it is not."""


@dataclass(frozen=True)
class RunPage:
    """All that the page of a run shows."""

    name: str
    summary: str
    facts: Sequence[tuple[str, str, str]]
    """Title, value, small print."""
    counts: Mapping[SplitName, Mapping[str, int]]
    """Split -> class -> images."""
    skipped: Sequence[Mapping[str, str]]
    metrics: Mapping[SplitName, Mapping[str, Any]]
    """As metrics.json."""
    report: Mapping[str, Any]
    """As report.json."""
    charts: Mapping[str, Markup]
    cells: Sequence[Cell]
    errors: Sequence[Case]
    unsure: Sequence[Case]
    pairs: Sequence[Pair]
    settings: str
    """The resolved config, as YAML."""
    record: Mapping[str, Any]
    """As run.json."""
    commands: Sequence[str]
    made: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")

    @property
    def matrix(self) -> list[tuple[str, list[Cell | None]]]:
        """Rows of the confusion matrix: the true class, and a cell (or None) for each predicted one."""
        labels = self.metrics["test"]["labels"]
        cells = {(cell.true, cell.predicted): cell for cell in self.cells}
        return [(true, [cells.get((true, predicted)) for predicted in labels]) for true in labels]

    @property
    def linked(self) -> Sequence[Cell]:
        """The fields whose images can be called up."""
        return self.cells if self.is_matrix_shown else self.confusions[:_CONFUSIONS]

    @property
    def is_matrix_shown(self) -> bool:
        """Else there are too many classes, and the largest confusions are listed."""
        return len(self.metrics["test"]["labels"]) <= _MATRIX

    @property
    def confusions(self) -> list[Cell]:
        """The wrong fields of the matrix, the largest first."""
        return sorted((c for c in self.cells if c.true != c.predicted), key=lambda c: (-c.count, c.true, c.predicted))


@dataclass(frozen=True)
class InspectPage:
    """All that the page of inspect shows."""

    name: str
    summary: str
    facts: Sequence[tuple[str, str, str]]
    counts: Mapping[SplitName, Mapping[str, int]]
    samples: Mapping[str, Sequence[Thumbnail]]
    """Some training images of each class."""
    views: Sequence[Sequence[Thumbnail]]
    """Training images, each before its augmented views."""
    unreadable: Mapping[str, str]
    odd: Mapping[str, str]
    """Name -> what is odd."""
    copies: Sequence[Pair]
    """Images that show the same, within a split."""
    leaks: Sequence[Pair]
    """The same across splits."""
    suspects: Sequence[Thumbnail]
    outliers: Sequence[Thumbnail]
    words: Mapping[str, str]
    charts: Mapping[str, Markup]
    commands: Sequence[str]
    made: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def write_page(path: Path, template: str, page: object) -> None:
    """Renders a template of this package with ``page`` and writes it, whole or not at all."""
    text = _environment().get_template(template).render(page=page, version=tlcli.__version__)
    # The odd bytes of a file name that is no UTF-8 stand escaped.
    write_text(path, text.encode(errors="backslashreplace").decode())


def percent(share: float, digits: int = 1) -> str:
    """0.861 -> "86.1 %"."""
    return f"{100 * share:.{digits}f} %"


def interval(ends: Sequence[float], digits: int = 1) -> str:
    """Two shares -> "82.9 to 88.8 %"."""
    return f"{100 * ends[0]:.{digits}f} to {100 * ends[1]:.{digits}f} %"


def _unbroken(value: object) -> object:
    """Numbers stay on one line with their per cent signs; what is escaped already (configs, figures) stays as it is."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tlcli.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "thousands": lambda n: f"{n:,}",
    }
    return environment
