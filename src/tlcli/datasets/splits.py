"""Stable, stratified splits by content: what is set aside depends on the images' bytes, not on names or order."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from tlcli.errors import DataError


def set_aside(units: Sequence[str], labels: Sequence[str], share: float, salt: str) -> list[bool]:
    """Chooses about ``share`` of the images of each class, never dividing a unit.

    Args:
        units: for each image what must stay together: its sha256 (so that copies do), or its group.
        labels: for each image its class.
        share: between 0 and 1.
        salt: the seed and the name of the split; another salt gives another choice.

    Returns:
        For each image whether it is set aside. Per class the count is ``share`` rounded, at least 1, as closely as
        whole units allow.

    Raises:
        DataError: a class has too few units to give one and keep one.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        members[unit].append(index)
    strata: dict[str, list[str]] = defaultdict(list)  # each unit belongs to the class most of its images have
    for unit, indices in members.items():
        names = [labels[i] for i in indices]
        strata[max(sorted(set(names)), key=names.count)].append(unit)
    chosen = [False] * len(units)
    for label, unit_names in strata.items():
        if len(unit_names) < 2:
            raise DataError(
                f"Class '{label}' has {len(unit_names)} different image or group left, and 2 is the least: a class "
                "needs one for each split that is cut, and one to train on (3 with validation and test). Add images, "
                "leave the class out with dataset.classes, or set the share in dataset.split to 0."
            )
        total = sum(len(members[unit]) for unit in unit_names)
        wanted = round(share * total)
        unit_names.sort(key=lambda unit: hashlib.sha256(f"{salt}:{unit}".encode()).digest())
        taken: list[str] = []
        for unit in unit_names:
            count = len(members[unit])
            nearer_with_it = count / 2 <= wanted
            if nearer_with_it and len(taken) < len(unit_names) - 1:  # one always stays
                taken.append(unit)
                wanted -= count
        for unit in taken or [min(unit_names, key=lambda unit: len(members[unit]))]:
            for index in members[unit]:
                chosen[index] = True
    return chosen
