"""tune from the command line: what it reads, what it writes, and how it goes on after it was killed."""

import csv
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import Tlcli
from tests.network_fixtures import convolutional, drawn

from tlcli.config import build_dataset, build_search, build_small_network, build_tune
from tlcli.config.load import load_config
from tlcli.features.extractor import FeatureExtractor
from tlcli.runs.trials import Trial, Trials
from tlcli.tuning import sampled_heads, settings
from tlcli.workflows import tune as workflow

pytestmark = pytest.mark.e2e

GIVEN = ("--config", "shapes.yaml", "--backbones", "mobilenet_v2", "--budget", "5m")


@pytest.fixture
def few_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a search of two seconds."""
    monkeypatch.setattr(settings, "CS", (1e-3, 1e-2, 0.1))
    monkeypatch.setattr(settings, "KERNEL_CS", (1.0, 10.0))
    monkeypatch.setattr(settings, "GAMMAS", (1.0,))
    monkeypatch.setattr(sampled_heads, "ROUNDS", 2)


@pytest.fixture
def quick(shapes: Path, tlcli: Tlcli, few_heads: None) -> Tlcli:
    return tlcli


def leaderboard(folder: Path) -> list[list[str]]:
    with (folder / "leaderboard.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    seconds = lines[0].index("seconds")  # not the same after a kill
    return [line[:seconds] + line[seconds + 1 :] for line in lines]


def tuned(tlcli: Tlcli, *more: str) -> dict[str, Any]:
    done = tlcli("tune", *GIVEN, *more, "--json")
    assert done.code == 0, done.err
    return dict(done.json())


def test_a_search_reads_no_test_image_and_writes_a_config_that_trains(
    quick: Tlcli, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[str, str]] = set()
    extract = FeatureExtractor.extract

    def recorded(self: FeatureExtractor, wanted: Sequence[Any], *more: Any) -> Any:
        seen.update((image.split, image.sha256) for images, _ in wanted for image in images)
        return extract(self, wanted, *more)

    monkeypatch.setattr(FeatureExtractor, "extract", recorded)
    found = tuned(quick)
    assert {split for split, _ in seen} == {"train", "validation"}
    folder = Path(found["directory"])
    assert {path.name for path in folder.iterdir()} >= {
        "tuned.yaml", "tune.json", "leaderboard.csv", "passes.csv", "report.html", "trials.jsonl", "trials.csv",
        "figures",
    }  # fmt: skip
    assert (folder / "figures" / "pareto.png").stat().st_size > 5000
    assert json.loads((folder / "tune.json").read_text())["ending"] == "exhausted"
    best = found["contenders"][0]
    assert best["score"] >= found["given"]["score"]
    assert len(leaderboard(folder)) == len(found["contenders"]) + 2  # the heading, and the config as it is
    assert (found["transfer"], found["no_transfer"]) == (None, "random_weights")  # nothing is pretrained here
    assert found["thresholds"]["objective"] == "accuracy"
    with (folder / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) == found["trials"] == len((folder / "trials.jsonl").read_text().splitlines())
    assert {"pass", "group", "head", "sampled"} <= {one["stage"] for one in trials}
    spent = sum(float(one["seconds"]) for one in trials if one["stage"] in ("pass", "head", "sampled", "transfer"))
    assert 0 < best["seconds"] <= spent + 60
    monkeypatch.setattr(FeatureExtractor, "extract", extract)
    validated = "evaluate.cross_validation={folds: 5, repeats: 1}"
    done = quick("train", "--config", found["config"], "--set", validated, "--json")
    assert done.code == 0, done.err
    assert done.json()["cross_validation"]["accuracy"] > 0.8


def test_a_search_whose_test_images_are_gone_from_the_disk_is_the_same(
    tmp_path: Path, tlcli: Tlcli, few_heads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An own network counts as pretrained: features, pixels, histograms and the network from scratch are compared."""

    def cross_validated(images: Any, *_: object) -> Any:
        return np.linspace(0.4, 0.6, 5)

    monkeypatch.setattr(build_tune, "_is_here", lambda _: False)
    monkeypatch.setattr(build_small_network, "cross_validate_small_network", cross_validated)
    drawn(tmp_path / "data", 20)
    convolutional(tmp_path / "net" / "tiny.onnx")
    own = "dataset:\n  path: data\nimage:\n  resize: squash\n  size: 32\nbackbone:\n  path: net\n  precision: f32\n"
    (tmp_path / "own.yaml").write_text(own)
    index, gone = build_dataset.dataset_index, list[Path]()

    def without_test_files(*given: Any) -> Any:
        found = index(*given)
        for image in found.of("test"):
            image.path.unlink()
            gone.append(image.path)
        return found

    monkeypatch.setattr(workflow, "dataset_index", without_test_files)
    done = tlcli("tune", "--config", "own.yaml", "--json", "--budget", "5m")
    assert done.code == 0, done.err
    assert {one["reference"] for one in done.json()["transfer"]["comparisons"]} == {
        "pixels", "colour_histogram", "from_scratch",
    }  # fmt: skip
    assert gone


def test_other_weights_at_the_same_path_are_another_search(
    tmp_path: Path, tlcli: Tlcli, few_heads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_tune, "_is_here", lambda _: False)
    drawn(tmp_path / "data", 20)
    (tmp_path / "own.yaml").write_text(
        "dataset:\n  path: data\nimage:\n  resize: squash\n  size: 32\nbackbone:\n  path: net\n"
        "evaluate:\n  transfer: null\n"
    )
    folders = []
    for seed in (0, 1, 1):
        convolutional(tmp_path / "net" / "tiny.onnx", seed=seed)
        done = tlcli("tune", "--config", "own.yaml", "--json", "--budget", "1s")
        assert done.code == 0, done.err
        folders.append(done.json()["directory"])
    assert folders[0] != folders[1]
    assert folders[1] == folders[2]


@pytest.mark.parametrize(
    ("more", "why"),
    [("augment.views=1", "augmented"), ("head.fit=minibatch", "other_head"), ("backbone.precision=int8", "int8")],
)
def test_a_config_that_is_not_what_was_searched_is_not_compared(quick: Tlcli, more: str, why: str) -> None:
    found = tuned(quick, "--budget", "1s", "--set", more, "--set", "evaluate.transfer=null")
    assert (found["given"], found["no_given"]) == (None, why)


def test_a_finished_search_is_known_as_it_was_also_without_the_features(quick: Tlcli, session_cache: Path) -> None:
    first = tuned(quick)
    before = leaderboard(Path(first["directory"]))
    shutil.rmtree(session_cache / "features")
    with (Path(first["directory"]) / "trials.jsonl").open() as file:
        kept = [line for line in file if json.loads(line)["what"]["stage"] not in ("transfer", "thresholds")]
    (Path(first["directory"]) / "trials.jsonl").write_text("".join(kept))
    second = tuned(quick)
    assert second["directory"] == first["directory"]
    assert second["trials"] == first["trials"]
    assert second["resumed"] > 0
    assert leaderboard(Path(second["directory"])) == before


def test_killed_at_random_moments_it_has_the_same_leaderboard(
    quick: Tlcli, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while a trial is written leaves half a line."""
    expected = tuned(quick, "--runs-dir", str(shapes / "whole"))
    chance, add = random.Random(7), Trials.add
    left = 0

    def killed(self: Trials, *given: Any) -> Trial:
        nonlocal left
        left -= 1
        found = add(self, *given)
        if left == 0:
            with self._path.open("ab") as file:
                file.truncate(self._path.stat().st_size - chance.randint(0, 40))
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Trials, "add", killed)
    kills = 0
    while True:
        left = chance.randint(1, 12)
        done = quick("tune", *GIVEN, "--json")
        if done.code == 0:
            break
        assert done.code == 130, done.err
        kills += 1
    assert kills > 5
    found = done.json()
    assert leaderboard(Path(found["directory"])) == leaderboard(Path(expected["directory"]))
    assert found["expected"] == expected["expected"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--budget", "soon"), "usage.not_a_duration"),
        (("--metric", "beauty"), "usage.unknown_objective"),
        (("--backbones", "densenet202"), "usage.unknown_backbone"),
        (("--max-mb", "0.001"), "usage.nothing_cheap_enough"),
        (("--set", "tune.metric=beauty"), "config.unknown_objective"),
    ],
)
def test_what_cannot_be_searched_is_refused(quick: Tlcli, more: tuple[str, ...], code: str) -> None:
    done = quick("tune", *GIVEN, *more, "--json")
    assert done.code == 2
    document = done.json()["error"]
    assert code in (document["code"], *(one["code"] for one in document.get("problems", ())))


def test_without_optuna_mini_batch_heads_are_left_out_and_said(quick: Tlcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled_heads, "is_installed", lambda: False)
    done = quick("tune", *GIVEN, "--json")
    assert done.code == 0, done.err
    assert "tlcli[tune]" in done.err
    assert all(one["head"]["fit"] != "minibatch" for one in done.json()["contenders"])
    assert done.json()["no_minibatch"] == "no_optuna"
    assert done.json()["ending"] == "exhausted"


def test_a_mini_batch_winner_trains_as_it_was_tried(quick: Tlcli, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = sampled_heads.SampledFits.scores
    monkeypatch.setattr(sampled_heads.SampledFits, "scores", lambda *given: scores(*given) + 1)
    found = tuned(quick)
    head = found["best"]["head"]
    assert head["fit"] == "minibatch"
    assert head["C"] is None
    with (Path(found["directory"]) / "leaderboard.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert float(first["learning_rate"]) == head["learning_rate"]
    done = quick("train", "--config", found["config"], "--json")
    assert done.code == 0, done.err
    config = load_config(Path(found["config"])).config
    assert config.head.fit == "minibatch"
    assert config.head.dropout == head["dropout"]
    for name in ("optimizer", "learning_rate", "batch_size"):
        assert getattr(config.train, name) == head[name]


def test_a_config_whose_network_is_too_slow_is_left_out_and_the_search_goes_on(
    quick: Tlcli, monkeypatch: pytest.MonkeyPatch
) -> None:
    milliseconds = build_search.ms_per_image

    def slow(extractor: FeatureExtractor, trials: Trials) -> float:
        return 1e9 if extractor.spec.size == (32, 32) else milliseconds(extractor, trials)

    monkeypatch.setattr(build_search, "ms_per_image", slow)
    monkeypatch.setattr(build_search, "input_settings", with_another_size)
    found = tuned(quick)
    assert found["given"] is None
    assert found["ending"] == "budget"
    assert found["contenders"]
    (own,) = (one for one in found["passes"] if one["size"] == [32, 32])
    assert own["images"] == 0
    assert own["left_out"]


def with_another_size(config: Any, name: str, native: tuple[float, float]) -> list[settings.PassSetting]:
    first = settings.PassSetting(name, (32, 32), "squash")
    return [first, settings.PassSetting(name, (64, 64), "squash")]


def test_a_small_budget_ends_the_search_with_what_is_there(quick: Tlcli) -> None:
    found = tuned(quick, "--budget", "0.1s")
    assert found["ending"] == "budget"
    assert found["contenders"]


def test_once_the_time_for_passes_is_over_no_other_network_is_prepared(
    quick: Tlcli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_search, "FOR_PASSES", 0.0)
    found = tuned(quick, "--backbones", "mobilenet_v2,densenet201")
    assert {one["backbone"] for one in found["passes"]} == {"mobilenet_v2"}
    assert found["ending"] == "budget"


def test_an_image_costs_what_its_tiles_cost(quick: Tlcli) -> None:
    found = tuned(quick, "--budget", "1s", "--set", "image.tiles=[2, 2]")
    with (Path(found["directory"]) / "trials.jsonl").open() as file:
        (speed,) = (one["scores"][0] for one in map(json.loads, file) if one["what"]["stage"] == "speed")
    assert found["best"]["ms_per_image"] == pytest.approx(4 * speed * (32 / 224) ** 2, rel=0.01)


def test_another_metric_is_another_search(quick: Tlcli) -> None:
    by_loss = tuned(quick, "--metric", "log_loss")
    assert by_loss["metric"] == "log_loss"
    assert by_loss["thresholds"] is None
    assert by_loss["contenders"][-1]["score"] > 0
    assert by_loss["directory"] != tuned(quick)["directory"]


def test_of_very_many_images_a_sample_is_searched_on(quick: Tlcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlcli.heads.folds._ROWS", 22)
    found = tuned(quick)
    assert 20 <= found["images"] < 30


def test_thresholds_that_help_are_in_the_config_that_trains(quick: Tlcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlcli.tuning.threshold_choice.interval_of", lambda *_: (0.01, 0.02))
    found = tuned(quick, "--metric", "f1_macro")
    assert found["thresholds"]["helps"]
    done = quick("train", "--config", found["config"], "--json")
    assert done.code == 0, done.err
    assert done.json()["thresholds"]["objective"] == "f1_macro"


def test_a_search_says_whether_pretraining_helps(
    tmp_path: Path, tlcli: Tlcli, few_heads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An own network, of which there are no random weights; the network from scratch is trained once, and not within a
    budget that is spent."""
    trained: list[int] = []

    def trains(images: Any, *_: object) -> Any:
        trained.append(len(images))
        return np.array([0.5, 0.6, 0.4, 0.5, 0.45])

    monkeypatch.setattr(build_tune, "_is_here", lambda _: False)
    monkeypatch.setattr(build_small_network, "cross_validate_small_network", trains)
    drawn(tmp_path / "data", 20)
    convolutional(tmp_path / "net" / "tiny.onnx")
    (tmp_path / "own.yaml").write_text(
        "dataset:\n  path: data\nimage:\n  resize: squash\n  size: 32\nbackbone:\n  path: net\n  precision: f32\n"
    )
    given = ("tune", "--config", "own.yaml", "--json", "--budget")
    first, second, third = (tlcli(*given, budget) for budget in ("1s", "5m", "5m"))
    for done in (first, second, third):
        assert done.code == 0, done.err
    assert first.json()["transfer"]["left_out"] == {"random_weights": "own_network", "from_scratch": "no_time"}
    found = second.json()
    assert trained == [60]
    assert found["transfer"]["left_out"] == {"random_weights": "own_network"}
    compared = {one["reference"]: one for one in found["transfer"]["comparisons"]}
    assert set(compared) == {"pixels", "colour_histogram", "from_scratch"}
    assert compared["from_scratch"]["folds"] == 5
    folder = Path(found["directory"])
    assert json.loads((folder / "tune.json").read_text())["transfer"] == found["transfer"]
    assert 'id="transfer"' in (folder / "report.html").read_text()
    assert third.json()["transfer"] == found["transfer"]
    assert tlcli("train", "--config", found["config"]).code == 0
    off = tlcli(*given, "5m", "--set", "evaluate.transfer=null").json()
    assert (off["transfer"], off["no_transfer"], off["directory"]) == (None, "off", found["directory"])
