"""Rules that give classes: conditions on the text that a table or the name of an image has for it."""

import operator
from collections.abc import Callable, Mapping, Sequence

from tlcli.errors import DataError

_LIMITS = {"below": operator.lt, "at_most": operator.le, "above": operator.gt, "at_least": operator.ge}


def matches(cell: str, values: Sequence[str] | None = None, **limits: float | None) -> bool:
    """Whether a cell is one of ``values`` and a number within all limits, each as far as it is given.

    Args:
        cell: of the label column.
        values: allowed texts.
        limits: any of ``below``, ``at_most``, ``above`` and ``at_least``.

    Raises:
        ValueError: a limit is given and the cell is not a number.
    """
    if values is not None and cell not in values:
        return False
    return all(_LIMITS[name](float(cell), limit) for name, limit in limits.items() if limit is not None)


def class_of(cell: str, rules: Mapping[str, Callable[[str], bool]], where: str) -> str | None:
    """The class that a cell belongs to; None if it belongs to none.

    Args:
        cell: the text.
        rules: for each class whether a cell belongs to it; empty: the text is the class.
        where: the place of the cell, for errors.

    Raises:
        DataError: the cell is not a number and a rule requires one, or it belongs to several classes.
    """
    if not rules:
        return cell or None
    try:
        matching = [name for name, is_member in rules.items() if is_member(cell)]
    except ValueError:
        raise DataError(
            "data.not_a_number",
            f"{where}: '{cell}' is not a number, and the rules of dataset.labels.classes require one.",
        ) from None
    if len(matching) > 1:
        raise DataError(
            "data.ambiguous_label",
            f"{where}: '{cell}' matches several of dataset.labels.classes: {', '.join(matching)}.",
            "Change the rules so that each cell matches one of them at most.",
        )
    return matching[0] if matching else None
