"""What becomes of numbers and names: metrics, notes, tables, figures."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.situations.situation import Outcome, Situation, put

from tlcli.cli.predict import _write_csv
from tlcli.config.build_dataset import read_index
from tlcli.config.dataset import Dataset
from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.class_balance import class_balance
from tlcli.evaluation.split_metrics import Metrics, measure, metrics_document
from tlcli.heads.task import Task
from tlcli.model.prediction import NONE_OF_THESE, Prediction
from tlcli.model.reference import Reference
from tlcli.reports.fonts import lacking
from tlcli.reports.names import distinct_names
from tlcli.reports.notes import headline, many_rejected, mostly_none_of_these, unequal_classes
from tlcli.runs.records import reading_of
from tlcli.workflows.predict import Predicted

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CJK = "\u732b\u72ac"
"""Characters that the figures' own font lacks; whether another font has them depends on the machine."""


@dataclass(frozen=True)
class Values:
    """Values by name."""

    of: Mapping[str, object]

    def __str__(self) -> str:
        """As a cell of the document."""
        return ", ".join(f"{name} {_cell(value)}" for name, value in self.of.items())


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"`{one}`" for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "null" if value is None else f"{value}"


def _row(
    brings: str, compute: Callable[[], Mapping[str, object]], expected: Mapping[str, object], note: str = ""
) -> Situation:
    """A row whose outcome is computed without reading files."""
    return Situation(brings, lambda _: {}, Values(expected), note, lambda *_: Outcome(Values(compute()), ()))


def _predicted(labels: Sequence[str], folder: Path) -> list[str]:
    """The header of the table of ``predict --csv``."""
    share = 1 / len(labels)
    one = Prediction("a.jpg", labels[0], share, ((labels[0], share),), (share,) * len(labels), None, 0.1)
    _write_csv(folder / "t.csv", Predicted((one,), tuple(labels)))
    with (folder / "t.csv").open(newline="", encoding="utf-8") as file:
        header, row = csv.reader(file)
    assert len(row) == len(header) == len(set(header))
    return header[len(header) - len(labels) :]


def _table(brings: str, labels: Sequence[str], columns: list[str]) -> Situation:
    expected = Values({"columns": columns})
    return Situation(
        brings, lambda _: {}, expected, "", lambda _, to: Outcome(Values({"columns": _predicted(labels, to)}), ())
    )


def _measured(truth: str, predicted: str) -> Metrics:
    """Of images of the classes a, b and c; one letter for each image."""
    labels, answers = (np.array(["abc".index(letter) for letter in given]) for given in (truth, predicted))
    return measure(labels, 0.1 + 0.7 * np.eye(3)[answers], Task(("a", "b", "c")))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _class(truth: str, predicted: str, label: str) -> Mapping[str, object]:
    found = _measured(truth, predicted)
    document: Any = metrics_document({"test": found})["test"]
    of_class = document["per_class"][label]
    return {
        **{name: _rounded(of_class[name]) for name in ("precision", "recall", "f1")},
        "balanced accuracy": _rounded(found.scores["balanced_accuracy"]), "over classes": 3 - len(document["never_measured"]),
    }  # fmt: skip


def _unequal(*counts: int, is_weighted: bool = False) -> Mapping[str, object]:
    given = {f"class {number}": count for number, count in enumerate(counts)}
    note = unequal_classes(given, is_weighted)
    assert bool(note) == class_balance(given).is_unequal
    return {"said before training": bool(note), "class_weight advised": "class_weight" in note}


def _headline(ok: int, crack: int, recall: float) -> Mapping[str, object]:
    """Of a model that finds this share of the cracks."""
    truth = np.repeat([0, 1], [ok, crack])
    answers = np.where(np.arange(len(truth)) < len(truth) - round(recall * crack), 0, 1)
    found = measure(truth, 0.1 + 0.8 * np.eye(2)[answers], Task(("ok", "crack")))
    metrics: dict[SplitName, Metrics] = {"train": found, "validation": found}
    text = headline(metrics, "validation")
    return {f"`{number}`": number in text for number in ("0.9934", "0.5000")}


def _noted(split_share: float, images: int) -> Mapping[str, object]:
    return {"noted": bool(many_rejected("validation", split_share, images, 0.1))}


def _given(images: int, rejected: int) -> Mapping[str, object]:
    answers = [NONE_OF_THESE] * rejected + [None] * (images - rejected)
    found = [Prediction("a.jpg", "cat", 0.9, (("cat", 0.9),), (0.9, 0.1), answer, 0.5) for answer in answers]
    return {"noted": bool(mostly_none_of_these(found, 0.1))}


def _distances() -> Mapping[str, object]:
    """Of images that are the reference images, whose features are kept in float16."""
    random = np.random.default_rng(0)
    rows: NDArray[np.float32] = random.normal(size=(200, 1280)).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    reference = Reference(unit.astype(np.float16), np.zeros(200, np.int64), ("a.jpg",) * 200, 0.1)
    return {"below 0": bool(((1 - reference.similarities(rows)) < 0).any())}


def _names(names: Sequence[str], without: str = "") -> Mapping[str, object]:
    return {"shown as": distinct_names(names, 22, without)}


def _reading(_: Situation, folder: Path) -> Outcome:
    put(
        folder,
        "train/cat/{}.jpg",
        "train/dog/{}.jpg",
        "test/cat/{}.jpg",
        "test/dog/{}.jpg",
        "other/{}.jpg",
        "README.md",
    )
    found = reading_of(read_index(folder, Dataset(path=folder)))
    return Outcome(Values({"notes": len(found.notes), "left out": [one.count for one in found.left_out]}), found.notes)


RESULTS = [
    _table("`predict --csv`, classes `cat` and `dog`", ("cat", "dog"), ["cat", "dog"]),
    _table("classes `error`, `label`, `best_guess`", ("error", "label", "best_guess"), ["error (class)", "label (class)", "best_guess (class)"]),
    _table("classes `label` and `label (class)`", ("label", "label (class)"), ["label (class) (class)", "label (class)"]),
    _table('classes `a,b`, `say "q"`, `Error`', ("a,b", 'say "q"', "Error"), ["a,b", 'say "q"', "Error"]),
    _row("a class that has test images and is never predicted", lambda: _class("aabbcc", "aabbbb", "c"), {"precision": None, "recall": 0, "f1": 0, "balanced accuracy": 0.667, "over classes": 3}),
    _row("a class without test images", lambda: _class("aaabbb", "aabbbb", "c"), {"precision": None, "recall": None, "f1": None, "balanced accuracy": 0.833, "over classes": 2}),
    _row("a class without test images that is predicted", lambda: _class("aabb", "accb", "c"), {"precision": None, "recall": None, "f1": None, "balanced accuracy": 0.5, "over classes": 2}),
    _row("test images of one class only", lambda: _class("aaaa", "aabb", "a"), {"precision": 1, "recall": 0.5, "f1": 0.667, "balanced accuracy": 0.5, "over classes": 1}),
    _row("600 : 4 images, every image answered with the large class", lambda: _headline(600, 4, 0), {"`0.9934`": True, "`0.5000`": True}, "the last line has the balanced accuracy and what always predicting the large class reaches"),
    _row("600 : 4 training images", lambda: _unequal(600, 4), {"said before training": True, "class_weight advised": True}),
    _row("the same with `head.class_weight: balanced`", lambda: _unequal(600, 4, is_weighted=True), {"said before training": True, "class_weight advised": False}),
    _row("60 : 20 training images", lambda: _unequal(60, 20), {"said before training": False, "class_weight advised": False}, "more than 3 : 1 counts as unequal"),
    _row("nine classes of 100 images, one of 20", lambda: _unequal(*[100] * 9, 20), {"said before training": True, "class_weight advised": True}),
    _row("`none of these` for 12 % of 50 validation images", lambda: _noted(0.12, 50), {"noted": True}, "1 % is expected"),
    _row("`none of these` for 1 of 10 validation images", lambda: _noted(0.1, 10), {"noted": False}, "one image proves nothing"),
    _row("`none of these` for 5 % of 1,000 validation images", lambda: _noted(0.05, 1000), {"noted": False}),
    _row("`predict` with 12 images, 7 of them `none of these`", lambda: _given(12, 7), {"noted": True}),
    _row("`predict` with 12 images, 6 of them `none of these`", lambda: _given(12, 6), {"noted": False}),
    _row("`predict` with 9 images, all of them `none of these`", lambda: _given(9, 9), {"noted": False}),
    _row("`distance` of training images to themselves", _distances, {"below 0": False}),
    _row(f"classes `{_CJK[0]}` and `{_CJK[1]}`, and no font that has them", lambda: _names(list(_CJK), _CJK), {"shown as": ["class 1", "class 2"]}, "a note names the font package"),
    _row(f"classes `dog` and `cat {_CJK[0]}`, and no font that has it", lambda: _names(["dog", f"cat {_CJK[0]}"], _CJK), {"shown as": ["dog", "cat (class 2)"]}),
    _row("classes `\u0645\u0631\u062d\u0628\u0627` and `\u041a\u043e\u0442`", lambda: {"font missing": bool(lacking("\u0645\u0631\u062d\u0628\u0627\u041a\u043e\u0442"))}, {"font missing": False}),
    _row("two names that begin with the same 30 letters", lambda: _names(["x" * 30 + "1", "x" * 30 + "2", "y"]), {"shown as": ["xxxxxxxxxxx… (class 1)", "xxxxxxxxxxx… (class 2)", "y"]}, "whole in JSON and CSV"),
    _row(r"classes `two\nlines` and `two lines`", lambda: _names(["two\nlines", "two lines"]), {"shown as": ["two lines (class 1)", "two lines (class 2)"]}),
    _row("a class whose name is a direction mark alone", lambda: _names(["\u200f", "cat"]), {"shown as": ["class 1", "cat"]}),
    Situation("split folders, 6 other images and a README", lambda _: {}, Values({"notes": 3, "left out": [6, 1]}), "in run.json, `--json` and on the pages", _reading),
]  # fmt: skip
