"""Two runs on the test images that both were evaluated on, and what their configs have apart."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from yaml import YAMLError

from tlcli.config.load import MAX_BYTES
from tlcli.config.yaml_core import Loader
from tlcli.datasets.layout import SplitName
from tlcli.errors import DataError, ModelError, UsageError
from tlcli.evaluation.compare import PairedDifference, of_units, paired_difference
from tlcli.runs import folders as runs
from tlcli.runs.predictions import Answer, looks_at_test, read_predictions
from tlcli.system.files import read_regular

Key = tuple[str, int]
"""sha256 of an image, and which of its copies."""


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    name: str
    """NAME/TIME-xxxx, or the path of a run elsewhere."""
    path: Path
    evaluated: int
    """Test images it was evaluated on."""
    alone: int
    """Of these, the ones that the other run was not evaluated on."""
    trained_by_other: int
    """Of these, in turn, the ones that the other run was trained on."""
    right: int
    """Of the images compared, those it names rightly."""


@dataclass(frozen=True)
class Parted:
    """An image that one of the two alone names rightly."""

    path: str
    sha256: str
    label: str
    by_a: str
    by_b: str


@dataclass(frozen=True)
class Compared:
    """Two runs on the same test images."""

    a: Side
    b: Side
    images: int
    """That both were evaluated on and neither was trained on."""
    left_out: int
    """That both were evaluated on, and one was trained on: copies of training images."""
    both: int
    neither: int
    only_a: tuple[Parted, ...]
    only_b: tuple[Parted, ...]
    groups: int
    """Of images that belong together; as many as images where each stands alone."""
    difference: PairedDifference
    settings: dict[str, tuple[Any, Any]]
    """Of each config key that differs: a's value and b's; None where a config lacks it."""
    same_data: bool
    """Whether images, labels and splits were the same in both trainings."""
    looks: int
    """Runs in the folder that were evaluated on b's test images."""


def compare(runs_dir: Path, run_a: Path, run_b: Path) -> Compared:
    """Compares the answers of two evaluated runs, image by image.

    Args:
        runs_dir: where runs lie; those in it that share the test images are counted.
        run_a: folder of the one.
        run_b: folder of the other.

    Raises:
        DataError: classes, labels or all images differ, so that there is nothing to compare.
        ModelError: a run is broken or was not evaluated.
        UsageError: they are the same run.
    """
    if run_a.resolve() == run_b.resolve():
        raise UsageError(f"Both are the run {run_a}; name two different ones (see: tlcli runs).")
    answers_a, answers_b = read_predictions(run_a), read_predictions(run_b)
    test_a, test_b = _test(run_a, answers_a), _test(run_b, answers_b)
    _check_classes(run_a, run_b)
    common = [key for key in test_a if key in test_b]
    _check_labels([(test_a[key], test_b[key]) for key in common])
    trained_a, trained_b = _contents(answers_a, "train"), _contents(answers_b, "train")
    fair = [(test_a[key], test_b[key]) for key in common if key[0] not in trained_a and key[0] not in trained_b]
    if not fair:
        raise DataError(
            f"Of the {len(test_a):,} and {len(test_b):,} test images of these runs {len(common):,} are the same"
            + (", and one of the runs was trained on those" if common else "")
            + "; only runs on the same data with the same dataset.split can be compared."
        )
    only_a = tuple(_parted(a, b) for a, b in fair if a.right and not b.right)
    only_b = tuple(_parted(a, b) for a, b in fair if b.right and not a.right)
    both = sum(a.right and b.right for a, b in fair)
    neither = len(fair) - both - len(only_a) - len(only_b)
    gained = np.array([int(b.right) - int(a.right) for a, b in fair])
    groups = np.unique([b.group for _, b in fair], return_inverse=True)[1]
    plain = paired_difference(both, len(only_a), len(only_b), neither)

    def side(run: Path, own: dict[Key, Answer], other: dict[Key, Answer], trained: set[str], right: int) -> Side:
        alone = [key for key in own if key not in other]
        seen = sum(sha256 in trained for sha256, _ in alone)
        return Side(runs.run_name(runs_dir, run), run, len(own), len(alone), seen, right)

    return Compared(
        a=side(run_a, test_a, test_b, trained_b, both + len(only_a)),
        b=side(run_b, test_b, test_a, trained_a, both + len(only_b)),
        images=len(fair),
        left_out=len(common) - len(fair),
        both=both,
        neither=neither,
        only_a=only_a,
        only_b=only_b,
        groups=int(groups.max()) + 1,
        difference=of_units(plain, gained, groups),
        settings=_settings(run_a, run_b),
        same_data=_digest(run_a) == _digest(run_b),
        looks=looks_at_test(runs_dir, run_b),
    )


def _test(run: Path, answers: dict[SplitName, list[Answer]]) -> dict[Key, Answer]:
    """Each test image, by what it holds: a renamed file stays the same image, and copies stay apart."""
    if "test" not in answers:
        raise ModelError(f"{run} has not been evaluated on its test images; run: tlcli evaluate --run {run}")
    copies: Counter[str] = Counter()
    found: dict[Key, Answer] = {}
    for answer in sorted(answers["test"], key=lambda answer: answer.path):
        found[answer.sha256, copies[answer.sha256]] = answer
        copies[answer.sha256] += 1
    return found


def _contents(answers: dict[SplitName, list[Answer]], split: SplitName) -> set[str]:
    return {answer.sha256 for answer in answers.get(split, [])}


def _check_classes(run_a: Path, run_b: Path) -> None:
    a, b = (_classes(run) for run in (run_a, run_b))
    if set(a) != set(b):
        raise DataError(
            f"The runs tell other classes apart ({', '.join(a)}; {', '.join(b)}), so that being right is not the same "
            "in both; compare runs with the same classes."
        )


def _classes(run: Path) -> list[str]:
    try:
        return list(runs.read_json(run / "metrics.json")["test"]["labels"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{run / 'metrics.json'} names no classes; run: tlcli evaluate --run {run}") from error


def _check_labels(pairs: Sequence[tuple[Answer, Answer]]) -> None:
    other = [(a, b) for a, b in pairs if a.label != b.label]
    if other:
        a, b = other[0]
        raise DataError(
            f"{len(other)} test images have another label in the one run than in the other (for example {a.path}: "
            f"{a.label}, then {b.label}), so that being right is not the same in both; train and evaluate again on the "
            "labels that hold now."
        )


def _parted(a: Answer, b: Answer) -> Parted:
    return Parted(b.path, b.sha256, b.label, a.predicted, b.predicted)


def _settings(run_a: Path, run_b: Path) -> dict[str, tuple[Any, Any]]:
    a, b = (dict(_flat(_config(run))) for run in (run_a, run_b))
    keys = [*a, *(key for key in b if key not in a)]
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}


def _config(run: Path) -> dict[str, Any]:
    """As it stands: a config of an older version may have keys that this one refuses."""
    path = run / "config.yaml"
    try:
        value = Loader(read_regular(path, MAX_BYTES).decode()).get_single_data()
    except (OSError, UnicodeDecodeError, YAMLError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({error}); train again.") from error
    return value if isinstance(value, dict) else {}


def _flat(section: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """section.key, and its value."""
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _digest(run: Path) -> Any:
    return runs.read_json(run / "run.json").get("data_digest")
