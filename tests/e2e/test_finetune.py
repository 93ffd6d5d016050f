"""head.fit: finetune from the command line: what it writes, what predict makes of it, and what is refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tests.commands import Tlcli, in_process

from tlcli.finetuning.request import Epoch

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CONFIG = """
dataset: {path: images, split: {validation: 0.3, test: 0.2}}
image: {size: 32}
backbone: {name: mobilenet_v2, weights: random}
head: {fit: finetune, Cs: [0.01, 0.1]}
finetune: {blocks: 2, views: 1, epochs: 3, learning_rates: [0.003], batch_size: 32, keep: always}
evaluate: {figures: false, transfer: null, cross_validation: null}
"""


def draw(folder: Path, contrast: float = 8) -> None:
    """Two classes of 130 images: stripes across or along, in noise. Frozen features hardly see a contrast of 8,
    and clearly one of 40."""
    random = np.random.default_rng(zlib.crc32(b"stripes"))
    stripes = contrast * np.sin(np.arange(48) * 1.1)[:, None] * np.ones((48, 48))
    for label in ("across", "along"):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(130):
            shown = np.roll(stripes, random.integers(6), axis=0)
            levels = random.normal(128, 50, (48, 48, 3)) + (shown if label == "across" else shown.T)[..., None]
            pixels = np.clip(levels, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / label / f"{number}.png")
    (folder / "c.yaml").write_text(CONFIG)


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> tuple[Path, Tlcli]:
    """A folder with a fine-tuned run."""
    folder = tmp_path_factory.mktemp("stripes")
    draw(folder)
    run = in_process(folder, session_cache)
    done = run("train", "--config", "c.yaml", "--output", "tuned", "--json")
    assert done.code == 0, done.err
    return folder, run


def model(folder: Path) -> Path:
    return folder / "tuned" / "model"


def predicted(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_has_its_last_blocks_and_the_comparison(stripes: tuple[Path, Tlcli]) -> None:
    folder, _ = stripes
    record = json.loads((folder / "tuned/run.json").read_text())
    found = record["finetuning"]
    assert (found["blocks"], found["views"], found["is_kept"]) == (2, 2, True)
    assert found["learning_rate"] == 0.003
    tail = load_file(model(folder) / "tail.safetensors")  # of 320 x 7 x 7 maps: block 16 and the last convolution
    assert (
        found["trained_parameters"] - record["trainable_parameters"] == sum(one.size for one in tail.values()) > 500_000
    )
    assert set(found["proof"]["shifts"]) == {"blur", "noise", "darker", "brighter"}
    assert found["proof"]["images"] == 78
    assert record["head"]["fit"] == "finetune"
    manifest = json.loads((model(folder) / "manifest.json").read_text())
    assert manifest["backbone"]["tail_sha256"] == record["backbone"]["tail_sha256"]
    assert (model(folder) / "tail.safetensors").is_file()
    metrics = json.loads((folder / "tuned/metrics.json").read_text())
    assert metrics["validation"]["accuracy"] == pytest.approx(found["proof"]["plain"]["tuned"]["accuracy"])


def test_predict_answers_as_train_did_without_tensorflow(stripes: tuple[Path, Tlcli]) -> None:
    folder, run = stripes
    rows = [row for row in predicted(folder / "tuned/predictions.csv") if row["split"] == "validation"][:5]
    for row in rows:
        done = run("predict", "--run", "tuned", f"images/{row['path']}", "--json")
        assert done.code == 0, done.err
        (answer,) = done.json()
        assert answer["label"] == row["predicted"]
    code = (
        "import sys; sys.modules['tensorflow'] = None; import tlcli; "
        f"print(tlcli.load('tuned').predict(['images/{rows[0]['path']}'])[0].label)"
    )
    cache = {**os.environ, "TLCLI_CACHE": str(folder / "elsewhere")}
    alone = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=cache, capture_output=True, text=True, check=False
    )
    assert alone.stdout.split()[-1] == rows[0]["predicted"], alone.stderr


def test_evaluate_and_its_page_take_the_fine_tuned_network(stripes: tuple[Path, Tlcli]) -> None:
    folder, run = stripes
    done = run("evaluate", "--run", "tuned", "--json")
    assert done.code == 0, done.err
    report = json.loads((folder / "tuned/report.json").read_text())
    assert report["finetuning"]["blocks"] == 2
    assert 'id="finetuning"' in (folder / "tuned/report.html").read_text()


def test_a_second_training_reuses_the_first(stripes: tuple[Path, Tlcli]) -> None:
    folder, run = stripes
    before = json.loads((model(folder) / "manifest.json").read_text())["backbone"]["tail_sha256"]
    done = run("train", "--config", "c.yaml", "--json")
    assert done.code == 0, done.err
    manifest = json.loads((Path(done.json()["run_dir"]) / "model" / "manifest.json").read_text())
    assert manifest["backbone"]["tail_sha256"] == before
    assert done.json()["seconds"]["fine-tuning"] < 5


def test_without_evidence_the_frozen_head_stays(stripes: tuple[Path, Tlcli]) -> None:
    _, run = stripes
    slow = ("--set", "finetune.learning_rates=[0.0000001]", "--set", "finetune.keep=better")
    tuned = run("train", "--config", "c.yaml", *slow, "--name", "kept", "--json")
    assert tuned.code == 0, tuned.err
    assert tuned.json()["finetuning"]["is_kept"] is False
    frozen = run("train", "--config", "c.yaml", "--set", "head.fit=logistic_regression", "--name", "frozen", "--json")
    assert tuned.json()["metrics"] == frozen.json()["metrics"]
    assert not (Path(tuned.json()["run_dir"]) / "model" / "tail.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (("finetune.learning_rates=[1e30]",), "config.training_diverged"),
        (("finetune.blocks=99",), "model.no_cut"),
        (("image.tiles=[2, 2]",), "config.finetune_unsupported"),
        (("backbone.name=nasnet_mobile",), "config.finetune_unsupported"),
        (("backbone.layers=[stage1]",), "config.finetune_unsupported"),
        (("dataset.split.validation=0.1",), "data.too_few_to_prove"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(
    stripes: tuple[Path, Tlcli], settings: tuple[str, ...], code: str
) -> None:
    _, run = stripes
    done = run("train", "--config", "c.yaml", *(part for one in settings for part in ("--set", one)), "--json")
    assert done.json()["error"]["code"] == code


def test_changed_last_blocks_are_noticed(stripes: tuple[Path, Tlcli], tmp_path: Path) -> None:
    folder, _ = stripes
    tail = model(folder) / "tail.safetensors"
    whole = tail.read_bytes()
    tail.write_bytes(whole[:-4] + b"\0\0\0\1")
    try:
        elsewhere = in_process(folder, tmp_path / "cache")  # no converted network there
        done = elsewhere("predict", "--run", "tuned", "images/across/0.png", "--json")
        assert done.json()["error"]["code"] == "model.bundle_damaged"
    finally:
        tail.write_bytes(whole)


def test_a_killed_training_ends_with_the_same_weights(stripes: tuple[Path, Tlcli], session_cache: Path) -> None:
    folder, run = stripes
    (work,) = (path for path in (session_cache / "finetuned").iterdir() if (path / "tail.safetensors").is_file()
               and json.loads((path / "training.json").read_text())[0]["learning_rate"] == 0.003)  # fmt: skip
    whole = (work / "tail.safetensors").read_bytes()
    epochs = [Epoch(**one) for one in json.loads((work / "training.json").read_text())]
    aside = work.rename(work.with_name("aside"))
    first_final = [one.phase for one in epochs].index("final")
    assert len(epochs) - first_final > 2, "nothing would be left to train after the second kill"
    kill_after_checkpoint(folder, session_cache, work, 2)
    kill_after_checkpoint(folder, session_cache, work, first_final + 2)
    done = run("train", "--config", "c.yaml", "--json")
    assert done.code == 0, done.err
    assert (work / "tail.safetensors").read_bytes() == whole
    again = [Epoch(**one) for one in json.loads((work / "training.json").read_text())]
    assert [one.loss for one in again] == [one.loss for one in epochs]
    assert not work.with_name(f"{work.name}.work").exists()
    aside.rename(work.with_name("old"))


def whole(*more: str) -> tuple[str, ...]:
    """Options that fine-tune the whole network."""
    settings = ("finetune.blocks=all", "finetune.epochs=2", "finetune.mixup=0.2", "image.size=32", *more)
    return tuple(part for one in settings for part in ("--set", one))


def test_the_whole_network_asks_before_it_trains_on_a_cpu(stripes: tuple[Path, Tlcli]) -> None:
    _, run = stripes
    done = run("train", "--config", "c.yaml", *whole(), "--json")
    assert done.json()["error"]["code"] == "config.cost_not_accepted"


def test_the_whole_network_is_trained_kept_and_resumed_with_the_same_bits(
    stripes: tuple[Path, Tlcli], session_cache: Path
) -> None:
    folder, run = stripes
    done = run("train", "--config", "c.yaml", *whole(), "--yes", "--output", "whole", "--json")
    assert done.code == 0, done.err
    record = json.loads((folder / "whole/run.json").read_text())["finetuning"]
    assert (record["blocks"], record.get("views"), record["is_kept"]) == ("all", None, True)
    assert record["trained_parameters"] > 2_000_000
    assert run("evaluate", "--run", "whole", "--quiet").code == 0
    assert 'id="finetuning"' in (folder / "whole/report.html").read_text()
    (row, *_) = (row for row in predicted(folder / "whole/predictions.csv") if row["split"] == "validation")
    (answer,) = run("predict", "--run", "whole", f"images/{row['path']}", "--json").json()
    assert answer["label"] == row["predicted"]
    tail = folder / "whole/model/tail.safetensors"
    before = tail.read_bytes()
    (found,) = (path for path in (session_cache / "finetuned").iterdir() if (path / "tail.safetensors").is_file()
                and (path / "tail.safetensors").read_bytes() == before)  # fmt: skip
    found.rename(found.with_name("whole-aside"))
    kill_after_checkpoint(folder, session_cache, found, 2, *whole(), "--yes")
    done = run("train", "--config", "c.yaml", *whole(), "--output", "whole", "--json")  # accepted once
    assert done.code == 0, done.err
    assert tail.read_bytes() == before


def kill_after_checkpoint(folder: Path, cache: Path, answer: Path, number: int, *options: str) -> None:
    """Starts a training, and kills it when a checkpoint is written."""
    command = [sys.executable, "-m", "tlcli", "train", "--config", "c.yaml", "--quiet", *options]
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "TLCLI_CACHE": str(cache)}, start_new_session=True
    )
    checkpoints = answer.with_name(f"{answer.name}.work")
    while process.poll() is None and not list(checkpoints.glob(f"checkpoint-{number:05d}*")):
        pass
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode < 0


@pytest.mark.parametrize("kind", ["openvino", "tflite"])
def test_the_fine_tuned_network_is_exported(stripes: tuple[Path, Tlcli], kind: str) -> None:
    if kind == "tflite":
        pytest.importorskip("ai_edge_litert")
    _, run = stripes
    done = run("export", "--run", "tuned", "--format", kind, "--output", kind, "--parity", 20, "--json")
    assert done.code == 0, done.err
    found = done.json()
    parity = found["artefacts"][0]["parity"][""]
    assert parity["same_class"] == parity["images"] == 20
    assert parity["max_difference"] <= 1e-3
    assert found["backbone"]["is_finetuned"]
