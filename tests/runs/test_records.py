"""run.json, metrics.json and history.csv: read as they were written, and validated."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.runs.run_folders import made_run, rows

from tlcli.errors import ModelError
from tlcli.evaluation.split_metrics import measure
from tlcli.features.int8_record import Agreement
from tlcli.heads.fit_record import Step
from tlcli.heads.task import Task
from tlcli.runs.history import read_history, write_history
from tlcli.runs.records import (
    Filtered,
    LeftOutFiles,
    NoneOfThese,
    QuantizedBackbone,
    Reading,
    Skipped,
    read_metrics,
    read_record,
    skipped_images,
    write_metrics,
    write_record,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made_run(tmp_path, "cats/20260101T000000Z-ffff", {"validation": rows("ab", "c"), "test": rows("d", "e")})


def test_a_record_is_read_as_it_was_written(run: Path) -> None:
    record = read_record(run)
    quantized = QuantizedBackbone(graph_sha256="cd" * 32, calibration=("ef" * 32,))
    odd = skipped_images({os.fsdecode(b"caf\xe9.png"): "image.truncated"})
    changed = record.model_copy(
        update={
            "skipped_test": odd,
            "agreement": Agreement("bf16", 100, 0.99, 0.9, 0.98, 0.9, 0.91),
            "backbone": record.backbone.model_copy(update={"quantized": quantized}),
            "reading": Reading(
                notes=("Read as class folders; 2 classes.",),
                left_out=(LeftOutFiles(count=2, reason="images outside class folders", example="caf\udce9.png"),),
            ),
            "none_of_these": NoneOfThese(limit=0.3, validation=0.01),
            "filtered": Filtered(
                excluded={"label": {"train": 2}, "unreadable": {"unread": 1}}, relabelled={"train": 1}
            ),
        }
    )
    write_record(run, changed)
    assert read_record(run) == changed
    assert odd == (Skipped(path="caf\udce9.png", reason="image.truncated"),)


def test_what_a_run_lacks_is_not_in_its_json(run: Path) -> None:
    fields = json.loads((run / "run.json").read_text())
    assert not {"agreement", "reading", "none_of_these", "filtered"} & set(fields)
    assert "quantized" not in fields["backbone"]
    assert fields["head"] == {
        "fit": "logistic_regression", "steps": 3, "chosen_step": 2, "C": 0.1, "temperature": 1.1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("head", []), ("head", {"fit": "guessed"}), ("images", {}), ("images", {"holiday": {"cat": 1}}),
        ("seconds", {"index": float("nan")}), ("data_digest", None), ("skipped", [{"path": "a"}]),
    ],
)  # fmt: skip
def test_a_malformed_record_is_an_error_that_names_the_field(run: Path, field: str, value: Any) -> None:
    fields = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**fields, field: value}))
    with pytest.raises(ModelError) as error:
        read_record(run)
    assert error.value.code == "model.run_malformed"
    assert field in error.value.message


def test_metrics_are_read_as_they_were_written(run: Path) -> None:
    metrics = read_metrics(run)
    assert list(metrics) == ["validation", "test"]
    write_metrics(run, metrics)
    assert read_metrics(run) == metrics


def test_what_was_never_measured_is_null(run: Path) -> None:
    test = measure(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), Task(("cat", "dog")))
    write_metrics(run, {"test": test})
    fields = json.loads((run / "metrics.json").read_text(), parse_constant=pytest.fail)["test"]
    assert fields["per_class"]["dog"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert (fields["never_measured"], fields["roc_auc"]) == (["dog"], None)
    assert read_metrics(run) == {"test": test}


@pytest.mark.parametrize(("field", "value"), [("accuracy", float("nan")), ("accuracy_ci95", [0]), ("per_class", 3)])
def test_malformed_metrics_are_an_error_that_names_the_field(run: Path, field: str, value: Any) -> None:
    fields = json.loads((run / "metrics.json").read_text())
    fields["validation"][field] = value
    (run / "metrics.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError) as error:
        read_metrics(run)
    assert error.value.code == "model.run_malformed"
    assert f"validation.{field}" in error.value.message


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    steps = (Step(1, 0.5, 0.8, 0.6, 0.7, learning_rate=0.01), Step(2, 1 / 3, 0.9, 0.5, 0.75, C=1 / 3000))
    write_history(tmp_path / "history.csv", steps)
    assert read_history(tmp_path / "history.csv") == steps


@pytest.mark.parametrize(
    "text", [None, "step,loss\n1,2\n", "step,loss,accuracy,val_loss,val_accuracy,learning_rate,C\nx"]
)
def test_a_malformed_history_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ModelError) as error:
        read_history(tmp_path / "history.csv")
    assert error.value.code == "model.run_malformed"
