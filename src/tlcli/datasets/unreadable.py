"""What happens to unreadable images: they are left out and reported, or the command fails."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from tlcli.datasets.index import Index, LabelledImage, no_usable_images, without
from tlcli.errors import DataError, ResourceError
from tlcli.system.files import check_disk
from tlcli.system.remote.path import RemotePath

_LISTED = 10
"""Reasons at most."""
_NAMED = 3
"""Images of one reason at most."""


def may_leave_out(bad: int, count: int, on_bad_image: Literal["skip", "fail"], max_bad_fraction: float) -> bool:
    """Whether so many unreadable ones of ``count`` images may be left out; see :func:`drop_unreadable`."""
    few = bad <= max_bad_fraction * count or (bad == 1 and max_bad_fraction > 0)
    return bad == 0 or (on_bad_image == "skip" and few)


def drop_unreadable(
    index: Index, bad: Mapping[str, str], on_bad_image: Literal["skip", "fail"], max_bad_fraction: float,
    examined: Sequence[LabelledImage] | None = None,
) -> Index:  # fmt: skip
    """The index without unreadable images; each is listed in ``Index.bad`` with its reason.

    Args:
        index: all images.
        bad: sha256 of the unreadable images, and the reasons.
        on_bad_image: whether they may be left out.
        max_bad_fraction: the share of unreadable images above which the command fails; above 0, one is always allowed.
        examined: the images that were read; None: all. Whether others are readable is unknown.

    Raises:
        DataError: there are unreadable images that may not be left out, there are too many, or too few images remain.
        ResourceError: the images' folder or disk disappeared.
    """
    is_gone = not isinstance(index.root, RemotePath) and not index.root.is_dir()
    if bad and is_gone:  # a network drive, for example: the images are not to blame
        raise ResourceError(
            "resource.file_disappeared",
            f"{index.root} disappeared while its images were read; what was computed is kept.",
            "Reconnect it and run the same command again.",
        )
    read_images = (*index.images, *index.set_aside)
    dropped = {**index.bad, **{one.name: bad[one.sha256] for one in read_images if one.sha256 in bad}}
    if not dropped:
        return index
    count = len(index.bad) + len(read_images)
    share = len(dropped) / count
    if may_leave_out(len(dropped), count, on_bad_image, max_bad_fraction):
        return without(index, bad)
    check_disk(dropped, count, index.root)
    read = count if examined is None else len(index.bad) + len(examined)
    if len(dropped) == read:
        name, reason = next(iter(dropped.items()))
        raise no_usable_images(index.root, read, name, reason)
    limit = "dataset.on_bad_image is fail" if on_bad_image == "fail" else f"at most {max_bad_fraction:.1%} are allowed"
    of_all = f"{share:.1%}" if read == count else f"{share:.1%} of all {count}"
    hint = "Do what the reasons say, or fix or remove the images."
    if _leaves_enough(index, bad):
        needed = min(1, math.ceil(share * 100 + 1) / 100)
        hint += f" To leave them out: --set dataset.on_bad_image=skip --set dataset.max_bad_fraction={needed:g}"
    raise DataError(
        "data.unreadable_images",
        f"{len(dropped)} of {read} images are unreadable ({of_all}), and {limit}:{_by_reason(dropped)}\n",
        hint,
    )


def _leaves_enough(index: Index, bad: Mapping[str, str]) -> bool:
    try:
        without(index, bad)
    except DataError:
        return False
    return True


def _by_reason(dropped: Mapping[str, str]) -> str:
    """One line for each reason, with its first images."""
    of_reason: dict[str, list[str]] = {}
    for name, reason in dropped.items():
        of_reason.setdefault(reason, []).append(name)
    listed = [
        f"\n  - {', '.join(names[:_NAMED])}{f' and {more} more' if (more := len(names) - _NAMED) > 0 else ''}: {reason}"
        for reason, names in list(of_reason.items())[:_LISTED]
    ]
    if (more := len(of_reason) - _LISTED) > 0:
        listed.append(f"\n  and {more} more reasons")
    return "".join(listed)
