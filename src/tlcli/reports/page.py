"""A page: one HTML file that needs nothing beside it. No network, light and dark; only inspect's has a script."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import tlcli
from tlcli.evaluation.metrics import SCORES
from tlcli.reports.thumbnails import Thumbnail
from tlcli.system.files import write_text


class Fact(NamedTuple):
    """A number at the top of a page."""

    title: str
    value: str
    note: str


@dataclass(frozen=True)
class Pair:
    """Two images that show the same; each one's note is its split."""

    first: Thumbnail
    second: Thumbnail
    kind: str
    """exact (the same bytes) or near."""


def paired(images: Sequence[Thumbnail], kinds: Sequence[str]) -> list[Pair]:
    """First, second, first, second ... -> pairs."""
    return [Pair(*both) for both in zip(images[::2], images[1::2], kinds, strict=True)]


def write_page(path: Path, template: str, **content: object) -> None:
    """Renders a template of this package with its content and writes it, whole or not at all."""
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    text = _environment().get_template(template).render(**content, version=tlcli.__version__, made=made)
    # Bytes of a file name that are not UTF-8 are written as escapes.
    write_text(path, text.encode(errors="backslashreplace").decode())


def render(template: str, **content: object) -> Markup:
    """Renders a part of a page."""
    return Markup(_environment().get_template(template).render(**content))  # noqa: S704 - escaped by the template


def percent(share: float | None, digits: int = 1) -> str:
    """0.861 -> "86.1 %"; "-" for what is undefined."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def interval(ends: Sequence[float], digits: int = 1) -> str:
    """Two shares -> "82.9 to 88.8 %"."""
    return f"{100 * ends[0]:.{digits}f} to {100 * ends[1]:.{digits}f} %"


def _unbroken(value: object) -> object:
    """Keeps a number and its per cent sign on one line; Markup (configs, figures) stays as it is."""
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
    environment.globals["scores"] = SCORES
    environment.filters |= {"percent": percent, "interval": interval, "thousands": lambda n: f"{n:,}"}
    return environment
