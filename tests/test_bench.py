"""The programs of bench/: each documents its usage, and what they count and print is right. Nothing is timed here."""

import io
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops
from PIL import Image
from safetensors.numpy import save_file

import doubted_labels
import engine
import explanations
import finetune
import gains
import images
import machine
import many_classes
import measure
import outliers as outliers_bench
import strangers
import thresholds
import transferability
import tune as tune_bench
from tlcli.features.rows import Rows

BENCH = Path(__file__).parents[1] / "bench"
PROGRAMS = (
    "block_weights", "calibration", "cold_start", "coverage", "crop", "decode", "doublings", "doubted_labels",
    "explanations", "export", "extract", "finetune", "gpu", "head_at_scale", "heads", "install_size", "layers",
    "layers_cost", "manifest", "many_classes", "networks", "none_of_these", "outliers", "ray_local", "recipe",
    "remote", "report", "scale", "serve", "strangers", "thresholds", "transfer", "transferability", "tune", "unpack",
    "unseen",
)  # fmt: skip
FIVE = ("cold_start", "decode", "extract", "gpu", "head_at_scale", "ray_local", "recipe", "scale")


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_has_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCH / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"python bench/{name}.py" in printed
    assert name not in FIVE or f"bench/results/{name}.json" in printed.replace("\n", " ")


def test_make_runs_every_program_that_measures() -> None:
    shared = {"engine", "gains", "machine", "measure", "object_server", "peak", "images"}
    assert {path.stem for path in BENCH.glob("*.py")} == {*PROGRAMS, *shared}
    recipe = (BENCH.parent / "Makefile").read_text()
    for name in set(PROGRAMS) - {"unseen"}:
        assert f"bench/{name}.py" in recipe


def test_a_round_of_mini_batch_heads_is_a_setting_of_each_study() -> None:
    found = tune_bench.measure_round(images=60, features=61, epochs=1)
    assert found["fits"] == 35
    assert found["seconds"] > 0


def test_a_search_without_a_comparison_has_a_line_too() -> None:
    """The config as it is may be left out, and a class too small for nested folds."""
    given = {"score": 0.8, "best_ahead_by_ci95": (-0.01, 0.2)}
    expected = {"expected": 0.85, "expected_ci95": (0.8, 0.9)}
    found = {
        "data set": "a", "before": 0.7, "best": {"score": 0.9}, "ahead of before": 0.1,
        "ahead of before ci95": (0.05, 0.15), "test": 0.88, "test interval": (0.8, 0.95), "seconds": 9.0,
        "ending": "budget", "given": given, "expected": expected,
    }  # fmt: skip
    whole, bare = (tune_bench.row_of(one) for one in (found, {**found, "given": None, "expected": None}))
    assert (whole[2], whole[4], whole[5]) == ("0.800", "0.850 (0.800 to 0.900)", "-0.010 to +0.200")
    assert (bare[2], bare[4], bare[5]) == ("-", "-", "-")
    assert len(whole) == len(bare)


def test_an_emptied_cache_holds_nothing_but_weights(tmp_path: Path) -> None:
    for name in ("features/a/b", "weights/w", "digests.sqlite"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    measure.empty(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["weights", "w"]
    measure.empty(tmp_path / "missing")


def test_operations_of_a_tiny_graph_are_counted() -> None:
    image = ops.parameter([1, 4, 8, 8], np.float32)
    plain = ops.convolution(image, _weights(6, 4, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])  # [1, 6, 8, 8]
    grouped = ops.group_convolution(plain, _weights(6, 1, 1, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1])  # [1, 6, 4, 4]
    flat = ops.reshape(grouped, ops.constant(np.array([1, 96])), special_zero=False)
    product = ops.matmul(flat, _weights(10, 96), transpose_a=False, transpose_b=True)  # [1, 10]
    turned = ops.matmul(product, product, transpose_a=True, transpose_b=False)  # [10, 1] x [1, 10]
    graph = openvino.Model([ops.relu(turned)], [image], "tiny")
    counted = sum(engine.macs(operation) for operation in graph.get_ops())
    assert counted == 6 * 64 * 4 * 9 + 6 * 16 * 9 + 10 * 96 + 100


def _weights(*shape: int) -> openvino.Node:
    return ops.constant(np.ones(shape, np.float32))


def test_a_written_graph_costs_two_operations_a_multiply_add(tmp_path: Path) -> None:
    left = ops.parameter([3, 5], np.float32)
    openvino.save_model(
        openvino.Model([ops.matmul(left, _weights(5, 7), False, False)], [left], "m"), tmp_path / "m.xml"
    )
    assert engine.flop_of_graph(tmp_path / "m.xml") == 2 * 3 * 5 * 7


def test_medians_keep_all_values() -> None:
    row = measure.values([3.0, 1.0, 2.0])
    assert row == {"median": 2.0, "values": [3.0, 1.0, 2.0]}
    assert measure.spread(row, 1) == "2.0 (1.0 to 3.0)"
    assert measure.spread(measure.values([1234.5]), 1) == "1,234.5"
    assert measure.ratio(measure.values([9.0]), row) == 4.5


def test_competitors_take_turns() -> None:
    order: list[str] = []
    found = measure.in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [None, None], "b": [None, None]}


def test_tables_are_aligned() -> None:
    assert measure.table(("what", "s"), [("tlcli", 1.5), ("a longer one", 12)]) == (
        "what            s\n------------  ---\ntlcli         1.5\na longer one   12"
    )


def test_settings_name_keys_of_the_config() -> None:
    assert measure.settings(backbone__name="resnet50", train__epochs=3) == [
        "--set", "backbone.name=resnet50", "--set", "train.epochs=3",
    ]  # fmt: skip


def test_time_memory_and_output_of_a_process_are_measured(tmp_path: Path) -> None:
    own = bytearray(600_000_000)  # of this process: must not count as the other's
    program = "import json; held = bytearray(80_000_000); print('first'); print(json.dumps({'a': 1}))"
    done = measure.process([sys.executable, "-c", program], tmp_path)
    assert done.document() == {"a": 1}
    assert done.seconds > 0
    assert done.processor > 0
    assert 80 < done.memory_mb < 200
    assert own


def test_a_process_that_fails_ends_the_program_with_its_stderr(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="some reason"):
        measure.process([sys.executable, "-c", "raise SystemExit('some reason')"], tmp_path)


def test_drawn_images_are_all_different(tmp_path: Path) -> None:
    images.make_tree(tmp_path, {"train": 6, "validation": 4}, ["a", "b"], side=32)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert len(files) == 10
    assert {path.parent.relative_to(tmp_path).as_posix() for path in files} == {
        "train/a", "train/b", "validation/a", "validation/b",
    }  # fmt: skip
    assert len({Image.open(path).tobytes() for path in files}) == 10


def test_images_of_many_classes_are_all_different(tmp_path: Path) -> None:
    many_classes.draw(tmp_path, classes=3, images=2)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert [path.relative_to(tmp_path).as_posix() for path in files] == [
        f"c000{c}/{n}.jpg" for c in "012" for n in "01"
    ]
    assert len({path.read_bytes() for path in files}) == 6


def test_stages_of_one_title_are_added_up() -> None:
    stages = many_classes.Stages()
    for _ in range(2):
        with stages.stage("a"), stages.stage("b"):
            pass
    assert set(stages.seconds) == {"a", "b"}
    assert stages.seconds["a"][0] > stages.seconds["b"][0] > 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_numbered_images_have_other_bytes_and_the_same_pixels(kind: str) -> None:
    plain = images.encoded(images.camera_image(np.random.default_rng(0), 40, 30), kind)
    other = images.numbered(plain, 7)
    assert other not in {plain, images.numbered(plain, 8)}
    assert Image.open(io.BytesIO(other)).tobytes() == Image.open(io.BytesIO(plain)).tobytes()


def test_the_machine_is_described_as_json_and_as_text() -> None:
    found = machine.machine()
    assert json.loads(json.dumps(found)) == found
    assert f"{found['cores']} cores" in machine.named(found)
    assert all(name in machine.named(found) for name in found["instructions"])


def test_an_unavailable_precision_is_skipped_with_its_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "why_unavailable", lambda precision: "not here" if precision == "bf16" else "")
    assert engine.available(["auto", "f32", "bf16"]) == ["auto", "f32"]
    assert "bf16: not here" in capsys.readouterr().out


def test_limits_of_int8_are_lifted_for_random_weights_alone() -> None:
    assert engine.without_limits("int8", "imagenet") == engine.without_limits("f32", "random") == []
    assert "backbone.int8.min_cosine=0" in engine.without_limits("int8", "random")


def test_doubted_labels_flatter_no_more_than_before() -> None:
    """A blind network: dropping what it doubts flatters by a lot, and what is stated now is the figure as it was."""
    drawn, doubted, wrong, _ = doubted_labels.trial(120, 0.6, 0.0, 1)
    stated = {way: of[0] for way, of in drawn.items()}
    assert tuple(drawn) == doubted_labels.WAYS
    assert (doubted > 0.1, wrong) == (True, 0)
    assert stated["dropped"] > stated["nothing done"] + 0.1
    assert stated["left out"] == stated["relabelled"] == stated["nothing done"]


def test_strangers_of_a_tiny_trial_are_the_farthest() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 60))
    features[:, 0] += 12
    rows = Rows.of(features.astype(np.float32), np.arange(200) % 2, np.arange(200))
    strangers = (8 * random.normal(size=(12, 60))).astype(np.float32)
    found = outliers_bench.trial(rows, strangers, 0, 10)
    assert found[4] == 10
    assert found[5] >= 8
    assert max(found[6:]) < 0.03


def test_thresholds_of_a_tiny_trial_help_what_they_are_chosen_for() -> None:
    random = np.random.default_rng(0)
    labels = (np.arange(200) % 8 == 0).astype(np.int64)
    rows = Rows.of((random.normal(size=(200, 5)) + 1.2 * np.eye(5)[labels]).astype(np.float32), labels)
    found = {row["way"]: row for row in thresholds.measured(rows, (0.1, 1.0), 1)}
    assert tuple(found) == tuple(thresholds.WAYS)
    assert found[thresholds.FIRST]["f1_macro"]["difference"] == 0
    for way in ("class_weight balanced", "thresholds: balanced_accuracy"):
        assert found[way]["balanced_accuracy"]["difference"] > 0.1
    assert found["thresholds: balanced_accuracy"]["log_loss"] == found[thresholds.FIRST]["log_loss"]
    assert found["class_weight balanced"]["log_loss"] > found[thresholds.FIRST]["log_loss"] + 0.05


def test_every_score_tells_strangers_from_new_images() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    middles = 4 * random.random((4, 32), np.float32) ** 4
    images_of = (middles[labels] + random.random((120, 32), np.float32) / 2 for _ in range(2))
    known, new = (strangers.Kind(features, labels, np.arange(120)) for features in images_of)
    far = middles[np.full(40, 3)] + random.random((40, 32), np.float32) / 2
    found = strangers.measured(known, new.features, far)
    assert all(auroc > 0.9 for auroc, *_ in found.values())
    assert found["predict"][2] == 1
    assert found["predict"][3] < 0.1
    many = random.random((60, 32), np.float32) * 3
    rejection, _, both, accuracy, wide, lost = strangers.with_other(known, new, far, many)
    assert rejection == 1
    assert both <= 1
    assert min(accuracy, wide) > 0.95
    assert lost < 0.1


def test_explanations_hit_what_is_planted() -> None:
    random = np.random.default_rng(0)
    plain = np.full((explanations.SIDE, explanations.SIDE, 3), 200, np.uint8)
    for draw in (explanations.hole, explanations.crack):
        pixels, defect = explanations.planted(plain, draw(random), 0.5)
        assert 20 < defect.sum() < 600
        assert pixels[~defect].min() > 150 > pixels[defect].min()
        assert explanations.measured(defect.astype(np.float64), defect) == (1.0, 1.0, 1.0)
        assert explanations.measured(-defect.astype(np.float64), defect)[1] < 0.2


def test_scores_of_better_features_rank_them_as_the_accuracy_does(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(160) % 2
    drawn = random.normal(size=(160, 6))
    found = []
    for distance, weights in ((0.0, "random"), (0.7, "imagenet"), (1.4, "imagenet"), (4.0, "imagenet")):
        rows = Rows.of((drawn + distance * labels[:, None]).astype(np.float32), labels)
        scores = transferability.measured(rows, 1.0, None)
        found.append({"data set": "drawn", "images": 160, "network": "n", "weights": weights, **scores})
    taus = transferability.printed(found)["drawn"]
    assert all(of[:2] == pytest.approx([1, 1]) for score, of in taus.items() if score in ("LogME", "H-score"))
    assert all(of[0] is not None and of[0] > 0.5 for score, of in taus.items() if score != "LEEP")
    assert taus["LEEP"] == [None] * 4
    assert "LogME" in capsys.readouterr().out


def test_rank_correlations_of_networks() -> None:
    rows: list[dict[str, float | None]] = [
        {"accuracy": number, "up": number**2, "down": -number, "same": 1.0} for number in (0.1, 0.5, 0.9)
    ]
    rows.append({"accuracy": 0.95, "up": None, "down": None, "same": 1.0})
    assert transferability.correlations(rows, "up") == pytest.approx((1, 1))
    assert transferability.correlations(rows, "down") == pytest.approx((-1, -1))
    assert transferability.correlations(rows, "same") == (None, None)
    assert transferability.correlations(rows[:2], "up") == (None, None)


def drawn_answers(contents: Sequence[int], gained: int, lost: int) -> tuple[gains.Answers, gains.Answers]:
    """Two models on images of one class: the first errs on the first ``gained`` of them, the second on the last."""
    labels, errors = np.zeros(len(contents), np.int64), np.zeros((2, len(contents)), bool)
    errors[0, :gained], errors[1, len(contents) - lost :] = True, True
    names = tuple(map(str, contents))
    first, second = (gains.Answers(names, labels, {"plain": np.stack([~one, one], axis=1) * 1.0}) for one in errors)
    return first, second


def test_images_that_several_splits_test_are_not_independent() -> None:
    def width(splits: Sequence[Sequence[int]], unit_of: dict[str, int]) -> float:
        first, second = zip(*(drawn_answers(contents, 30, 10) for contents in splits), strict=True)
        found = gains.pooled_gain(first, second, unit_of, "plain", 0.25)
        assert found.difference == pytest.approx(0.1)
        assert found.cautious[0] <= found.interval[0] < 0.1 < found.interval[1] <= found.cautious[1]
        return found.interval[1] - found.interval[0]

    own = {str(number): number for number in range(600)}
    one = width([range(200)], own)
    assert width([range(200)] * 3, own) == pytest.approx(one, rel=0.05)
    assert width([range(200), range(200, 400), range(400, 600)], own) == pytest.approx(one / 3**0.5, rel=0.05)
    pairs = {content: number // 2 for content, number in own.items()}  # near duplicates
    assert width([range(200)], pairs) > 1.2 * one


def test_gains_need_the_same_images() -> None:
    (first, _), (_, second) = drawn_answers(range(10), 1, 0), drawn_answers(range(1, 11), 1, 0)
    with pytest.raises(ValueError, match="same images"):
        gains.pooled_gain([first], [second], {}, "plain", 0.2)


def test_balanced_gain_weighs_classes_alike() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    first = np.where(np.arange(100) < 95, 0, 1)  # finds half of the rare class
    difference, (low, high) = gains.balanced_gain(labels, np.arange(100), first, labels)
    assert difference == pytest.approx(0.25)
    assert 0 < low < 0.25 < high < 0.5
    assert gains.balanced_gain(labels, np.arange(100), first, first) == (0.0, (0.0, 0.0))


def test_parts_of_the_study_of_fine_tuning_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "finetune.json"
    assert set(finetune.merge(path, "kills", {"kills": 5})) == {"kills"}
    path.write_text(json.dumps(finetune.merge(path, "kills", {"kills": 5})))
    path.write_text(json.dumps(finetune.merge(path, "predict", {"turns": 1})))
    found = finetune.merge(path, "predict", {"turns": 2})
    assert (found["kills"]["kills"], found["predict"]["turns"]) == (5, 2)
    assert all("machine" in part for part in found.values())
    for step, accuracy in (("a", 0.1), ("b", 0.2), ("a", 0.3)):
        rows = [{"step": step, "accuracy": accuracy}]
        path.write_text(json.dumps(finetune.merge(path, "solar", {"rows": rows})))
    rows = json.loads(path.read_text())["solar"]["rows"]
    assert [(one["step"], one["accuracy"]) for one in rows] == [("a", 0.3), ("b", 0.2)]


def test_steps_of_the_study_of_fine_tuning_have_a_frozen_head_to_compare_with() -> None:
    tuned = [step for step in (*finetune.SOLAR, *finetune.TILES) if step.is_tuned]
    assert len(tuned) > 2
    for step in tuned:
        assert "finetune.keep=always" in step.all_settings
        assert not any(one.startswith(("finetune.", "head.fit")) for one in step.frozen().all_settings)
    assert set(finetune.QUICK) == set(finetune.PARTS) - {"solar", "tiles"}


def test_epochs_on_a_part_of_the_images_count_as_those_on_all(tmp_path: Path) -> None:
    save_file({"probabilities": np.zeros((20, 2))}, tmp_path / "held_out.safetensors")
    epochs = [("rate 0.001", 0, 9.0), ("rate 0.001", 1, 4.0), ("final", 0, 9.0), ("final", 1, 6.0)]
    rows = [{"phase": phase, "epoch": epoch, "seconds": seconds} for phase, epoch, seconds in epochs]
    (tmp_path / "training.json").write_text(json.dumps(rows))
    assert finetune.epochs_of(tmp_path, 100) == [5.0, 6.0]


@pytest.mark.slow
def test_a_tiny_study_of_fine_tuning(tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(session_cache))
    images.make_tree(tmp_path / "images", {"": 160}, ["dark", "light"], side=32)
    given = (
        f"dataset.path={tmp_path / 'images'}", "dataset.split.validation=0.4", "image.size=32",
        "backbone.name=mobilenet_v2", "backbone.weights=random", "head.Cs=[0.01]", "finetune.views=0",
        "finetune.epochs=1", "finetune.learning_rates=[0.001]",
    )  # fmt: skip
    steps = (finetune.Step("all layers"), finetune.Step("last block", is_tuned=True), finetune.Step("no", ("a.b=1",)))
    kept: list[dict[str, Any]] = []
    table = finetune.run_steps("my_images", given, steps, [0], kept.append)
    first, second = kept[-1]["rows"]
    assert (first["step"], second["step"], second["before"]) == ("all layers", "last block", "all layers")
    assert second["gain"] == second["over frozen"]["plain"]  # the row before is its frozen head
    assert second["accuracy"] - first["accuracy"] == pytest.approx(second["gain"]["difference"])
    assert set(second["over frozen"]) == set(second["shifts"]) == set(finetune.VIEWS.values())
    assert table.count("| last block |") == 2
    finetune.cross_validated("my_images", given, steps[:2], ["plain"], 1, kept.append)
    assert [row["images"] for row in kept[-1]["rows"]] == [32, 32]
    assert [len(row["finetuning"]) for row in kept[-1]["rows"]] == [0, 1]
