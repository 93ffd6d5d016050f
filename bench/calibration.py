"""Whether one temperature improves the probabilities: solar cells, over random splits.

python bench/calibration.py [--splits 40] [--out FILE.json]

In each split 65 % of the images are for training, 15 % for validation and 20 % for the test. The temperature is fitted
on the validation images alone, and (of logistic regression, which cross-validates anyway) on these and on the training
images while they were held out. ECE of finite images is never 0: ``floor`` is that of a perfectly calibrated head on as
many. ``change``: mean over splits, with the standard error of that mean; ``falls``: share of splits in which it falls.
The log loss shows smaller changes than the ECE, which is noisy. Writes bench/results/calibration.json, or FILE.json.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import log_loss

from heads import fitted, rows_of
from measure import introduce, save, table
from tlcli.config.build_head import fit_regression
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.evaluation.calibration import expected_calibration_error
from tlcli.features.rows import Rows
from tlcli.heads.calibration import fit_temperature, with_temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray

Predictions = tuple["NDArray[np.int64]", "NDArray[np.float64]"]
"""Labels [n] and probabilities [n, L]."""
_FLOOR_DRAWS = 20


def split(rows: Rows, seed: int) -> tuple[Rows, Rows, Rows]:
    """Training, validation and test rows."""
    order = np.random.default_rng(seed).permutation(len(rows))
    test, validation = round(0.2 * len(rows)), round(0.35 * len(rows))
    return rows.take(order[validation:]), rows.take(order[test:validation]), rows.take(order[:test])


def logistic_regression(
    train: Rows, validation: Rows, test: Rows, loaded: LoadedConfig
) -> tuple[Predictions, dict[str, Predictions]]:
    """Predictions of the test images, and those that a temperature can be fitted on."""
    fit = fit_regression(loaded.config, train, "none")
    held = fit.held_out
    assert held is not None
    basis = validation.labels, fit.head.probabilities(validation.features())
    both = np.concatenate([held.labels, basis[0]]), np.concatenate([held.probabilities, basis[1]])
    return (test.labels, fit.head.probabilities(test.features())), {"validation": basis, "held out": both}


def minibatch(
    train: Rows, validation: Rows, test: Rows, loaded: LoadedConfig
) -> tuple[Predictions, dict[str, Predictions]]:
    """The same, of the other fit."""
    head = fitted("minibatch", train, validation, loaded)
    basis = validation.labels, head.probabilities(validation.features())
    return (test.labels, head.probabilities(test.features())), {"validation": basis}


def scored(predictions: Predictions) -> tuple[float, float]:
    """Calibration error and log loss."""
    return expected_calibration_error(*predictions), float(log_loss(*predictions))


def floor(probabilities: "NDArray[np.float64]", random: np.random.Generator) -> float:
    """Calibration error of these probabilities, were every label drawn by them."""
    drawn = (random.random((_FLOOR_DRAWS, len(probabilities), 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=2)
    return float(np.mean([expected_calibration_error(labels, probabilities) for labels in drawn]))


def compare(loaded: LoadedConfig, splits: int) -> list[dict[str, Any]]:
    """A row for each fit and each way to find a temperature."""
    rows, *_ = rows_of(loaded)
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for seed in range(splits):
        parts, random = split(rows, seed), np.random.default_rng(seed)
        for fit in (logistic_regression, minibatch):
            (labels, plain), bases = fit(*parts, loaded)
            least, before = floor(plain, random), scored((labels, plain))
            for name, basis in bases.items():
                temperature = fit_temperature(*basis)
                after = scored((labels, with_temperature(plain, temperature)))
                found.setdefault((fit.__name__, name), []).append((temperature, least, *before, *after))
    return [{"fit": fit, "basis": basis, **summary(np.array(values))} for (fit, basis), values in found.items()]


def summary(values: "NDArray[np.float64]") -> dict[str, Any]:
    """Of [splits, 6]: temperature, floor, calibration error and log loss before, both after."""
    columns = dict(
        zip(("temperature", "floor", "ece", "log_loss", "ece_after", "log_loss_after"), values.T, strict=True)
    )
    row: dict[str, Any] = {name: round(float(column.mean()), 4) for name, column in columns.items()}
    for name in ("ece", "log_loss"):
        change = columns[f"{name}_after"] - columns[name]
        row[f"{name}_change"] = round(float(change.mean()), 5)
        row[f"{name}_change_se"] = round(float(change.std(ddof=1)) / len(change) ** 0.5, 5)
        row[f"{name}_falls"] = round(float((change < 0).mean()), 3)
    row["temperature_sd"] = round(float(columns["temperature"].std(ddof=1)), 4)
    row["values"] = [[round(float(value), 5) for value in line] for line in values]
    return row


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=40, help="random splits of the images")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    introduce()
    rows = compare(load_config(find_config("solar_cells")), options.splits)
    cells = [
        [
            f"{r['fit']}, {r['basis']}", f"{r['temperature']:.3f} ± {r['temperature_sd']:.3f}", f"{r['floor']:.4f}",
            f"{r['ece']:.4f}", f"{r['ece_after']:.4f}", f"{r['ece_change']:+.4f} ± {r['ece_change_se']:.4f}",
            f"{r['ece_falls']:.2f}", f"{r['log_loss']:.4f}",
            f"{r['log_loss_change']:+.4f} ± {r['log_loss_change_se']:.4f}",
        ]
        for r in rows
    ]  # fmt: skip
    columns = ("fit, temperature from", "temperature", "floor", "ECE", "after", "change", "falls", "log loss", "change")
    print(table(columns, cells))
    save("calibration", options.out, settings={"splits": options.splits}, results=rows)


if __name__ == "__main__":
    main()
