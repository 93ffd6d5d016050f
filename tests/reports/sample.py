"""A run's page with made-up numbers and drawn images, of any size."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from tlcli.datasets.index import Index
from tlcli.evaluation import finetuning_proof
from tlcli.evaluation.assessment import (
    Assessment,
    BaselineAccuracy,
    Calibration,
    Confidence,
    DuplicatePair,
    OutOfDistribution,
    TrainTestDuplicates,
)
from tlcli.evaluation.calibration import (
    coverage_curve,
    expected_calibration_error,
    reliability,
)
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.evaluation.labelled_predictions import Predictions
from tlcli.evaluation.learning_curve import learning_curve
from tlcli.evaluation.prediction_sets import PredictionSets
from tlcli.evaluation.split_metrics import Metrics, measure
from tlcli.heads.calibration import with_temperature
from tlcli.heads.fit_record import Step
from tlcli.heads.task import Task
from tlcli.reports import charts
from tlcli.reports.external import external_section
from tlcli.reports.figures import svg
from tlcli.reports.finetuning_text import FinetuningSection
from tlcli.reports.gallery import Case, Cell
from tlcli.reports.page import Fact, Pair
from tlcli.reports.run_page import RunReport, confusion
from tlcli.reports.text import RunText
from tlcli.reports.thumbnails import Thumbnail, data_address
from tlcli.reports.verdict import Sentence
from tlcli.runs.external import ExternalResult, LeakCheck, TrainingDuplicate
from tlcli.runs.records import RunFinetuning, RunRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.model.bundle import Bundle

CHARTS = ("estimates", "reliability", "coverage", "learning_curve", "history")
STEPS = tuple(Step(k, 1 / k, 1 - 1 / (k + 2), 1.1 / k, 1 - 1.1 / (k + 2), C=3**k / 3000) for k in range(1, 6))


SETS = PredictionSets(0.95, 0.2, 1.3, 0.7, 0.94)
CROSS_VALIDATED = CrossValidation(
    accuracy=0.85, accuracy_ci95=(0.83, 0.87), balanced_accuracy=0.8, log_loss=0.3, images=2099, folds=5, repeats=3,
    repeats_requested=3, reduced_sizes=False, near_duplicates=0, is_own_head=True, test_share=0.2, sizes=(1,),
    accuracies=((0.85,),),
)  # fmt: skip


def drawn(seed: int, side: int = 112) -> str:
    """An image of its own, as a data address."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (7, 7, 3), dtype=np.uint8))
    return data_address(small.resize((side, side), Image.Resampling.BICUBIC))


def thumb(seed: int, label: str = "", note: str = "") -> Thumbnail:
    """With a name as data sets have them."""
    return Thumbnail(f"train/{label}/image {seed:04d}.jpg", drawn(seed), label, note)


def scores(labels: Sequence[str], images: int, seed: int) -> tuple["NDArray[np.int64]", "NDArray[np.float64]"]:
    """Labels [N] and probabilities [N, L]; about three quarters are classified correctly."""
    random = np.random.default_rng(seed)
    truth = random.integers(len(labels), size=images)
    truth[: len(labels)] = np.arange(len(labels))
    logits = random.normal(size=(images, len(labels)))
    logits[np.arange(images), truth] += 2
    odds = np.exp(logits)
    return truth, odds / odds.sum(axis=1, keepdims=True)


def assessment(labels: Sequence[str], images: int = 400, seed: int = 0) -> Assessment:
    """Of test images as :func:`scores` makes them."""
    truth, probabilities = scores(labels, images, seed)
    softened, random = with_temperature(probabilities, 1.4), np.random.default_rng(seed)
    sizes, accuracies = np.array([100, 200, 400, 800, 1600]), np.array([[0.7], [0.76], [0.8], [0.83], [0.85]])
    return Assessment(
        measured="test",
        intervals={"balanced_accuracy": (0.7, 0.8), "roc_auc": (0.8, 0.9), "log_loss": (0.3, 0.4)},
        is_grouped=False,
        recall_intervals=((0.7, 0.8),) * len(labels),
        baselines=(BaselineAccuracy("majority class", 0.6, (0.5, 0.7)),),
        calibration=Calibration(
            1.4,
            expected_calibration_error(truth, probabilities),
            expected_calibration_error(truth, softened),
            reliability(truth, probabilities),
            reliability(truth, softened),
        ),
        confidence=Confidence("out_of_fold", 2099, coverage_curve(truth, softened), (SETS,)),
        near_duplicates=TrainTestDuplicates((DuplicatePair("a", "b", "near"),), images - 1, 0.8, (0.7, 0.9)),
        out_of_distribution=OutOfDistribution(0.31, 0.012, 0.019),
        cross_validation=CROSS_VALIDATED,
        learning_curve=learning_curve(sizes, random.normal(accuracies, 0.01, (5, 15)), 0.2, 1600),
        is_logistic_regression=True,
    )


def record() -> RunRecord:
    """run.json of a run that skipped an image."""
    return RunRecord.model_validate(
        {
            "config": "solar_cells",
            "skipped": [{"path": "a <b>.jpg", "reason": "broken: truncated"}],
            "seconds": {"features": 17.2},
            "images": {"train": {"a": 7}},
            "head": {"fit": "logistic_regression", "steps": 5, "chosen_step": 3, "C": 0.03, "temperature": 1.1},
            "features": {"computed": 7, "reused": 0, "views": 1},
            "data_root": "/data",
            "backbone": {
                "name": "densenet201", "weights": "imagenet", "engine": "openvino", "precision": "f32",
                "weights_sha256": "ab" * 32,
            },
            "trainable_parameters": 1921,
            "data_digest": "cd" * 32,
            "seeds": {"split": 0, "train": 0},
            "versions": {"tlcli": "0.1.0", "python": "3.11"},
        }
    )  # fmt: skip


def external(labels: Sequence[str], metrics: Metrics) -> ExternalResult:
    """A result on other images, with names that could break a page."""
    pairs = (TrainingDuplicate(f"{labels[0]}/1.png", f"{labels[0]}/2.png", "exact"),)
    return ExternalResult(
        name="site_2",
        data_root="/data/<site> & " + "x" * 200,
        data_digest="ef" * 32,
        measured="2026-11-23 21:05 UTC",
        metrics=metrics,
        intervals={"accuracy": (0.8, 0.9), "balanced_accuracy": None},
        leaks=LeakCheck(pairs, "images", 7, 9, 1, 0.5, (0.1, 0.9)),
        same_as={"test": 3},
        out_of_distribution=0.1,
        notes=("Read as class folders; 2 classes.",),
        skipped={"a.png": "truncated"},
    )


def fine_tuned() -> RunFinetuning:
    """A network that got better on validation images, and worse on noisy ones."""
    before, after = finetuning_proof.Side(0.9, 0.3, 0.02), finetuning_proof.Side(0.95, 0.2, 0.03)
    better = finetuning_proof.Pair(before, after, 0.05, (0.01, 0.09), 0.01)
    worse = finetuning_proof.Pair(after, before, -0.05, (-0.09, -0.01), 0.01)
    proof = finetuning_proof.Proof(300, better, {"blur": better, "noise": worse})
    return RunFinetuning(
        blocks=2, views=4, learning_rate=0.001, epochs=8, trained_parameters=1_200_000, seconds=95.5, is_kept=True,
        proof=proof,
    )  # fmt: skip


def run_page(labels: Sequence[str], images: int = 400, seed: int = 0) -> dict[str, Any]:
    """The content of the page of a run with that many test images."""
    truth, probabilities = scores(labels, images, seed)
    test = measure(truth, probabilities, Task(tuple(labels)))
    counts = np.array(test.confusion_matrix)
    cells = [
        Cell(
            labels[i], labels[j], f"cell-{i}-{j}", int(counts[i, j]), counts[i, j] / counts[i].sum(),
            tuple(thumb(1000 * i + 10 * j + k, labels[i], f"{labels[j]} 71 %") for k in range(min(3, counts[i, j]))),
        )
        for i, j in zip(*np.nonzero(counts), strict=True)
    ]  # fmt: skip
    neighbours = tuple(thumb(900 + k, labels[k % 2], f"cosine 0.{90 - k}") for k in range(4))
    case = Case(thumb(5, labels[0]), labels[1], 0.97, drawn(6), neighbours)
    correct = Case(thumb(5, labels[0]), labels[0], 0.51, drawn(6), neighbours)
    found = assessment(labels, images, seed)
    assert found.learning_curve
    assert found.confidence
    estimates = [
        charts.Estimate("this run, test", 0.861, (0.829, 0.888)),
        charts.Estimate("majority", 0.6, (0.5, 0.7), is_baseline=True),
    ]
    drawn_charts = {
        "estimates": charts.estimates(estimates),
        "reliability": charts.reliability_diagram(found.calibration.bins_before, found.calibration.bins_after),
        "coverage": charts.coverage(found.confidence.coverage),
        "learning_curve": charts.learning_curve(found.learning_curve),
        "history": charts.history(STEPS, STEPS[2]),
    }
    report = RunReport(
        run=Path("runs/solar_cells/20261123T210523Z-94e2"),
        record=record(),
        config="dataset:\n  path: <data>\n",
        metrics=test,
        history=STEPS,
        best=STEPS[2],
        index=Index(Path("data"), tuple(labels), (), {}, ()),
        bundle=cast("Bundle", None),  # the page has no need of it, nor of the predictions
        assessment=found,
        predictions=Predictions((), truth, probabilities),
        out_of_fold=None,
        evaluated_runs=3,
    )
    return {
        "report": report,
        "no_map": "",
        "text": RunText(test, found, labels[0], 0.688, 3),
        "verdict": [Sentence("86.1 % of 525 test images are classified correctly.", "metrics")] * 3,
        "facts": [Fact("Test accuracy", "86.1 %", "82.9 to 88.8 %")] * 4,
        "charts": {name: svg(figure, name, name) for name, figure in drawn_charts.items()},
        "confusion": confusion(cells, labels),
        "errors": [case] * 3,
        "least_confident": [correct],
        "out_of_fold_errors": [thumb(7, labels[0], f"predicted {labels[1]} 93 %")],
        "external": external_section([external(labels, test)]),
        "finetuning": FinetuningSection(fine_tuned()),
        "duplicates": [Pair(thumb(1, labels[0], "test"), thumb(2, labels[0], "train"), "near")],
        "font_note": "",
        "commands": ["tlcli train --config runs/x/config.yaml", "tlcli evaluate"],
    }
