"""The report of a run: what evaluate measured -> report.json and the page report.html."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tlcli.datasets.index import Index
from tlcli.evaluation.assessment import Assessment
from tlcli.evaluation.class_balance import class_balance
from tlcli.evaluation.labelled_predictions import Predictions
from tlcli.evaluation.operating_curve import OperatingCurve, operating_curves
from tlcli.evaluation.split_metrics import Metrics
from tlcli.heads.fit_record import Step
from tlcli.model.bundle import Bundle
from tlcli.reports import charts
from tlcli.reports.external import KEY as EXTERNAL
from tlcli.reports.external import external_section
from tlcli.reports.figures import svg
from tlcli.reports.finetuning_text import FinetuningSection
from tlcli.reports.fonts import missing_font_note
from tlcli.reports.gallery import Cell, Explain, confusion_cells, error_thumbnails, explained
from tlcli.reports.names import cut, one_line
from tlcli.reports.notes import REFERENCES, filtered_images
from tlcli.reports.overlays import NO_MAP
from tlcli.reports.page import Fact, Pair, interval, paired, percent, write_page
from tlcli.reports.text import RunText
from tlcli.reports.thumbnails import thumbnails
from tlcli.reports.verdict import Evidence, verdict
from tlcli.runs.external import read_externals
from tlcli.runs.files import write_json
from tlcli.runs.records import RunRecord

_PAIRS = 24
"""Pairs of duplicates that are shown."""
_MATRIX, _CONFUSIONS = 20, 30
"""Classes up to which the whole matrix is shown, and the confusions listed where it is not."""
Matrix = Sequence[tuple[str, Sequence[Cell | None]]]
"""Rows: the true class, and a cell (or None) for each predicted one."""


@dataclass(frozen=True)
class RunReport:
    """Everything that a report is made of."""

    run: Path
    """The run's folder."""
    record: RunRecord
    config: str
    """The resolved config, as YAML."""
    metrics: Metrics
    """Of the images measured on: the test images, or, without any, training and validation images out of fold."""
    history: Sequence[Step]
    best: Step
    index: Index
    bundle: Bundle
    assessment: Assessment
    predictions: Predictions
    """Of the images measured on."""
    out_of_fold: Predictions | None
    """Of training and validation images, by cross-validation."""
    evaluated_runs: int
    """Runs evaluated on these test images, this one included."""
    has_figures: bool = True
    """The run has figures/, in which classes may be numbered."""

    @property
    def is_fine_tuned(self) -> bool:
        """Whether the model has the fine-tuned network: head and history are those of its training."""
        return self.record.finetuning is not None and self.record.finetuning.is_kept


def write_report(report: RunReport, explain: Explain) -> RunText:
    """Writes report.json and report.html into the run's folder.

    Args:
        report: what evaluate has found.
        explain: explains images; called only where there is something to explain.

    Returns:
        The sentences of the page.
    """
    found, predictions, bundle = report.assessment, report.predictions, report.bundle
    counts = report.index.counts()
    text = RunText(
        report.metrics,
        found,
        *_majority(report),
        report.evaluated_runs,
        is_unequal=any(
            class_balance(counts[split]).is_unequal for split in ("train", "test") if any(counts[split].values())
        ),
        validation_images=sum(counts["validation"].values()),
        filtered=filtered_images(report.record.filtered),
        decision=report.record.head.thresholds,
    )
    judged = verdict(_evidence(report, text))
    tested = predictions if found.measured == "test" else None
    curves = operating_curves({"test": tested, "out_of_fold": report.out_of_fold})
    filtered = report.record.filtered.model_dump() if report.record.filtered else None
    tuned = report.record.finetuning
    results = read_externals(report.run)[0]
    external = [result.as_json() for result in results]
    write_json(
        report.run / "report.json",
        {
            "verdict": [one.text for one in judged],
            "evaluated_runs": report.evaluated_runs,
            "filtered": filtered,
            "finetuning": tuned.model_dump() if tuned else None,
            **asdict(found),
            "operating_points": [curve.document(bundle.labels) for curve in curves],
            EXTERNAL: external,
        },
    )
    has_test = found.measured == "test"  # the head itself was fitted on the others, so that its evidence is no evidence
    numbers = np.concatenate([predictions.worst_errors(), predictions.least_confident()])
    cases = explained(numbers, predictions, report.index.root, bundle, explain) if has_test else []
    write_page(
        report.run / "report.html",
        "run.html.j2",
        report=report,
        text=text,
        verdict=judged,
        facts=_facts(report, text),
        font_note=missing_font_note(report.metrics.labels) if report.has_figures else "",
        charts=_charts(report, curves),
        confusion=confusion(confusion_cells(predictions, bundle), report.metrics.labels),
        errors=[case for case in cases if not case.is_correct],
        no_map=NO_MAP[bundle.no_map] if bundle.no_map else "",
        least_confident=[case for case in cases if case.is_correct],
        out_of_fold_errors=error_thumbnails(report.out_of_fold, bundle) if report.out_of_fold else [],
        duplicates=_duplicates(report),
        external=external_section(results),
        references=REFERENCES,
        finetuning=FinetuningSection(tuned) if tuned else None,
        commands=[shlex.join(["tlcli", "train", "--config", str(report.run / "config.yaml")]), "tlcli evaluate"],
    )
    return replace(text, first=judged[-1].text)


def _evidence(report: RunReport, text: RunText) -> Evidence:
    out_of_fold = report.out_of_fold
    return Evidence(
        measured=report.metrics,
        found=report.assessment,
        frequent=text.frequent,
        frequent_share=text.frequent_share,
        training=report.index.counts()["train"],
        validation_images=text.validation_images,
        sure_errors=out_of_fold.sure_errors() if out_of_fold else (0, 0.0),
        cross_validated=len(out_of_fold.images) if out_of_fold else 0,
    )


def confusion(cells: Sequence[Cell], labels: Sequence[str]) -> tuple[Matrix | None, Sequence[Cell]]:
    """The confusion matrix, and the cells that can be selected to see their images.

    Where there are too many classes there is no matrix, and these are the most frequent confusions.
    """
    if len(labels) > _MATRIX:
        errors = [cell for cell in cells if not cell.is_correct]
        return None, sorted(errors, key=lambda cell: (-cell.count, cell.true, cell.predicted))[:_CONFUSIONS]
    named = {(cell.true, cell.predicted): cell for cell in cells}
    return [(true, [named.get((true, predicted)) for predicted in labels]) for true in labels], cells


def _majority(report: RunReport) -> tuple[str, float]:
    """The most frequent class of the training images, and its share of the images measured on."""
    training = report.index.counts()["train"]
    label = max(training, key=lambda name: training[name])
    return label, report.metrics.per_class[label].support / report.metrics.n


def _facts(report: RunReport, text: RunText) -> list[Fact]:
    """The numbers at the top."""
    found, test = report.assessment, report.metrics
    facts = []
    if found.measured == "test":
        facts.append(Fact("Test accuracy", percent(test.accuracy), interval(test.accuracy_ci95)))
    if validated := found.cross_validation:
        of = "" if found.is_logistic_regression else ", of logistic regression on the frozen network"
        facts.append(Fact("Cross-validation", percent(validated.accuracy), f"{interval(validated.accuracy_ci95)}{of}"))
    if text.small_test and found.is_logistic_regression:
        facts.reverse()
    if text.is_unequal:
        ends = found.intervals.get("balanced_accuracy")
        facts += [
            Fact("Balanced accuracy", percent(test.scores["balanced_accuracy"]), interval(ends) if ends else ""),
            Fact(
                "Majority class",
                percent(text.frequent_share),
                f"always predicting '{cut(one_line(text.frequent), 40)}'",
            ),
        ]
    if best := max(found.baselines, key=lambda baseline: baseline.accuracy, default=None):
        facts.append(Fact("Best baseline", percent(best.accuracy), f"{best.name}, {test.n:,} test images"))
    before = percent(found.calibration.ece_before)
    images, seconds = sum(report.record.images["train"].values()), sum(report.record.seconds.values())
    return [
        *facts,
        Fact("Calibration error", percent(found.calibration.ece_after), f"{before} before calibration"),
        Fact("Training time", f"{seconds:.0f} s", f"{images:,} training images"),
    ]


def _charts(report: RunReport, curves: Sequence[OperatingCurve]) -> dict[str, Markup]:
    found, calibration = report.assessment, report.assessment.calibration
    rows = []
    if found.measured == "test":
        rows.append(charts.Estimate("this model, test", report.metrics.accuracy, report.metrics.accuracy_ci95))
    if validated := found.cross_validation:
        name = "this model, cross-validation" if found.is_logistic_regression else "cross-validation (log. reg.)"
        rows.append(charts.Estimate(name, validated.accuracy, validated.accuracy_ci95))
    rows += [charts.Estimate(b.name, b.accuracy, b.accuracy_ci95, is_baseline=True) for b in found.baselines]
    reliability = charts.reliability_diagram(calibration.bins_before, calibration.bins_after)
    drawn = {
        "estimates": (charts.estimates(rows), "Accuracy of the model and of baselines, with 95 % intervals"),
        "reliability": (reliability, "Reliability diagram: accuracy against confidence"),
        "history": (
            charts.history(report.history, report.best, report.is_fine_tuned),
            "Log loss and accuracy of the fit",
        ),
    }
    if curves:
        operating = charts.operating_curves(curves, report.metrics.labels)
        drawn["operating"] = (operating, "Operating curve: precision against recall, with the answers")
    if found.confidence:
        drawn["coverage"] = (charts.coverage(found.confidence.coverage), "Accuracy against coverage")
    if found.learning_curve:
        curve = charts.learning_curve(found.learning_curve)
        drawn["learning_curve"] = (curve, "Learning curve: accuracy against training images")
    return {name: svg(figure, name, title) for name, (figure, title) in drawn.items()}


def _duplicates(report: RunReport) -> list[Pair]:
    """Test images beside their duplicates in training."""
    known = {image.name: image for image in report.index.images}
    pairs = report.assessment.near_duplicates.pairs[:_PAIRS]
    images = [known[name] for pair in pairs for name in (pair.test, pair.train)]
    ready = thumbnails(images, report.bundle.preparation, [image.split for image in images])
    return paired(ready, [pair.kind for pair in pairs])
