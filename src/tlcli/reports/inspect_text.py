"""Numbers -> the sentences of inspect's page."""

from collections.abc import Mapping


def inspected(images: int, classes: int, leaks: int, issues: int, copies: int) -> str:
    """The first sentence."""
    found = [
        _count(leaks, "leak between splits", "leaks between splits"),
        _count(issues, "suspicious label", "suspicious labels"),
        _count(copies, "copy within a split", "copies within a split"),
    ]
    return f"{images:,} images of {classes:,} classes: {', '.join(found[:2])} and {found[2]}."


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}" if count else f"no {one}"


def _shown(count: int, most: int) -> str:
    return f" The first {most} are shown." if count > most else ""


def found_leaks(between: Mapping[str, int], most: int) -> str:
    """Copies across splits, counted by these."""
    count = sum(between.values())
    if not count:
        return "No image of one split has a copy, or a near copy, in another."
    by_splits = ", ".join(f"{splits} {of_them:,}" for splits, of_them in between.items())
    return (
        f"{_count(count, 'pair', 'pairs')} of images that show the same lie in two splits ({by_splits}): what is "
        f"measured on an image whose like was trained on was learnt by heart.{_shown(count, most)}"
    )


def found_suspects(count: int, most: int) -> str:
    """Labels that are not believed."""
    if not count:
        return "No label of a training or validation image is suspicious. Labels of test images are not looked at."
    return (
        f"{_count(count, 'label is', 'labels are')} not believed by classifiers that had not seen the image "
        "(confident learning, Northcutt et al. 2021). Some are wrong, some are just hard: look. Labels of test "
        f"images are not looked at.{_shown(count, most)}"
    )


def found_copies(count: int, most: int) -> str:
    """Copies within a split."""
    if not count:
        return "There are none."
    return (
        f"{_count(count, 'pair', 'pairs')}. They do no harm to the measurement, but count twice.{_shown(count, most)}"
    )  # fmt: skip


def found_outliers(count: int, most: int) -> str:
    """Images far from all others."""
    if not count:
        return "No image is far from all others."
    return (
        f"{_count(count, 'image is', 'images are')} far from all others: of another kind, or the only one of its "
        f"kind.{_shown(count, most)}"
    )


def found_classes(training: Mapping[str, int]) -> str:
    """The smallest and the largest."""
    least, most = (choose(training, key=lambda name: training[name]) for choose in (min, max))
    return (
        f"The smallest class has {training[least]:,} training images ({least}), the largest {training[most]:,} "
        f"({most})." + (" Think of head.class_weight: balanced." if training[most] > 3 * training[least] else "")
    )


def after_inspect() -> str:
    """What can be done about it."""
    return (
        "Nothing was changed or deleted. --write-exclude writes the names of what is better left out, with the "
        "reasons; read it, and give it to dataset.exclude."
    )
