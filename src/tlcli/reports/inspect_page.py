"""The page of inspect: what it found -> inspect.html."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from tlcli.datasets.corrections import COLUMNS, Correction, escaped
from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.inspection import Duplicate, Inspection, LabelIssue
from tlcli.evaluation.outliers import Outlier
from tlcli.images.augmentation import Augmentation
from tlcli.images.preparation import Preparation
from tlcli.reports import data_charts
from tlcli.reports.figures import svg
from tlcli.reports.inspect_text import DUPLICATES, LABEL_ISSUES, LEAKS, OUTLIERS, InspectText
from tlcli.reports.page import Fact, Pair, paired, percent, write_page
from tlcli.reports.thumbnails import SMALL, Thumbnail, data_address, decoded_views, evenly, fitted, thumbnails

_SAMPLES, _CLASSES, _AUGMENTED, _VIEWS = 6, 40, 4, 6
"""Images shown of each class, classes, augmented images, and views of each of those, the original included."""


def write_inspect_page(
    path: Path, name: str, found: Inspection, commands: Sequence[str], preparation: Preparation,
    augmentation: Augmentation, views: Sequence[str], is_weighted: bool = False, doubted: Sequence[Correction] = (),
) -> None:  # fmt: skip
    """Writes the page.

    Args:
        path: of the file.
        name: of the data set.
        found: what inspect found.
        commands: what to run next.
        preparation: how the backbone sees an image.
        augmentation: what augmented views are made with.
        views: names of a training image's views, the plain one first.
        is_weighted: ``head.class_weight`` is set.
        doubted: a row for each label issue, with the decision that was made before.
    """
    leaks, within = found.leaks[:LEAKS], found.within_splits[:DUPLICATES]
    issues = [] if found.is_blind else found.label_issues[:LABEL_ISSUES]
    farthest = found.farthest[:OUTLIERS]
    write_page(
        path,
        "inspect.html.j2",
        name=name,
        found=found,
        text=InspectText(found, is_weighted),
        facts=_facts(found),
        charts=_charts(found),
        leaks=_pairs(leaks, preparation),
        duplicates=_pairs(within, preparation),
        label_issues=_cards(issues, preparation),
        doubted=[list(vars(one).values())[:5] for one in doubted],
        columns=COLUMNS,
        decisions_of=escaped(str(found.index.root.absolute())),
        farthest=_farthest(farthest, preparation),
        several_labels=[
            thumbnails(group, preparation, [one.split for one in group]) for group in found.several_labels[:DUPLICATES]
        ],
        samples=_samples(found, preparation),
        views=_views(found.index.of("train"), views, preparation, augmentation),
        commands=commands,
    )


def _facts(found: Inspection) -> list[Fact]:
    labelled = sum(one.split != "test" for one in found.index.images)
    leaks = Counter(one.kind for one in found.leaks)
    share = percent(len(found.label_issues) / labelled)
    return [
        Fact("Images", f"{len(found.index.images):,}", f"{len(found.index.labels):,} classes"),
        Fact("Unreadable files", f"{len(found.unreadable):,}", f"{len(found.unusual):,} unusual"),
        Fact("Leaks", f"{len(found.leaks):,}", f"{leaks['exact']:,} exact, {leaks['near']:,} near"),
        Fact("Doubted labels", f"{len(found.label_issues):,}", f"{share} of {labelled:,}"),
        Fact("Outliers", f"{len(found.outliers):,}", f"of {labelled:,}"),
    ]


@dataclass(frozen=True)
class DoubtedLabel:
    """A doubted label as the page shows it."""

    issue: LabelIssue
    image: Thumbnail
    neighbours: list[Thumbnail]


def _cards(issues: Sequence[LabelIssue], preparation: Preparation) -> list[DoubtedLabel]:
    images = [image for one in issues for image in (one.image, *one.neighbours)]
    ready = iter(thumbnails(images, preparation))
    return [DoubtedLabel(one, next(ready), [next(ready) for _ in one.neighbours]) for one in issues]


def _pairs(duplicates: Sequence[Duplicate], preparation: Preparation) -> list[Pair]:
    images = [image for one in duplicates for image in (one.first, one.second)]
    ready = thumbnails(images, preparation, [image.split for image in images])
    return paired(ready, [one.kind for one in duplicates])


def _farthest(farthest: Sequence[Outlier], preparation: Preparation) -> list[list[Thumbnail]]:
    """Each image, before the nearest images of its class."""
    rows = []
    for one in farthest:
        kind = "outlier" if one.is_outlier else "within the limit"
        judged = f"{kind}: distance {one.distance:.2f}, {one.score:.2f} times the limit"
        notes = [judged, *("nearest of its class",) * 3]
        images = [one.image, *one.neighbours]
        rows.append(thumbnails(images, preparation, notes[: len(images)]))
    return rows


def _samples(found: Inspection, preparation: Preparation) -> dict[str, list[Thumbnail]]:
    training = found.index.of("train")
    shown: dict[str, list[Thumbnail]] = {}
    for label in found.index.labels[:_CLASSES]:
        chosen = evenly([one for one in training if one.label == label], _SAMPLES)
        shown[label] = [replace(one, label="") for one in thumbnails(chosen, preparation)]  # the heading says it
    return shown


def _views(
    training: Sequence[LabelledImage], views: Sequence[str], preparation: Preparation, augmentation: Augmentation
) -> list[list[Thumbnail]]:
    """Some training images, each before its augmented views."""
    rows = []
    for one in evenly(training, _AUGMENTED) if len(views) > 1 else ():
        made = decoded_views(one, views[:_VIEWS], preparation.untiled, augmentation)
        small = [data_address(fitted(Image.fromarray(pixels), SMALL)) for pixels in made]
        names = (f"view {number}" if number else one.name for number in count())
        rows.append([Thumbnail(name, address) for name, address in zip(names, small, strict=False)])
    return [row for row in rows if row]


def _charts(found: Inspection) -> dict[str, Markup]:
    statistics = list(found.statistics.values())
    formats = dict(Counter(one.format for one in statistics).most_common())
    sides = [max(one.width, one.height) for one in statistics]
    drawn = {
        "formats": (data_charts.counts(formats, "images"), "Images of each format"),
        "sizes": (data_charts.histogram(sides, 30, "longer side in pixels"), "Sizes of the images"),
        "brightness": (
            data_charts.histogram([one.brightness for one in statistics], 32, "mean level"), "Brightness of the images",
        ),
    }  # fmt: skip
    return {name: svg(figure, name, title) for name, (figure, title) in drawn.items()}
