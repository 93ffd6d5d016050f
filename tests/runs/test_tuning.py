"""The files of a search."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.reports.tune_sample import METRICS, outcome, with_answers, with_fine_tuning

from tlcli.runs.trials import Trial, Trials
from tlcli.runs.tuning import TuneRecord, record_of, write_leaderboard, write_passes, write_trials, write_tune
from tlcli.tuning.outcome import NotFineTuned


def rows(path: Path) -> list[dict[str, str]]:
    """The lines of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("metric", METRICS)
def test_tune_json_holds_the_whole_record(tmp_path: Path, metric: str) -> None:
    record = record_of(outcome(metric=metric))
    write_tune(tmp_path / "tune.json", outcome(metric=metric))
    assert TuneRecord.model_validate_json((tmp_path / "tune.json").read_text()) == record
    assert record.metric == metric
    assert len(record.contenders) == 20
    assert len(record.passes) == 12
    assert [one.rank for one in record.contenders] == list(range(1, 21))


def test_thresholds_and_transfer_are_recorded(tmp_path: Path) -> None:
    found = with_answers(outcome())
    write_tune(tmp_path / "tune.json", found)
    record = TuneRecord.model_validate_json((tmp_path / "tune.json").read_text())
    assert record == record_of(found)
    assert record.transfer == found.transfer
    assert record.no_transfer is None
    assert record.thresholds
    assert record.thresholds.helps
    write_tune(tmp_path / "tune.json", found.with_transfer("off"))
    document = json.loads((tmp_path / "tune.json").read_text())
    assert (document["transfer"], document["no_transfer"]) == (None, "off")


def test_fine_tuning_is_recorded_or_why_it_was_not_tried(tmp_path: Path) -> None:
    found = with_fine_tuning(outcome(metric="log_loss"))
    write_tune(tmp_path / "tune.json", found)
    record = TuneRecord.model_validate_json((tmp_path / "tune.json").read_text())
    assert record.no_finetuning is None
    assert record.finetuning
    assert record.finetuning.contender.score == pytest.approx(0.19)
    assert record.finetuning.contender.best_ahead_by == -record.finetuning.gain == -0.02
    assert (record.finetuning.folds, record.finetuning.helps) == (2, True)
    write_leaderboard(tmp_path / "leaderboard.csv", found)
    tuned, given = rows(tmp_path / "leaderboard.csv")[-2:]
    assert (tuned["rank"], tuned["fit"], tuned["fold_3"], given["fit"]) == ("", "finetune", "", "logistic_regression")
    late = record_of(replace(found, finetuning=NotFineTuned("no_time", 431.0)))
    assert (late.finetuning, late.no_finetuning, late.finetuning_needs) == (None, "no_time", 431.0)
    assert record_of(outcome()).no_finetuning == "off"


def test_small_results_are_records_too(tmp_path: Path) -> None:
    found = outcome(1, 1, is_expected=False, is_given=False, transfer=False)
    write_tune(tmp_path / "tune.json", found)
    document = json.loads((tmp_path / "tune.json").read_text())
    assert document["expected"] is None
    assert document["given"] is None
    assert document["best"] == document["contenders"][0]
    assert document["best"]["best_ahead_by"] == 0


def test_a_log_loss_is_written_positive_and_the_lead_of_the_best_too() -> None:
    found = outcome(metric="log_loss")
    record = record_of(found)
    assert record.smaller_is_better
    assert record.best.score == pytest.approx(0.21)
    for one in (*record.contenders, record.given):
        assert one
        assert one.score_ci95[0] <= one.score <= one.score_ci95[1]
        assert sum(one.fold_scores) / len(one.fold_scores) == pytest.approx(one.score)
        assert one.best_ahead_by == pytest.approx(one.score - record.best.score)
        assert one.best_ahead_by_ci95[0] <= one.best_ahead_by + 1e-9
        assert one.best_ahead_by - 1e-9 <= one.best_ahead_by_ci95[1]
    assert record.expected
    assert record.expected.expected == pytest.approx(0.217)
    assert record.expected.optimism == pytest.approx(record.expected.expected - record.expected.shown)
    assert all(one.score is None or one.score > 0 for one in record.passes)


def test_accuracy_is_written_as_it_is() -> None:
    found = outcome(metric="accuracy")
    record = record_of(found)
    assert not record.smaller_is_better
    assert record.best.score == found.best.score
    assert record.best.score_ci95 == found.best.interval
    assert record.expected
    assert found.expected
    assert record.expected.optimism == found.expected.optimism


def test_leaderboard_has_a_line_for_each_contender_and_the_config(tmp_path: Path) -> None:
    found = outcome()
    write_leaderboard(tmp_path / "leaderboard.csv", found)
    lines = rows(tmp_path / "leaderboard.csv")
    assert [line["rank"] for line in lines] == [*map(str, range(1, 21)), ""]
    for line, one in zip(lines, (*found.contenders, found.given), strict=True):
        assert one
        assert float(line["score"]) == one.score
        assert float(line["fold_5"]) == one.scores[4]
        assert line["layers"].split() == list(one.head.layers)
        assert line["is_equal"] == str(one.is_equal).lower()
        assert line["gamma"] == ("" if one.head.gamma is None else "0.5")
        assert (int(line["height"]), int(line["width"])) == one.input.size
    front = [line["rank"] for line in lines if line["is_pareto"] == "true"]
    assert front == ["1", "3"]


def test_leaderboard_without_a_config_has_its_contenders_alone(tmp_path: Path) -> None:
    write_leaderboard(tmp_path / "leaderboard.csv", outcome(1, 1, is_given=False))
    assert [line["rank"] for line in rows(tmp_path / "leaderboard.csv")] == ["1"]


def test_trials_csv_has_a_line_for_each_trial_with_the_metric_as_measured(tmp_path: Path) -> None:
    trials = [
        Trial(key="a", what={"stage": "speed", "backbone": "b"}, scores=(3.5,), seconds=0.1),
        Trial(key="b", what={"stage": "pass", "pass": {"size": [32, 64]}, "images": 9}, scores=(-0.2, -0.4), seconds=2),
        Trial(key="c", what={"stage": "sampled"}, scores=(-0.5, float("nan")), seconds=1),
        Trial(key="d", what={"stage": "group"}, scores=(), seconds=0),
        Trial(key="e", what={"stage": "finetune", "fold": 1}, scores=(-0.4, 0.02, 0.1, 0.03), seconds=9),
    ]
    write_trials(tmp_path / "trials.csv", "log_loss", trials)
    first, second, third, last, tuned = rows(tmp_path / "trials.csv")
    assert (first["score"], first["score_1"], first["backbone"]) == ("", "3.5", "b")
    assert (second["pass.size"], second["images"], second["seconds"]) == ("32 64", "9", "2.0")
    assert float(second["score"]) == pytest.approx(0.3)
    assert (tuned["score"], tuned["score_1"], tuned["score_3"], tuned["fold"]) == ("0.4", "0.4", "0.1", "1")
    assert (third["score"], third["score_2"], last["score"], last.get("score_1")) == ("0.5", "", "", None)


def test_seconds_of_a_pass_are_those_of_its_features_and_heads(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    for number, (name, seconds) in enumerate((("a", 1.0), ("a", 2.5), ("b", 4.0))):
        trials.add({"stage": "head", "pass": {"size": (1, 2), "backbone": name}, "n": number}, (0.5,), seconds)
    trials.close()
    again = Trials(tmp_path)
    again.close()
    assert again.seconds_of({"backbone": "a", "size": (1, 2)}) == 3.5


def test_passes_have_a_column_for_each_transferability_score(tmp_path: Path) -> None:
    found = outcome()
    write_passes(tmp_path / "passes.csv", found)
    lines = rows(tmp_path / "passes.csv")
    assert [int(line["images"]) for line in lines] == [one.images for one in found.passes]
    assert [line["left_out"] for line in lines] == [one.left_out for one in found.passes]
    assert float(lines[0]["LogME"]) == 0.412
    assert lines[0]["NLEEP"] == lines[-1]["LogME"] == lines[-1]["score"] == ""
    write_passes(tmp_path / "passes.csv", outcome(1, 1, transfer=False))
    assert "LogME" not in rows(tmp_path / "passes.csv")[0]


def test_a_transferability_score_that_is_not_finite_is_not_defined(tmp_path: Path) -> None:
    found = outcome(1, 1)
    odd = replace(found.passes[0], transfer={"a": float("inf"), "b": float("nan"), "c": 1.0})
    write_tune(tmp_path / "tune.json", replace(found, passes=(odd,)))
    document = json.loads((tmp_path / "tune.json").read_text())
    assert document["passes"][0]["transfer"] == {"a": None, "b": None, "c": 1.0}


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        TuneRecord.model_validate({**record_of(outcome(1, 1)).model_dump(), "more": 1})
