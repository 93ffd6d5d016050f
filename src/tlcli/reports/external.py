"""The section of a run's page on external test sets, which each evaluate --data writes again."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from tlcli.reports.page import interval, percent, render
from tlcli.runs.external import ExternalResult, read_externals
from tlcli.runs.files import write_json
from tlcli.system.files import write_text

_MARKED = re.compile("(<!-- external test sets -->).*?(<!-- end of external test sets -->)", re.DOTALL)
KEY = "external_test_sets"
"""In report.json."""


def external_section(results: Sequence[ExternalResult]) -> Markup:
    """The section, with the marks between which :func:`update_report` replaces it."""
    return render("external.html.j2", results=results, summary=summary, leaks=leaks)


def summary(result: ExternalResult) -> str:
    """The accuracies with their intervals, for a sentence."""
    metrics, ends = result.metrics, result.intervals
    text = f"{percent(metrics.accuracy)} of {metrics.n:,} images of {result.data_root} are classified correctly"
    if accuracy := ends.get("accuracy"):
        text += f" (95 % interval {interval(accuracy)})"
    if (balanced := metrics.scores.get("balanced_accuracy")) is not None:
        text += f"; the balanced accuracy is {percent(balanced)}"
        if of_balanced := ends.get("balanced_accuracy"):
            text += f" ({interval(of_balanced)})"
    return f"{text}."


def leaks(result: ExternalResult) -> str:
    """Images that the run was trained on, the accuracy without them, and what they were compared with."""
    found = result.leaks
    if found.near_by == "images":
        how = f"Near duplicates were searched among {found.compared:,} of {found.trained:,} training images."
    else:
        how = (
            "The training images are not readable any more, so near duplicates could not be confirmed: by the features "
            f"of {found.compared:,} of {found.trained:,} training images, which the model carries, "
            f"{found.count('suspected'):,} images look like versions of training images, and others may have been "
            "missed."
        )
    if not found.count("exact") + found.count("near"):
        kinds = "exact or near" if found.near_by == "images" else "exact"
        text = f"None of the {result.metrics.n:,} images has an {kinds} duplicate among the training images."
    else:
        text = (
            f"Images with a duplicate among the training images: {found.count('exact'):,} exact, "
            f"{found.count('near'):,} near."
        )
        if found.accuracy_without is None or found.accuracy_without_ci95 is None:
            text += " Every image has one, so this test says nothing about new images."
        else:
            text += (
                f" Without them the accuracy is {percent(found.accuracy_without)} on {found.n_without:,} images (95 % "
                f"interval {interval(found.accuracy_without_ci95)})."
            )
    same = [f"{count:,} are {split} images" for split, count in result.same_as.items() if count]
    also = f" Of the images, {' and '.join(same)} of the run." if same else ""
    return f"{text} {how}{also}"


def update_report(run: Path) -> None:
    """Replaces the section in the run's report.html and report.json; a run without a report stays without.

    Raises:
        ResourceError: they cannot be written.
    """
    results = read_externals(run)[0]
    page, numbers = run / "report.html", run / "report.json"
    if page.is_file():
        section = str(external_section(results))
        text = page.read_text(encoding="utf-8")
        write_text(page, _MARKED.sub(lambda _: section, text, count=1))
    if numbers.is_file():
        document = json.loads(numbers.read_text(encoding="utf-8"))
        write_json(numbers, {**document, KEY: [result.as_json() for result in results]})
