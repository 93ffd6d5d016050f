"""matplotlib figures as SVG that lies inside a page: its colours follow the page's scheme, its words are the page's."""

import io
import re
import warnings
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from tlcli.reports.figures import COLOURS, STYLE

# What a figure is drawn in, and the page's variable that takes its place.
INK, FAINT, GRID = "#1a1b1c", "#6b6c6d", "#e1e2e3"
_VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--grid",
    **{colour.lower(): f"--series-{number}" for number, colour in enumerate(COLOURS)},
}
PAGE_STYLE: dict[Any, Any] = {
    **STYLE,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="([\d.]+)pt" height="[\d.]+pt"')


def svg(figure: Figure, name: str, title: str) -> Markup:
    """The figure as an ``<svg>`` element.

    Args:
        figure: drawn within ``mpl.rc_context(PAGE_STYLE)``.
        name: no other figure of the page has it; the ids inside are made of it.
        title: what it shows, for those who do not see it.
    """
    buffer = io.StringIO()
    with mpl.rc_context({**PAGE_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = _METADATA.sub("", _HEAD.sub("", buffer.getvalue()))
    text = _SIZE.sub(rf'\1 role="img" aria-label="{escape(title)}" style="width:\2pt"', text, count=1)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    # matplotlib's own names for parts ("axes_1") would stand in the page once a figure.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return Markup(text)  # noqa: S704 - matplotlib has escaped the words in it
