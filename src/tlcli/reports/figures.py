"""How every chart looks, and its two forms: PNG for the run's ``figures/``, SVG inside a page.

Charts are drawn by :mod:`tlcli.reports.charts` in colours that colour-blind people can tell apart (Okabe & Ito 2008).
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tlcli.reports.fonts import families, names_in_figures
from tlcli.reports.names import cut, one_line
from tlcli.system.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# Okabe & Ito 2008, in an order that also differs in lightness.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
# In an SVG each colour is replaced by a CSS variable of the page; these three occur nowhere else in a figure.
INK, FAINT, GRID = "#1a1b1c", "#6b6c6d", "#e1e2e3"
_VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--grid",
    **{colour.lower(): f"--series-{number}" for number, colour in enumerate(COLOURS)},
}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "legend.frameon": False,
    "figure.dpi": 100,
    "svg.fonttype": "none",
}
_DPI = 160
"""Of what is saved. Figures are saved by their canvas: savefig draws each twice, the first time for its layout alone,
which drawing decides just as well."""
MAX_CLASSES = 20
"""Classes drawn in figures with one row or curve per class; the title says so where there are more."""

WIDTH = 4.6
"""Inches of a chart on a page: a phone shows it at three quarters of that, where its text is still legible."""


@contextmanager
def styled(more: Mapping[Any, Any] = {}) -> Iterator[None]:
    """Draws and saves in :data:`STYLE`, and leaves the caller's own matplotlib style alone.

    Args:
        more: matplotlib's names of further settings, and their values.
    """
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    with mpl.rc_context({**STYLE, **more}), warnings.catch_warnings():
        # Fonts without bold are drawn regular, and a character that no font has as a box; a warning for each, at every
        # drawing, helps nobody: missing_font_note says what to install.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def fonts(names: Sequence[str]) -> dict[str, list[str]]:
    """The setting for :func:`styled` whose fonts have the characters of these names."""
    return {"font.family": families("".join(names))}


def subplots(width: float, height: float, rows: int = 1) -> "tuple[Figure, NDArray[Any]]":
    """An empty figure of this many inches, and its axes, one below the other, [rows]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, 1, squeeze=False)[:, 0]


def name_rows(axis: "Axes", names: Sequence[str]) -> None:
    """One named row for each, from the top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG on white, whole or not at all."""
    with whole_file(path) as temporary, styled():
        # Compression level 3 takes half the time of 6, for files that are 5 % larger.
        figure.set(dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure).print_png(temporary, pil_kwargs={"compress_level": 3})  # type: ignore[no-untyped-call]


_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="([\d.]+)pt" height="[\d.]+pt"')


def svg(figure: Figure, name: str, title: str) -> Markup:
    """A figure as an ``<svg>`` element whose colours follow the page's scheme and whose text uses the page's font.

    Args:
        figure: what :mod:`tlcli.reports.charts` has drawn.
        name: unique within the page, since the ids inside are derived from it.
        title: what the chart shows, for screen readers.
    """
    buffer = io.StringIO()
    with styled({"svg.hashsalt": name}):
        figure.set(dpi=_DPI, facecolor="none")
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    text = _METADATA.sub("", _HEAD.sub("", buffer.getvalue()))
    text = _SIZE.sub(rf'\1 role="img" aria-label="{escape(title)}" style="width:\2pt"', text, count=1)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    # matplotlib's own ids of groups ("axes_1") would occur once per figure of the page.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return Markup(text)  # noqa: S704 - matplotlib has escaped the text in it


def shortened(text: str, length: int = 22) -> str:
    """A name made safe for a figure: cut to ``length``; ``$`` starts no formula, ``_`` hides no legend entry."""
    text = cut(one_line(text), length)
    return (f" {text}" if text.startswith("_") else text).replace("$", r"\$")


def class_names(labels: Sequence[str], length: int = 22) -> list[str]:
    """The names of all classes, safe for a figure, and none that looks like another."""
    return [shortened(name, length) for name in names_in_figures(labels, length)]


def titled(title: str, classes: int) -> str:
    """The title, which says so where not all classes are drawn."""
    return title if classes <= MAX_CLASSES else f"{title}: the first {MAX_CLASSES} of {classes} classes"
