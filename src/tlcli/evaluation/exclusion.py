"""From the findings of inspect to a list of images to leave out."""

from collections.abc import Iterator

from tlcli.datasets.exclusion import Excluded
from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.inspection import Inspection


def to_exclude(found: Inspection) -> list[Excluded]:
    """The images to leave out, each once; those that people should decide on are inactive (comments in the list).

    Left out are unreadable files, further exact duplicates within a split, images whose duplicate is in a split that
    is measured on, and training images with label issues. Label issues of validation images are inactive: a classifier
    that chooses the images it is measured on flatters itself. So are near duplicates within a split, and outliers.
    """
    chosen: dict[str, Excluded] = {}
    for one in (*_unreadable(found), *_duplicates(found), *_label_issues(found), *_outliers(found)):
        if one.name not in chosen or (one.active and not chosen[one.name].active):
            chosen[one.name] = one
    return list(chosen.values())


def _unreadable(found: Inspection) -> Iterator[Excluded]:
    for name, reason in found.unreadable.items():
        yield Excluded(name, f"unreadable: {reason}")


def _duplicates(found: Inspection) -> Iterator[Excluded]:
    for one in found.duplicates:
        kind = "exact duplicate" if one.kind == "exact" else f"near duplicate (similarity {one.similarity:.2f})"
        where = f"{one.first.split} split" if one.is_leak else f"same split, {one.first.split}"
        reason = f"{kind} of {one.first.name} ({where})"
        yield Excluded(one.second.name, reason, active=one.is_leak or one.kind == "exact")


def _label_issues(found: Inspection) -> Iterator[Excluded]:
    for one in found.label_issues:
        reason = f"{_is(one.image)}, probably {one.suggested} (probability of its label {one.label_probability:.2f})"
        yield Excluded(one.image.name, reason, active=one.image.split == "train")


def _outliers(found: Inspection) -> Iterator[Excluded]:
    for one in found.outliers:
        yield Excluded(one.image.name, f"{_is(one.image)}, outlier (distance {one.distance:.2f})", active=False)


def _is(image: LabelledImage) -> str:
    return f"{image.split} image labelled {image.label}"
