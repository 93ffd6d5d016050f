"""From what inspect found to a list of images to leave out."""

from collections.abc import Iterator

from tlcli.datasets.exclusion import Excluded
from tlcli.datasets.index import LabelledImage
from tlcli.workflows.inspection import Inspection


def to_exclude(found: Inspection) -> list[Excluded]:
    """What is better left out, each image once; beside it, as comments, what people should decide.

    Left out are unreadable files, further exact copies within a split, images whose copy lies in a split that is
    measured on, and training images with wrong labels. Wrong labels of validation images are comments: a classifier
    that picks what it is measured on flatters itself. So are near copies within a split, and outliers.
    """
    chosen: dict[str, Excluded] = {}
    for one in (*_files(found), *_copies(found), *_suspects(found), *_outliers(found)):
        if one.name not in chosen or (one.active and not chosen[one.name].active):
            chosen[one.name] = one
    return list(chosen.values())


def _files(found: Inspection) -> Iterator[Excluded]:
    for name, reason in found.unreadable.items():
        yield Excluded(name, f"cannot be read: {reason}")


def _copies(found: Inspection) -> Iterator[Excluded]:
    for one in found.copies:
        kind = "the same bytes as" if one.kind == "exact" else f"near copy ({one.likeness:.2f}) of"
        where = one.first.split if one.is_leak else f"same split, {one.first.split}"
        reason = f"{kind} {one.first.name} ({where})"
        yield Excluded(one.second.name, reason, active=one.is_leak or one.kind == "exact")


def _suspects(found: Inspection) -> Iterator[Excluded]:
    for one in found.issues:
        reason = f"{_is(one.image)}, and {one.likelier} is likelier (label believed with {one.believed:.2f})"
        yield Excluded(one.image.name, reason, active=one.image.split == "train")


def _outliers(found: Inspection) -> Iterator[Excluded]:
    for one in found.outliers:
        yield Excluded(one.image.name, f"{_is(one.image)}, far from all others ({one.distance:.2f})", active=False)


def _is(image: LabelledImage) -> str:
    return f"{image.split} image labelled {image.label}"
