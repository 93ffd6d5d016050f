"""What class weights and thresholds are worth where classes are unequal: balanced accuracy and macro F1.

python bench/thresholds.py [--tiles ARCHIVE] [--repeats 3] [--only NAME]

Logistic regression on efficientnet_lite0 (ImageNet weights, all layers) on the training and validation images of the
solar cells, which come from pip, and of magnetic tiles (six classes, 30 : 1); test images are not used. 5-fold
cross-validation with near duplicates in one fold; C is chosen by 5-fold cross-validation on the same images, the
thresholds for a fold on the predictions of the other folds. Means over the folds, and differences from the most
probable class with 95 % intervals corrected for overlapping training folds. Writes bench/results/thresholds.json.
"""

import argparse
from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from measure import introduce, save
from tlcli.config.build_cross_validation import divide
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.evaluation.intervals import corrected_resampled_t
from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.thresholds import nested_decisions
from tlcli.features.rows import Rows
from tlcli.heads.calibration import fit_temperature, with_temperature
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.repeated_cross_validation import CrossValidated, cross_validate
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRICS = ("accuracy", "balanced_accuracy", "f1_macro")
FIRST = "most probable class"
WAYS: dict[str, tuple[str, str]] = {
    FIRST: ("none", "none"),
    "class_weight balanced": ("balanced", "none"),
    "thresholds: balanced_accuracy": ("none", "balanced_accuracy"),
    "thresholds: f1_macro": ("none", "f1_macro"),
    "balanced, thresholds: balanced_accuracy": ("balanced", "balanced_accuracy"),
    "balanced, thresholds: f1_macro": ("balanced", "f1_macro"),
}
"""What head.class_weight and head.thresholds are."""


def measured(rows: Rows, Cs: Sequence[float], repeats: int) -> Iterator[dict[str, Any]]:
    """A row for each way: its metrics, and the differences from the first with their intervals."""
    validated: dict[str, CrossValidated] = {}
    first: dict[str, NDArray[np.float64]] = {}
    for name, (weight, objective) in WAYS.items():
        if weight not in validated:
            C = fit_logistic_regression(rows, Cs, 5, True, weight, 0).best.C or 1.0
            validated[weight] = cross_validate(
                rows, C, repeats=repeats, class_weight=weight, shares=(1.0,), keep_folds=True
            )
        found = validated[weight]
        truth = rows.labels[np.concatenate(found.folds)]
        temperature = fit_temperature(truth, found.fold_probabilities[-1])
        probabilities = with_temperature(found.fold_probabilities[-1], temperature)
        answers = _answers(found, truth, probabilities, objective)
        row: dict[str, Any] = {"way": name, "log_loss": -Objective("log_loss").score(truth, probabilities)}
        for metric in METRICS:
            values = _by_fold(found, truth, answers, probabilities.shape[1], Objective.parse(metric))
            apart = values - first.setdefault(metric, values)
            ends = corrected_resampled_t(apart, found.test_share) if np.ptp(apart) > 0 else (float(apart[0]),) * 2
            row[metric] = {"mean": float(values.mean()), "difference": float(apart.mean()), "interval": ends}
        yield row


def _answers(
    found: CrossValidated, truth: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", objective: str
) -> "NDArray[np.int64]":
    """Of the rows that the folds hold out, one fold after the other."""
    answers = np.asarray(probabilities.argmax(axis=1))
    if objective == "none":
        return answers
    repeat = found.repeat_of[found.fold_of]
    for number in np.unique(repeat):
        inside = repeat == number
        answers[inside] = nested_decisions(
            truth[inside], probabilities[inside], found.fold_of[inside], Objective.parse(objective)
        )
    return answers


def _by_fold(
    found: CrossValidated, truth: "NDArray[np.int64]", answers: "NDArray[np.int64]", classes: int, metric: Objective
) -> "NDArray[np.float64]":
    folds = (found.fold_of == number for number in range(len(found.folds)))
    return np.array([metric.of_decisions(truth[inside], answers[inside], classes) for inside in folds])


def rows_of(loaded: LoadedConfig) -> Rows:
    """The training and validation images of a config as train's cross-validation divides them."""
    index = dataset_index(loaded.config.dataset, loaded.options)
    extractor = feature_extractor(index, loaded.config)
    extractor.extract([([*index.of("train"), *index.of("validation")], extractor.views[:1])])
    divided = divide(loaded.config, index, extractor)
    if divided is None:
        raise SystemExit("The config has no folds.")
    return divided.rows.take(np.arange(len(divided.rows)))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--only", metavar="NAME", help="of one data set, such as 'solar cells'")
    options = parser.parse_args()
    introduce()
    results, lines = [], []
    with TemporaryDirectory() as folder:
        for name, config, archive in (
            ("solar cells", "solar_cells", None), ("magnetic tiles", "my_images", options.tiles),
        ):  # fmt: skip
            if (archive is None and config == "my_images") or options.only not in (None, name):
                continue
            given = (f"dataset.path={folder}/tiles", "backbone.name=efficientnet_lite0") if archive else ()
            loaded = load_config(find_config(config), given)
            fetch(loaded, archive)
            for row in measured(rows_of(loaded), loaded.config.head.Cs, options.repeats):
                results.append({"data set": name, **row})
                lines.append([name, row["way"], *(_cell(row[metric]) for metric in METRICS), f"{row['log_loss']:.3f}"])
    print(
        "| data set | way | accuracy | balanced accuracy | macro F1 | log loss |\n| --- | --- | --- | --- | --- | --- |"
    )
    for line in lines:
        print("| " + " | ".join(line) + " |")
    save("thresholds", results=results)


def _cell(found: dict[str, Any]) -> str:
    """The metric, and how many points more it is than that of the first way."""
    low, high = found["interval"]
    apart = "" if low == high == 0 else f" ({100 * found['difference']:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"
    return f"{found['mean']:.3f}{apart}"


if __name__ == "__main__":
    main()
