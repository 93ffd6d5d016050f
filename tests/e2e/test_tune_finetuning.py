"""tune with fine-tuning: when it is tried, what it may see, what it writes, and how it goes on.

The training itself is a double, that answers as well as it is told to; but for one slow test.
"""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.commands import Tlcli, in_process
from tests.e2e.test_finetune import draw
from tests.e2e.test_tune import few_heads, leaderboard  # noqa: F401 - a fixture

from tlcli.config import build_finetune, build_search, build_tune_finetuning
from tlcli.config.load import load_config
from tlcli.finetuning.request import Epoch
from tlcli.heads.fit_record import HeldOut
from tlcli.tuning import sampled_heads, search, settings, winner

pytestmark = pytest.mark.e2e

CONFIG = """
dataset: {path: images}
image: {size: 32, resize: squash}
backbone: {name: mobilenet_v2, weights: random}
finetune: {blocks: 2, views: 1, epochs: 3, learning_rates: [0.003]}
evaluate: {figures: false, transfer: null, cross_validation: null}
"""
GIVEN = ("tune", "--config", "c.yaml", "--backbones", "mobilenet_v2", "--json", "--budget")
LABELS = ("dark", "light")


class Training:
    """A double of the training: right for all images that it is asked for, or as wrong as random answers."""

    def __init__(self) -> None:
        self.is_right = True
        self.seconds = 0.01
        """Of an epoch."""
        self.seen: list[set[str]] = []
        """Digests of the images of each training."""
        self.splits: set[str] = set()
        self.ended_at: int | None = None
        """The training that is ended by Ctrl-C."""

    def __call__(
        self, config: Any, images: Sequence[Any], frozen: Any, fit: Any, units: Any, class_weight: Any, progress: Any,
        scored: Sequence[Any], on_epoch: Callable[[Epoch], None],
    ) -> Any:  # fmt: skip
        assert config.finetune.blocks == 2
        assert not {one.sha256 for one in images} & {one.sha256 for one in scored}
        self.splits |= {one.split for one in (*images, *scored)}
        for number in range(4):
            on_epoch(Epoch("rate 0.003", number, 0.003, 0.5, 0.5, 0.5, 0.5, self.seconds, False))
        if len(self.seen) == self.ended_at:
            self.ended_at = None
            raise KeyboardInterrupt
        self.seen.append({one.sha256 for one in images})
        numbers = np.arange(0, len(images), 5)
        truth = np.array([LABELS.index(one.label) for one in scored])
        answers = truth if self.is_right else np.arange(len(truth)) % 2
        labels = units.labels[numbers]
        return SimpleNamespace(scored=sure(answers)), HeldOut(numbers, labels, sure(labels))


def sure(labels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Probabilities [n, 2] of these classes."""
    return np.where(np.eye(2)[labels] > 0, 0.9, 0.1)


@pytest.fixture
def training(tmp_path: Path, few_heads: None, monkeypatch: pytest.MonkeyPatch) -> Training:  # noqa: F811
    """The double, and images of two classes that are hard to tell apart."""
    random, double = np.random.default_rng(int.from_bytes(tmp_path.name.encode()[-8:])), Training()
    for label, level in zip(LABELS, (118, 132), strict=True):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(40):
            pixels = np.clip(random.normal(random.normal(level, 20), 40, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    (tmp_path / "c.yaml").write_text(CONFIG)
    maps = SimpleNamespace(missing_bytes=lambda _: 0, row_blocks=SimpleNamespace(stored_bytes=1))
    monkeypatch.setattr(build_tune_finetuning, "open_activations", lambda *_: (maps, ["plain", "view"]))
    monkeypatch.setattr(build_tune_finetuning, "store_activations", lambda *_: None)
    monkeypatch.setattr(build_tune_finetuning, "train_blocks", double)
    monkeypatch.setattr(build_tune_finetuning, "_START", 0.0)
    only = settings.PassSetting("mobilenet_v2", (32, 32), "squash")
    monkeypatch.setattr(build_search, "input_settings", lambda *_: [only])
    monkeypatch.setattr(search, "all_heads", lambda blocks, _: settings.coarse_heads(blocks))
    monkeypatch.setattr(winner, "AUGMENTATIONS", {"none": settings.AUGMENTATIONS["none"]})
    monkeypatch.setattr(build_finetune, "MIN_VALIDATION", 4)
    monkeypatch.setattr(sampled_heads, "is_installed", lambda: False)
    return double


def found(tlcli: Tlcli, *more: str, budget: str = "5m") -> dict[str, Any]:
    done = tlcli(*GIVEN, budget, *more)
    assert done.code == 0, done.err
    return dict(done.json())


def test_it_is_tried_where_it_is_asked_for_and_in_the_same_search(training: Training, tlcli: Tlcli) -> None:
    without = found(tlcli)
    assert (without["finetuning"], without["no_finetuning"]) == (None, "off")
    assert not training.seen
    with_it = found(tlcli, "--finetune")
    assert len(training.seen) == 5
    assert with_it["no_finetuning"] is None
    assert with_it["directory"] == without["directory"]
    assert [one["fold_scores"] for one in with_it["contenders"]] == [
        one["fold_scores"] for one in without["contenders"]
    ]
    again = found(tlcli, "--set", "tune.finetune=true")
    assert again["finetuning"] == with_it["finetuning"]
    assert len(training.seen) == 5


def test_evidence_puts_it_into_the_config_and_its_line_everywhere(training: Training, tlcli: Tlcli) -> None:
    record = found(tlcli, "--finetune")
    tuned, best, folder = record["finetuning"], record["best"], Path(record["directory"])
    assert training.splits == {"train", "validation"}  # no test image
    every = set.union(*training.seen)
    assert sum(len(every - one) for one in training.seen) == len(every) == record["images"] == tuned["images"]
    assert (tuned["folds"], tuned["of_folds"]) == (5, 5)
    assert tuned["helps"]
    assert tuned["contender"]["score"] == 1.0
    assert tuned["gain"] == pytest.approx(1.0 - best["score"])
    assert 0 < tuned["gain_ci95"][0] < tuned["gain"] < tuned["gain_ci95"][1]
    assert json.loads((folder / "tune.json").read_text())["finetuning"] == tuned
    with (folder / "leaderboard.csv").open(newline="") as file:
        (line,) = (one for one in csv.DictReader(file) if one["fit"] == "finetune")
    assert line["rank"] == ""
    assert float(line["best_ahead_by"]) == -tuned["gain"]
    with (folder / "trials.csv").open(newline="") as file:
        trials = [one for one in csv.DictReader(file) if one["stage"] == "finetune"]
    assert [one["fold"] for one in trials] == ["0", "1", "2", "3", "4"]
    assert {one["score"] for one in trials} == {"1.0"}
    assert "fine-tuned" in (folder / "report.html").read_text()
    config = load_config(Path(record["config"])).config
    assert (config.head.fit, config.finetune.keep) == ("finetune", "always")
    assert (config.finetune.blocks, config.finetune.epochs, config.finetune.views) == (2, 3, 1)
    assert config.head.Cs == (tuned["contender"]["head"]["C"],)
    assert not load_config(Path(record["config"])).without_effect


def test_without_evidence_the_config_has_the_frozen_winner(training: Training, tlcli: Tlcli) -> None:
    training.is_right = False
    record = found(tlcli, "--set", "head.fit=finetune")
    assert (record["given"], record["no_given"]) == (None, "finetune")
    assert not record["finetuning"]["helps"]
    loaded = load_config(Path(record["config"]))
    assert loaded.config.head.fit == record["best"]["head"]["fit"] != "finetune"
    assert not loaded.without_effect


def test_a_kernel_or_mini_batch_winner_is_fine_tuned_from_the_best_linear_head(
    training: Training, tlcli: Tlcli, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(sampled_heads, "is_installed", lambda: True)
    scores = sampled_heads.SampledFits.scores
    monkeypatch.setattr(sampled_heads.SampledFits, "scores", lambda *given: scores(*given) + 1)
    record = found(tlcli, "--finetune", "--set", "train.epochs=2")
    assert record["best"]["head"]["fit"] == "minibatch"
    assert record["finetuning"]["helps"]
    config = load_config(Path(record["config"])).config
    assert config.head.fit == "finetune"
    assert config.head.Cs == (record["finetuning"]["contender"]["head"]["C"],)


def test_a_fold_that_would_end_too_late_is_left_out_with_its_seconds(training: Training, tlcli: Tlcli) -> None:
    training.seconds = 100.0
    record = found(tlcli, "--finetune")
    assert (record["no_finetuning"], record["ending"]) == ("no_time", "budget")
    assert record["finetuning_needs"] == pytest.approx(100 * (1 + 1.25 * 3))
    assert not training.seen
    training.seconds = 0.01
    assert found(tlcli, "--finetune")["finetuning"]["folds"] == 5


def test_a_budget_that_is_spent_leaves_no_training_begun(training: Training, tlcli: Tlcli) -> None:
    record = found(tlcli, "--finetune", budget="0.1s")
    assert record["no_finetuning"] == "no_time"
    assert record["contenders"]
    assert not training.seen


def test_an_ended_search_goes_on_with_the_folds_that_are_left(training: Training, tlcli: Tlcli) -> None:
    whole = found(tlcli, "--finetune", "--runs-dir", "whole")
    training.seen.clear()
    training.ended_at = 2
    assert tlcli(*GIVEN, "5m", "--finetune").code == 130
    resumed = found(tlcli, "--finetune")
    assert len(training.seen) == 5
    assert leaderboard(Path(resumed["directory"])) == leaderboard(Path(whole["directory"]))
    assert resumed["finetuning"]["gain_ci95"] == whole["finetuning"]["gain_ci95"]


def test_fewer_folds_say_on_how_many_images_they_rest(
    training: Training, tlcli: Tlcli, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = build_tune_finetuning._Work.measured

    def late(self: Any, fold: int, progress: Any) -> Any:
        if fold == 2:
            raise build_tune_finetuning._NoTimeError(1)
        return measured(self, fold, progress)

    monkeypatch.setattr(build_tune_finetuning._Work, "measured", late)
    record = found(tlcli, "--finetune")
    tuned = record["finetuning"]
    assert (tuned["folds"], tuned["of_folds"], record["ending"]) == (2, 5, "budget")
    assert len(tuned["contender"]["fold_scores"]) == 2
    assert tuned["images"] < record["images"] / 2
    with (Path(record["directory"]) / "leaderboard.csv").open(newline="") as file:
        (line,) = (one for one in csv.DictReader(file) if one["fit"] == "finetune")
    assert (line["fold_2"], line["fold_3"]) == ("1.0", "")


@pytest.mark.parametrize(
    ("more", "why"),
    [("image.tiles=[2, 2]", "unsupported"), ("dataset.split.validation=0.05", "few_validation")],
)
def test_what_cannot_be_fine_tuned_is_searched_frozen(
    training: Training, tlcli: Tlcli, monkeypatch: pytest.MonkeyPatch, more: str, why: str
) -> None:
    monkeypatch.setattr(build_finetune, "MIN_VALIDATION", 8)
    record = found(tlcli, "--finetune", "--set", more, budget="2s")
    assert (record["no_finetuning"], record["finetuning"]) == (why, None)
    assert load_config(Path(record["config"])).config.head.fit != "finetune"
    assert not training.seen


@pytest.mark.slow
def test_a_search_fine_tunes_in_keras_and_its_config_trains(
    tmp_path: Path, session_cache: Path, few_heads: None, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    draw(tmp_path, contrast=40)
    config = tmp_path / "c.yaml"
    text = config.read_text().replace("fit: finetune, ", "").replace("epochs: 3", "epochs: 1")
    config.write_text(text.replace("[0.003]", "[0.002]"))  # a test of the same cache counts those of 0.003
    run, measured = in_process(tmp_path, session_cache), build_tune_finetuning._Work.measured
    only = settings.PassSetting("mobilenet_v2", (32, 32), "squash")
    monkeypatch.setattr(build_search, "input_settings", lambda *_: [only])

    def late(self: Any, fold: int, progress: Any) -> Any:
        if fold == 1:
            raise build_tune_finetuning._NoTimeError(1)
        return measured(self, fold, progress)

    monkeypatch.setattr(build_tune_finetuning._Work, "measured", late)
    monkeypatch.setattr(sampled_heads, "is_installed", lambda: False)
    monkeypatch.setattr("tlcli.tuning.outcome.FineTuned.helps", property(lambda _: True))
    record = found(run, "--finetune", "--set", "finetune.keep=better", budget="10m")
    tuned = record["finetuning"]
    assert tuned["folds"] == 1
    assert tuned["contender"]["score"] > 0.9  # by labels that were mixed up it would be 0.5
    done = run("train", "--config", record["config"], "--json")
    assert done.code == 0, done.err
    assert done.json()["finetuning"]["is_kept"]
