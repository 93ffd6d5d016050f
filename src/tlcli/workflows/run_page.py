"""Report: from what evaluate measured to report.json and the page that shows it."""

import csv
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tlcli.datasets.index import Index
from tlcli.datasets.layout import SplitName
from tlcli.engines.interface import Engine
from tlcli.model.bundle import Bundle
from tlcli.reports import charts
from tlcli.reports import text as words
from tlcli.reports.page import Pair, RunPage, interval, percent, write_page
from tlcli.reports.svg import svg
from tlcli.runs import folders as runs
from tlcli.workflows.assess import Assessment
from tlcli.workflows.shown import Answers, cases, fields, thumbnails

_PAIRS = 24
"""Pairs of copies that are shown."""


def read_history(path: Path) -> list[dict[str, float | None]]:
    """The lines of a run's history.csv; None where a cell is empty."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]


@dataclass(frozen=True)
class Measured:
    """All that the page is made of."""

    run: Path
    record: Mapping[str, Any]
    """run.json"""
    settings: str
    """config.yaml"""
    metrics: Mapping[SplitName, Mapping[str, Any]]
    """metrics.json"""
    index: Index
    bundle: Bundle
    assessment: Assessment
    answers: Answers
    test_uses: int
    """Runs evaluated on these test images"""


def write_report(measured: Measured, engine: Callable[[], Engine]) -> dict[str, str]:
    """Writes report.json and report.html into the run's folder.

    Args:
        measured: what evaluate has found.
        engine: opens the backbone; called only where there is something to explain.

    Returns:
        The sentences of the page.
    """
    report = _numbers(measured)
    runs.write_json(measured.run / "report.json", report)
    errors, unsure = measured.answers.worst(), measured.answers.least_sure()
    explained = cases(np.concatenate([errors, unsure]), measured.answers, measured.index, measured.bundle, engine)
    page = RunPage(
        name=f"{measured.run.parent.name} / {measured.run.name}",
        summary=report["words"]["summary"],
        facts=_facts(measured),
        counts=measured.index.counts(),
        skipped=[*measured.record.get("skipped", []), *measured.record.get("skipped_test", [])],
        metrics=measured.metrics,
        report=report,
        charts=_charts(measured),
        cells=fields(measured.answers, measured.bundle),
        errors=explained[: len(errors)],
        unsure=explained[len(errors) :],
        pairs=_pairs(measured),
        settings=measured.settings,
        record=measured.record,
        commands=_commands(measured),
    )
    write_page(measured.run / "report.html", "run.html.j2", page)
    said: dict[str, str] = report["words"]
    return said


def _numbers(measured: Measured) -> dict[str, Any]:
    """report.json: the assessment, and the sentences that the page makes of it."""
    found, test = measured.assessment, measured.metrics["test"]
    validated, curve = found.cross_validation, found.learning_curve
    without = None
    if found.leaks.accuracy_without is not None:
        without = {"accuracy": found.leaks.accuracy_without, "n": found.leaks.n_without}
    said = {
        "summary": words.summary(test, *_majority(measured), len(found.leaks.twins)),
        "intervals": words.intervals(test["n"], found.is_grouped),
        "estimates": words.estimates(validated is not None, found.is_convex),
        "test_use": words.test_use(test["n"]),
        "test_uses": words.test_uses(measured.test_uses) if measured.test_uses > 1 else "",
        "cross_validation": words.cross_validation(**asdict(validated), is_convex=found.is_convex) if validated else "",
        "calibration": words.calibration(
            found.calibration.temperature, found.calibration.ece_before, found.calibration.ece_after, test["n"]
        ),
        "coverage": words.coverage([asdict(point) for point in found.calibration.coverage], test["accuracy"]),
        "heat": words.heat(),
        "learning_curve": words.learning_curve(
            curve.doubling_gain, *curve.doubling_gain_ci95, curve.now, found.is_convex
        )
        if curve
        else words.no_learning_curve(),
        "leaks": words.leaks(found.leaks.count("exact"), found.leaks.count("near"), test, without),
        "familiarity": words.familiarity(**asdict(found.familiarity)),
    }
    return {"test_uses": measured.test_uses, **found.as_json(), "words": said}


def _majority(measured: Measured) -> tuple[str, float]:
    """The most frequent class of the training images, and its share of the test images."""
    counts = measured.index.counts()
    label = max(counts["train"], key=lambda name: counts["train"][name])
    return label, counts["test"][label] / sum(counts["test"].values())


def _facts(measured: Measured) -> list[tuple[str, str, str]]:
    """The numbers at the top."""
    found, test = measured.assessment, measured.metrics["test"]
    facts = [("test accuracy", percent(test["accuracy"]), interval(found.intervals["accuracy"] or (0, 1)))]
    if found.cross_validation:
        validated = found.cross_validation
        facts.append(("cross-validation", percent(validated.accuracy), interval(validated.accuracy_ci95)))
    best = max(found.baselines, key=lambda baseline: baseline.accuracy)
    facts.append(("best simple way", percent(best.accuracy), best.name))
    facts.append(
        ("calibration error", percent(found.calibration.ece_after), f"{percent(found.calibration.ece_before)} before")
    )
    trained = sum(measured.record["seconds"].values())
    facts.append(("training took", f"{trained:.0f} s", f"{sum(measured.record['images']['train'].values()):,} images"))
    return facts


def _charts(measured: Measured) -> dict[str, Markup]:
    found, test = measured.assessment, measured.metrics["test"]
    rows = [charts.Estimate("this model, test", test["accuracy"], *(found.intervals["accuracy"] or (0.0, 1.0)))]
    if found.cross_validation:
        validated = found.cross_validation
        what = "the same" if found.is_convex else "logistic regression"
        rows.append(charts.Estimate(f"{what}, cross-validation", validated.accuracy, *validated.accuracy_ci95))
    rows += [charts.Estimate(b.name, b.accuracy, *b.accuracy_ci95, is_ours=False) for b in found.baselines]
    calibration, history = found.calibration, read_history(measured.run / "history.csv")
    drawn = {
        "estimates": (charts.estimates(rows), "Accuracy of the model and of simpler ways, with 95 % intervals"),
        "reliability": (
            charts.reliability(calibration.bins_before, calibration.bins_after), "Accuracy against confidence",
        ),
        "coverage": (charts.coverage(calibration.coverage), "Accuracy against the share of images answered"),
        "history": (charts.history(history, measured.record["head"]["chosen_step"]), "Log loss of the fits tried"),
    }  # fmt: skip
    if found.learning_curve:
        drawn["learning_curve"] = (charts.learning(found.learning_curve), "Accuracy against training images")
    return {name: svg(figure, name, title) for name, (figure, title) in drawn.items()}


def _pairs(measured: Measured) -> list[Pair]:
    """Test images beside their twins in training."""
    known = {image.name: image for image in measured.index.images}
    twins = measured.assessment.leaks.twins[:_PAIRS]
    shown = [known[name] for twin in twins for name in (twin.test, twin.train)]
    ready = thumbnails(shown, measured.bundle, {number: one.split for number, one in enumerate(shown)})
    return [Pair(a, b, twin.kind) for a, b, twin in zip(ready[::2], ready[1::2], twins, strict=True)]


def _commands(measured: Measured) -> Sequence[str]:
    given = shlex.join(["tlcli", "train", "--config", str(measured.run / "config.yaml")])
    return [given, "tlcli evaluate"]
