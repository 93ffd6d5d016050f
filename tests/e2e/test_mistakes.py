"""Mistakes of users end with an exit code, an error code and the values; a traceback fails the runner."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from tests.e2e.conftest import Tlcli

from tlcli.cli import predict as predict_command
from tlcli.model.manifest import sealed

pytestmark = pytest.mark.e2e


def test_typo_in_a_key(tlcli: Tlcli, shapes: Path) -> None:
    (shapes / "shapes.yaml").write_text("dataset:\n  path: shapes\nbackbone:\n  nmae: densenet201\n")
    done = tlcli("train", "--config", "shapes.yaml", "--json")
    assert done.code == 2
    assert done.problems() == [("shapes.yaml:4", "backbone.nmae", "config.unknown_key")]


def test_missing_folder(tlcli: Tlcli, shapes: Path) -> None:
    done = tlcli("train", "--config", "shapes.yaml", "--set", "dataset.path=elsewhere", "--json")
    assert (done.code, done.error) == (3, "data.images_missing")
    assert "elsewhere" in done.err


def test_hint_names_the_same_config_with_its_overrides(tlcli: Tlcli, shapes: Path) -> None:
    given = ("--config", "alien_predator", "--set", "dataset.path=no where", "--set", "image.size=64")
    done = tlcli("train", *given)
    assert done.code == 3
    assert "[data.images_missing]" in done.err
    again = "tlcli fetch --config alien_predator --set 'dataset.path=no where' --set image.size=64"
    assert again in done.err
    (shapes / "no where").mkdir()
    assert again in tlcli("train", *given).err


def test_archive_instead_of_a_folder(tlcli: Tlcli, shapes: Path) -> None:
    shutil.make_archive(str(shapes / "all"), "zip", shapes / "shapes")
    given = ("--config", "shapes.yaml", "--set", "dataset.path=all.zip")
    done = tlcli("train", *given)
    assert done.code == 3
    assert "[data.not_a_folder]" in done.err
    command = shlex.split(done.err.rpartition("tlcli ")[2].strip().rstrip("."))
    assert tlcli(*command).code == 0
    assert len(list((shapes / "all").rglob("*.png"))) == 40


def test_class_with_one_image(tlcli: Tlcli, shapes: Path) -> None:
    for path in list((shapes / "shapes/dark").iterdir())[1:]:
        path.unlink()
    done = tlcli("train", "--config", "shapes.yaml", "--json")
    assert (done.code, done.error) == (3, "data.class_too_small")
    assert "'dark'" in done.err


def test_empty_class(tlcli: Tlcli, shapes: Path) -> None:
    (shapes / "shapes/empty").mkdir()
    done = tlcli("train", "--config", "shapes.yaml", "--json")
    assert (done.code, done.error) == (3, "data.empty_class_folder")
    assert "have no images: empty" in done.err


def test_two_broken_images_in_forty_stop_because_one_percent_is_allowed(tlcli: Tlcli, shapes: Path) -> None:
    for name in ("text", "more"):
        (shapes / f"shapes/dark/{name}.jpg").write_text(f"this is no image but {name}")
    done = tlcli("train", "--config", "shapes.yaml", "--json")
    assert (done.code, done.error) == (3, "data.unreadable_images")
    assert all(value in done.err for value in ("2 of 36", "4.8% of all 42", "dark/text.jpg"))


def test_broken_images_are_skipped_and_listed(tlcli: Tlcli, shapes: Path) -> None:
    whole = shapes / "whole.jpg"
    Image.effect_noise((64, 64), 50).save(whole)
    (shapes / "shapes/dark/cut.jpg").write_bytes(whole.read_bytes()[:700])
    (shapes / "shapes/light/text.jpg").write_text("this is no image")
    done = tlcli("train", "--config", "shapes.yaml", "--set", "dataset.max_bad_fraction=0.2", "--json")
    assert done.code == 0, done.err
    record = json.loads((Path(done.json()["run_dir"]) / "run.json").read_text())
    assert sorted(item["path"] for item in record["skipped"]) == ["dark/cut.jpg", "light/text.jpg"]
    assert (shapes / "shapes/dark/cut.jpg").read_bytes() == whole.read_bytes()[:700]
    tested = tlcli("evaluate", "--json")
    assert tested.code == 0, tested.err
    assert tested.json()["test"]["n"] == 6


def test_weights_that_are_unavailable(tlcli: Tlcli, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlcli.datasets.acquire.downloads.retries.sleep", lambda _: None)
    nowhere = {
        "KERAS_HOME": str(shapes / "keras"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = tlcli("train", "--config", "shapes.yaml", "--set", "backbone.weights=imagenet", "--json", env=nowhere)
    assert (done.code, done.error) == (4, "network.weights_unavailable")
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5" in done.err
    assert str(shapes / "keras" / "models") in done.err


def test_no_run_yet(tlcli: Tlcli) -> None:
    for command in (("evaluate",), ("predict", "x.jpg")):
        done = tlcli(*command, "--json")
        assert (done.code, done.error) == (5, "model.no_runs")


def test_predict_classifies_the_others_when_one_is_unreadable(tlcli: Tlcli, shapes: Path) -> None:
    assert tlcli("train", "--config", "shapes.yaml").code == 0
    (shapes / "text.jpg").write_text("this is no image")
    done = tlcli(
        "predict", "missing.png", "shapes/light/1.png", "text.jpg", "shapes/da*/1?.png", "--json", "--csv", "t.csv"
    )
    assert done.code == 3
    answers = done.json()
    assert [a["path"] for a in answers[:3]] == ["missing.png", "shapes/light/1.png", "text.jpg"]
    assert [a["error"] is None for a in answers] == [False, True, False] + [True] * 10
    assert [a["error_code"] for a in answers[:3]] == ["image.unreadable", None, "image.unknown_format"]
    assert answers[1]["label"] == "light"
    assert len((shapes / "t.csv").read_text().splitlines()) == 1 + len(answers)
    done = tlcli("predict", "shapes/light/1.png", "--csv", "no/t.csv", "--json")
    assert (done.code, done.error) == (2, "usage.no_folder")


def test_the_table_of_predict_begins_with_the_answers_and_replaces_no_file_unasked(tlcli: Tlcli, shapes: Path) -> None:
    assert tlcli("train", "--config", "shapes.yaml").code == 0
    predict = ("predict", "shapes/light/1.png", "--csv", "t.csv", "--min-confidence", "1", "--json")
    table = shapes / "t.csv"
    table.touch()  # an empty file holds nothing to lose
    (answer,) = tlcli(*predict).json()
    assert list(answer)[:5] == ["path", "label", "answer", "best_guess", "probability"]
    assert (answer["label"], answer["answer"], answer["best_guess"]) == (None, "unsure", "light")
    header, row = (line.split(",") for line in table.read_text().splitlines())
    assert header == [*predict_command.COLUMNS, "dark", "light"]
    assert row[:4] == ["shapes/light/1.png", "", "unsure", "light"]
    table.write_text("mine")
    done = tlcli(*predict)
    assert (done.code, done.error, table.read_text()) == (2, "usage.file_exists", "mine")
    assert tlcli(*predict, "--overwrite").code == 0
    assert len(table.read_text().splitlines()) == 2
    done = tlcli(*predict[:2], "--copy-to", "a", "--link-to", "b", "--json")
    assert (done.code, done.error) == (2, "usage.copy_and_link")
    done = tlcli(*predict[:2], "--copy-to", "sorted", "--json")
    assert (done.code, done.json()[0]["sorted_to"]) == (0, "sorted/light/1.png")
    assert (shapes / "sorted/light/1.png").read_bytes() == (shapes / "shapes/light/1.png").read_bytes()


def test_predict_refuses_a_damaged_model_though_its_backbone_is_in_the_cache(tlcli: Tlcli, shapes: Path) -> None:
    assert tlcli("train", "--config", "shapes.yaml").code == 0
    assert tlcli("predict", "shapes/light/1.png").code == 0
    model = shapes / "runs/latest/model"
    whole = (model / "head.safetensors").read_bytes()
    (model / "head.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = tlcli("predict", "shapes/light/1.png", "--json")
    assert (done.code, done.error) == (5, "model.bundle_damaged")
    assert "head.safetensors" in done.err
    (model / "head.safetensors").write_bytes(whole)
    manifest = json.loads((model / "manifest.json").read_text())
    manifest["preparation"]["decoder_version"] = 1
    (model / "manifest.json").write_text(json.dumps(manifest))
    done = tlcli("predict", "shapes/light/1.png", "--json")
    assert (done.code, done.error) == (5, "model.manifest_damaged")
    assert "manifest.json" in done.err
    (model / "manifest.json").write_text(json.dumps(sealed(manifest)))
    done = tlcli("predict", "shapes/light/1.png", "--json")
    assert (done.code, done.error) == (5, "model.decoder_version")


def test_evaluate_refuses_data_that_changed_since_training(tlcli: Tlcli, shapes: Path) -> None:
    assert tlcli("train", "--config", "shapes.yaml", "--set", "head.Cs=[1]").code == 0
    shutil.copy(shapes / "shapes/dark/1.png", shapes / "shapes/dark/new.png")
    done = tlcli("evaluate")
    assert done.code == 3
    assert "[data.changed_since_training]" in done.err
    assert "tlcli train --config shapes.yaml --set 'head.Cs=[1]'" in done.err


@pytest.mark.slow
def test_ten_more_images_cost_ten_features(tlcli: Tlcli, shapes: Path) -> None:
    train = ("train", "--config", "shapes.yaml", "--json", "--set", "dataset.split.test=0")
    assert tlcli(*train).json()["features"] == {"computed": 40, "reused": 0}
    for number in range(10):
        Image.effect_noise((50, 50), 10 + number).save(shapes / f"shapes/dark/new{number}.png")
    assert tlcli(*train).json()["features"] == {"computed": 10, "reused": 40}
    assert tlcli(*train, "--set", "train.seed=3").json()["features"] == {"computed": 0, "reused": 50}
    for choice in ("backbone.layers=last", "backbone.layers=[stage1, last]", "backbone.pooling=max"):
        assert tlcli(*train, "--set", choice).json()["features"] == {"computed": 0, "reused": 50}


def test_evaluate_refuses_weights_that_are_not_those_of_training(
    tlcli: Tlcli, shapes: Path, session_cache: Path
) -> None:
    assert tlcli("train", "--config", "shapes.yaml").code == 0
    arrays = load_file(next((session_cache / "weights").glob("mobilenet_v2-random-*/*.safetensors")))
    own = shapes / "own.safetensors"
    save_file(arrays, own)
    assert tlcli("train", "--config", "shapes.yaml", "--set", f"backbone.weights={own.name}").code == 0
    save_file({name: array * 0.5 for name, array in arrays.items()}, own)
    done = tlcli("evaluate", "--json")
    assert (done.code, done.error) == (5, "model.weights_changed")


@pytest.mark.slow
def test_test_images_that_are_all_broken(tlcli: Tlcli, shapes: Path) -> None:
    for label in ("dark", "light"):
        for split, numbers in (("train", range(14)), ("val", range(14, 20))):
            (shapes / "split" / split / label).mkdir(parents=True)
            for number in numbers:
                shutil.move(shapes / "shapes" / label / f"{number}.png", shapes / "split" / split / label)
        (shapes / "split/test" / label).mkdir(parents=True)
        (shapes / "split/test" / label / "text.png").write_text("this is no image")
    own_splits = ("--set", "dataset.path=split", "--set", "dataset.max_bad_fraction=1")
    assert tlcli("train", "--config", "shapes.yaml", *own_splits).code == 0
    done = tlcli("evaluate", "--json")
    assert (done.code, done.error) == (3, "data.no_test_images")


def test_training_that_diverges_names_the_learning_rate(tlcli: Tlcli, shapes: Path) -> None:
    wild = ("head.fit=minibatch", "train.optimizer=sgd", "train.learning_rate=1e38")
    done = tlcli("train", "--config", "shapes.yaml", "--json", *(word for value in wild for word in ("--set", value)))
    assert (done.code, done.error) == (2, "config.training_diverged")
    assert "train.learning_rate=1e+38" in done.err


def test_predict_imports_no_tensorflow(tlcli: Tlcli, shapes: Path, session_cache: Path) -> None:
    assert tlcli("train", "--config", "shapes.yaml").code == 0
    program = (
        "import sys\nfrom tlcli.cli.app import main\nsys.argv = ['tlcli', 'predict', 'shapes/dark/1.png']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib'} & {n.split('.')[0] for n in sys.modules}\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "TLCLI_CACHE": str(session_cache)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=shapes, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
