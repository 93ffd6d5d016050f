"""Labels in the names of images: a regular expression with named groups on the path of each image."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tlcli.datasets.label_rules import class_of
from tlcli.datasets.labelled_files import LabelledFile, LeftOut, Scan, normal_label
from tlcli.datasets.split_names import split_of_cell
from tlcli.datasets.walk import find_images, relative_name
from tlcli.errors import DataError

GROUPS = ("label", "split", "group")
"""Named groups of a pattern; ``label`` is required."""


def scan_label_pattern(
    root: Path, pattern: str, rules: Mapping[str, Callable[[str], bool]], classes: Sequence[str] | None
) -> Scan:
    """The images whose paths match a pattern.

    Args:
        root: the data folder.
        pattern: searched in each path relative to ``root``, with ``/``; its groups are those of :data:`GROUPS`.
        rules: for each class whether the text of group ``label`` belongs to it; empty: the text is the class.
        classes: use only images of these classes; None uses all.

    Raises:
        DataError: no image matches, or a split is unknown.
    """
    expression = re.compile(pattern)
    files, unmatched, without_class = [], [], []
    for path in find_images(root):
        name = relative_name(path, root)
        found = expression.search(name)
        values = found.groupdict() if found else {}
        text = values.get("label")
        if not text:
            unmatched.append(name)
            continue
        label = class_of(text, rules, name)
        if label is None or (classes is not None and normal_label(label) not in classes):
            without_class.append(name)
            continue
        cell = values.get("split")
        files.append(LabelledFile(path, label, split_of_cell(cell, name) if cell else None, values.get("group")))
    if not files:
        example = f", for example {unmatched[0]}" if unmatched else ""
        raise DataError(
            "data.label_pattern_no_match",
            f"No image in {root} has a class by dataset.labels.pattern {pattern!r}: {len(unmatched):,} do not match"
            f"{example}.",
            "Change the pattern so that its group label, as in (?P<label>cat|dog), matches the names of the images.",
        )
    reasons = [(unmatched, "images whose names do not match dataset.labels.pattern"),
               (without_class, "images of other classes")]  # fmt: skip
    left_out = tuple(LeftOut(len(names), reason, names[0]) for names, reason in reasons if names)
    what = "labels and splits" if "split" in expression.groupindex else "labels"
    return Scan(root, tuple(files), f"{what} in the names of the images", left_out)
