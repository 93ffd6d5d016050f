"""What happens to unreadable images: they are left out and reported, or the command fails."""

import math
from collections.abc import Mapping
from typing import Literal

from tlcli.datasets.index import Index, no_usable_images, without
from tlcli.errors import DataError, ResourceError
from tlcli.system.files import check_disk

_LISTED = 10


def drop_unreadable(
    index: Index, bad: Mapping[str, str], on_bad_image: Literal["skip", "fail"], max_bad_fraction: float
) -> Index:
    """The index without unreadable images; each is listed in ``Index.bad`` with its reason.

    Args:
        index: all images.
        bad: sha256 of the unreadable images, and the reasons.
        on_bad_image: whether they may be left out.
        max_bad_fraction: the share of unreadable images above which the command fails; above 0, one is always allowed.

    Raises:
        DataError: there are unreadable images that may not be left out, there are too many, or too few images remain.
        ResourceError: the images' folder or disk disappeared.
    """
    if bad and not index.root.is_dir():  # a network drive, for example: the images are not to blame
        raise ResourceError(
            "resource.file_disappeared",
            f"{index.root} disappeared while its images were read; what was computed is kept.",
            "Reconnect it and run the same command again.",
        )
    dropped = {**index.bad, **{one.name: bad[one.sha256] for one in index.images if one.sha256 in bad}}
    if not dropped:
        return index
    count = len(index.bad) + len(index.images)
    share = len(dropped) / count
    if on_bad_image == "skip" and (share <= max_bad_fraction or (len(dropped) == 1 and max_bad_fraction > 0)):
        return without(index, bad)
    check_disk(dropped, count, index.root)
    if len(dropped) == count:
        name, reason = next(iter(dropped.items()))
        raise no_usable_images(index.root, count, name, reason)
    limit = "dataset.on_bad_image is fail" if on_bad_image == "fail" else f"at most {max_bad_fraction:.1%} are allowed"
    listed = "".join(f"\n  - {name}: {reason}" for name, reason in list(dropped.items())[:_LISTED])
    more = f"\n  and {len(dropped) - _LISTED} more" if len(dropped) > _LISTED else ""
    needed = min(1, math.ceil(share * 100 + 1) / 100)
    raise DataError(
        "data.unreadable_images",
        f"{len(dropped)} of {count} images are unreadable ({share:.1%}), and {limit}:{listed}{more}\n",
        "Do what the reasons say, fix or remove them, or leave them out: --set dataset.on_bad_image=skip "
        f"--set dataset.max_bad_fraction={needed:g}",
    )
