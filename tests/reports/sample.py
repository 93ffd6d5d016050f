"""A run's page with made numbers and drawn images, of any size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tlcli.datasets.layout import SPLITS
from tlcli.evaluation.calibration import coverage_curve, reliability, with_temperature
from tlcli.evaluation.learning_curve import learning_curve
from tlcli.evaluation.metrics import measure
from tlcli.reports import charts
from tlcli.reports import text as words
from tlcli.reports.page import Case, Cell, Pair, RunPage, Thumbnail
from tlcli.reports.svg import svg
from tlcli.reports.thumbnails import data_address

CHARTS = ("estimates", "reliability", "coverage", "learning_curve", "history")


def drawn(seed: int, side: int = 112) -> str:
    """An image of its own, as a data address."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (7, 7, 3), dtype=np.uint8))
    return data_address(small.resize((side, side), Image.Resampling.BICUBIC))


def thumb(seed: int, label: str = "", note: str = "") -> Thumbnail:
    """With a name as data sets have them."""
    return Thumbnail(f"train/{label}/image {seed:04d}.jpg", drawn(seed), label, note)


def run_page(labels: Sequence[str], images: int = 400, seed: int = 0) -> RunPage:
    """Of ``images`` test images, three quarters of them named right."""
    random = np.random.default_rng(seed)
    truth = random.integers(len(labels), size=images)
    truth[: len(labels)] = np.arange(len(labels))
    logits = random.normal(size=(images, len(labels)))
    logits[np.arange(images), truth] += 2
    odds = np.exp(logits)
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    test = measure(truth, probabilities, labels)
    counts = np.array(test["confusion_matrix"])
    cells = [
        Cell(
            labels[i], labels[j], f"cell-{i}-{j}", int(counts[i, j]), counts[i, j] / counts[i].sum(),
            tuple(thumb(1000 * i + 10 * j + k, labels[i], f"{labels[j]} 71 %") for k in range(min(3, counts[i, j]))),
        )
        for i, j in zip(*np.nonzero(counts), strict=True)
    ]  # fmt: skip
    neighbours = tuple(thumb(900 + k, labels[k % 2], f"cosine 0.{90 - k}") for k in range(4))
    case = Case(thumb(5, labels[0]), labels[1], 0.97, drawn(6), neighbours)
    sizes, accuracies = np.array([100, 200, 400, 800, 1600]), np.array([[0.7], [0.76], [0.8], [0.83], [0.85]])
    curve = learning_curve(sizes, random.normal(accuracies, 0.01, (5, 15)), 0.2, 1600)
    assert curve is not None
    estimates = [
        charts.Estimate("this run, test", 0.861, 0.829, 0.888),
        charts.Estimate("majority", 0.6, 0.5, 0.7, False),
    ]
    steps: list[dict[str, float | None]] = [
        {"step": k, "loss": 1 / k, "val_loss": 1.1 / k, "strength": 3000.0 / 3**k} for k in range(1, 6)
    ]
    drawn_charts = {
        "estimates": charts.estimates(estimates),
        "reliability": charts.reliability(
            reliability(truth, probabilities), reliability(truth, with_temperature(probabilities, 1.4))
        ),
        "coverage": charts.coverage(coverage_curve(truth, probabilities)),
        "learning_curve": charts.learning(curve),
        "history": charts.history(steps, 3),
    }  # fmt: skip
    return RunPage(
        name="solar_cells / 20261123T210523Z-94e2",
        summary=words.summary(test, labels[0], 0.688, 2),
        facts=[("test accuracy", "86.1 %", "82.9 to 88.8 %"), ("calibration error", "2.1 %", "5.0 % before")] * 2,
        counts={split: dict.fromkeys(labels, 7) for split in SPLITS},
        skipped=[{"path": "a <b>.jpg", "reason": "broken: truncated"}],
        metrics={"test": test},
        report=report(test),
        charts={name: svg(figure, name, name) for name, figure in drawn_charts.items()},
        cells=cells,
        errors=[case] * 3,
        unsure=[case],
        pairs=[Pair(thumb(1, labels[0], "test"), thumb(2, labels[0], "train"), "near")],
        settings="dataset:\n  path: <data>\n",
        record={
            "backbone": {
                "name": "densenet201", "weights": "imagenet", "engine": "openvino", "precision": "f32",
                "weights_sha256": "ab" * 32,
            },
            "trainable_parameters": 1921,
            "data_digest": "cd" * 32,
            "seeds": {"split": 0, "train": 0},
            "versions": {"tlcli": "0.1.0", "python": "3.11"},
        },
        commands=["tlcli train --config runs/x/config.yaml", "tlcli evaluate"],
    )  # fmt: skip


def report(test: dict[str, Any]) -> dict[str, Any]:
    """What report.json would hold."""
    return {
        "intervals": {"balanced_accuracy": [0.7, 0.8], "roc_auc": [0.8, 0.9], "log_loss": [0.3, 0.4]},
        "recall_intervals": [[0.7, 0.8]] * len(test["labels"]),
        "cross_validation": {"accuracy": 0.85},
        "learning_curve": {"gain": 0.01},
        "test_uses": 3,
        "words": {
            "intervals": words.intervals(test["n"], False),
            "cross_validation": words.cross_validation(5, 3, 2099, 0.852, (0.83, 0.87)),
            "test_use": words.test_use(test["n"]),
            "test_uses": words.test_uses(3),
            "estimates": "On the test images, with 95 % intervals.",
            "calibration": words.calibration(1.2, 0.05, 0.02, test["n"]),
            "coverage": words.coverage([{"share": 0.8, "accuracy": 0.97, "threshold": 0.9}], 0.9),
            "heat": words.heat(),
            "learning_curve": words.learning_curve(0.012, 0.003, 0.02, 1706),
            "leaks": words.leaks(2, 1, test, {"accuracy": 0.8, "n": test["n"] - 3}),
            "familiarity": words.familiarity(0.31, 0.012, 0.019),
        },
    }
