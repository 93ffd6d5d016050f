"""From what inspect found to its page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from tlcli.config.load import Loaded
from tlcli.datasets.index import LabelledImage
from tlcli.images.augmentation import augment
from tlcli.images.decode import BadImageError, prepare, read
from tlcli.reports import charts
from tlcli.reports import inspect_text as words
from tlcli.reports.page import InspectPage, Pair, Thumbnail, percent, write_page
from tlcli.reports.svg import svg
from tlcli.reports.thumbnails import data_address, thumbnail
from tlcli.system.prefetch import ahead
from tlcli.workflows.inspection import Copies, Inspection, Outlier, Suspect

_SIDE = 112
_SAMPLES, _CLASSES, _PAIRS, _WITHIN, _SUSPECTS, _OUTLIERS, _AUGMENTED = 6, 40, 36, 24, 48, 24, 4
"""Of each kind, as many are shown at most; --json has all."""


def write_inspect_page(path: Path, loaded: Loaded, found: Inspection, commands: Sequence[str]) -> None:
    """Writes the page.

    Args:
        path: of the file.
        loaded: the config.
        found: what inspect found.
        commands: what to run next.
    """
    within = [one for one in found.copies if not one.is_leak]
    page = InspectPage(
        name=loaded.name,
        summary=words.inspected(
            len(found.index.images), len(found.index.labels), len(found.leaks), len(found.issues), len(within)
        ),
        facts=_facts(found),
        counts=found.index.counts(),
        samples=_samples(found),
        views=_views(found),
        unreadable=found.unreadable,
        odd={name: "; ".join(what) for name, what in found.odd.items()},
        copies=_pairs(found, within[:_WITHIN]),
        leaks=_pairs(found, found.leaks[:_PAIRS]),
        suspects=_suspects(found, found.issues[:_SUSPECTS]),
        outliers=_outliers(found, found.outliers[:_OUTLIERS]),
        words=_words(found),
        charts=_charts(found),
        commands=commands,
    )
    write_page(path, "inspect.html.j2", page)


def _facts(found: Inspection) -> list[tuple[str, str, str]]:
    known = sum(one.split != "test" for one in found.index.images)
    leaks = Counter(one.kind for one in found.leaks)
    return [
        ("images", f"{len(found.index.images):,}", f"{len(found.index.labels):,} classes"),
        ("not to be read", f"{len(found.unreadable):,}", f"{len(found.odd):,} odd ones"),
        ("leaks", f"{len(found.leaks):,}", f"{leaks['exact']} exact, {leaks['near']} near"),
        ("suspicious labels", f"{len(found.issues):,}", f"{percent(len(found.issues) / known)} of {known:,}"),
        ("outliers", f"{len(found.outliers):,}", f"of {known:,}"),
    ]


def _thumbnails(found: Inspection, images: Sequence[LabelledImage], notes: Sequence[str]) -> list[Thumbnail]:
    preparation = found.frozen.decoder.preparation
    small = ahead(lambda one: thumbnail(one.path, preparation, _SIDE), images)
    return [
        Thumbnail(one.name, future.result(), one.label, note)
        for (one, future), note in zip(small, notes, strict=True)
    ]  # fmt: skip


def _samples(found: Inspection) -> dict[str, list[Thumbnail]]:
    shown: dict[str, list[Thumbnail]] = {}
    for label in found.index.labels[:_CLASSES]:
        of_class = [one for one in found.index.of("train") if one.label == label]
        count = min(_SAMPLES, len(of_class))
        chosen = [of_class[len(of_class) * number // count] for number in range(count)]
        shown[label] = [Thumbnail(t.name, t.address) for t in _thumbnails(found, chosen, [""] * count)]
    return shown


def _views(found: Inspection) -> list[list[Thumbnail]]:
    """Some training images, each before its augmented views."""
    frozen, training = found.frozen, found.index.of("train")
    if len(frozen.views) < 2:
        return []
    rows = []
    for number in range(min(_AUGMENTED, len(training))):
        one = training[len(training) * number // _AUGMENTED]
        try:
            plain = prepare(read(one.path, frozen.decoder.preparation), frozen.decoder.preparation)
        except BadImageError:  # it went away since it was looked at
            continue
        made = [augment(plain, view, one.sha256, frozen.decoder.augmentation) for view in frozen.views[:6]]
        small = [data_address(Image.fromarray(pixels).resize((_SIDE, _SIDE))) for pixels in made]
        names = [one.name, *(f"view {number}" for number in range(1, len(small)))]
        rows.append([Thumbnail(name, address) for name, address in zip(names, small, strict=True)])
    return rows


def _pairs(found: Inspection, copies: Sequence[Copies]) -> list[Pair]:
    images = [one for pair in copies for one in (pair.first, pair.second)]
    ready = _thumbnails(found, images, [one.split for one in images])
    return [Pair(a, b, pair.kind) for a, b, pair in zip(ready[::2], ready[1::2], copies, strict=True)]


def _suspects(found: Inspection, suspects: Sequence[Suspect]) -> list[Thumbnail]:
    notes = [f"{one.likelier}? believed {percent(one.believed, 0)}" for one in suspects]
    return _thumbnails(found, [one.image for one in suspects], notes)


def _outliers(found: Inspection, outliers: Sequence[Outlier]) -> list[Thumbnail]:
    return _thumbnails(
        found, [one.image for one in outliers], [f"distance {one.distance:.2f}" for one in outliers]
    )  # fmt: skip


def _words(found: Inspection) -> Mapping[str, str]:
    counts = found.index.counts()
    within = [one for one in found.copies if not one.is_leak]
    return {
        "leaks": words.found_leaks(found.leaks_between, _PAIRS),
        "suspects": words.found_suspects(len(found.issues), _SUSPECTS),
        "copies": words.found_copies(len(within), _WITHIN),
        "outliers": words.found_outliers(len(found.outliers), _OUTLIERS),
        "classes": words.found_classes(counts["train"]),
        "next": words.after_inspect(),
    }


def _charts(found: Inspection) -> dict[str, Markup]:
    facts = list(found.facts.values())
    formats = dict(Counter(one.format for one in facts).most_common())
    drawn = {
        "formats": (charts.counts(formats, "images"), "Images of each format"),
        "sizes": (
            charts.histogram([max(one.width, one.height) for one in facts], 30, "pixels of the longer side"),
            "Sizes of the images",
        ),
        "brightness": (
            charts.histogram([one.brightness for one in facts], 32, "mean level"), "Brightness of the images",
        ),
    }  # fmt: skip
    return {name: svg(figure, name, title) for name, (figure, title) in drawn.items()}
