"""tlcli export: the artefact answers as predict does, in its own runtime, by a program without tlcli."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e.conftest import Tlcli, draw_shapes

from tlcli.export.check import open_artefact
from tlcli.export.runner import Latency, run_artefact

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> tuple[Path, Tlcli]:
    """A folder with a run on drawn images, and the command line in it."""
    from tests.commands import in_process

    folder = draw_shapes(tmp_path_factory.mktemp("export"))
    tlcli = in_process(folder, session_cache)
    assert tlcli("train", "--config", "shapes.yaml", "--name", "plain").code == 0
    return folder, tlcli


@pytest.fixture(scope="module")
def exported(trained: tuple[Path, Tlcli]) -> Path:
    """Its export."""
    folder, tlcli = trained
    done = tlcli("export", "--run", "plain", "--output", "out", "--parity", 12, "--json")
    assert done.code == 0, done.err
    (folder / "printed.json").write_text(done.out)
    return folder / "out"


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports without latencies, which take two more processes and three seconds."""
    monkeypatch.setattr("tlcli.export.writing.time_artefact", lambda *_: {"all": Latency(1.0, 1.0)})


def python(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A Python without tlcli: -I leaves out the environment and the current folder."""
    start = f"import sys; sys.path.insert(0, {str(folder)!r}); sys.modules['tlcli'] = None; "
    run = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-I", "-c", start + run, *map(str, arguments)], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def record(folder: Path) -> Any:
    return json.loads((folder / "export.json").read_text())


def test_openvino_end_to_end(exported: Path) -> None:
    out, found = exported, json.loads((exported.parent / "printed.json").read_text())
    (artefact,) = found["artefacts"]
    assert artefact["parity"][""]["same_class"] == artefact["parity"][""]["images"] == 12
    assert artefact["parity"][""]["max_difference"] <= 1e-3
    assert set(artefact["files"]) == {"openvino-f32/model.xml", "openvino-f32/model.bin"}
    assert artefact["bytes"] == sum((out / name).stat().st_size for name in artefact["files"])
    assert artefact["latency_ms"]["all"]["p50"] > 0
    assert found["preparation_check"] == {"images": 12, "equal": 12, "max_levels": 0, "unreadable": 0}
    assert (out / "labels.txt").read_text() == "dark\nlight\n"
    assert {key: value for key, value in found.items() if key != "folder"} == record(out)
    checked = python(out, out / "check.py")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def all_formats(trained: tuple[Path, Tlcli]) -> Path:
    """An export in every format but OpenVINO's."""
    for module in ("tf2onnx", "onnxruntime", "ai_edge_litert"):
        pytest.importorskip(module)
    folder, tlcli = trained
    done = tlcli(
        "export",
        "--run",
        "plain",
        "--format",
        "onnx,saved_model,keras",
        "--format",
        "tflite",
        "--output",
        "all",
        "--parity",
        6,
    )
    assert done.code == 0, done.err
    return folder / "all"


@pytest.mark.slow
def test_formats_made_from_keras_are_opened_by_their_own_runtimes(all_formats: Path) -> None:
    found = record(all_formats)["artefacts"]
    assert [one["folder"] for one in found] == ["onnx-f32", "saved_model-f32", "keras-f32", "tflite-f32"]
    assert all(one["parity"][""]["max_difference"] <= 1e-3 for one in found)
    sizes = {one["folder"]: one["bytes"] for one in found}
    assert sizes["saved_model-f32"] < 1.5 * sizes["onnx-f32"]  # its graph, and the weights once
    checked = python(all_formats, all_formats / "check.py")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for number, code in enumerate((all_formats / "README.md").read_text().split("```python\n")[1:]):
        (all_formats / f"lines{number}.py").write_text(code.split("```")[0])
        done = python(all_formats, all_formats / f"lines{number}.py")
        assert done.stdout.split() == [record(all_formats)["sample"]["expected"][0]["answer"]], done.stderr


@pytest.mark.slow
def test_onnx_has_the_keys_of_model_api_and_tflite_its_classes(all_formats: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(all_formats / "onnx-f32/model.onnx")
    info = {one.key: one.value for one in model.metadata_props}
    assert info["model_info model_type"] == "Classification"
    assert info["model_info labels"] == "dark light"
    with zipfile.ZipFile(all_formats / "tflite-f32/model.tflite") as archive:
        assert archive.read("labels.txt").decode() == "dark\nlight\n"


@pytest.mark.slow
def test_keras_models_hold_nothing_but_plain_layers(all_formats: Path) -> None:
    with zipfile.ZipFile(all_formats / "keras-f32/model.keras") as archive:
        config = archive.read("config.json").decode()
    modules = set(re.findall(r'"module": "([^"]+)"', config))
    assert all(module.split(".")[0] == "keras" for module in modules), modules
    assert not re.search(r'"class_name": "Lambda"|"registered_name": "[^"]+>', config)


def test_a_file_that_was_changed_fails_the_check(exported: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(exported, tmp_path / "changed")
    weights = changed / "openvino-f32/model.bin"
    data = bytearray(weights.read_bytes())
    data[100] ^= 255
    weights.write_bytes(data)
    assert python(changed, changed / "check.py").returncode == 1


def test_an_artefact_with_another_distance_fails_the_check(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "out")
    about = record(exported)
    about["sample"]["expected"][0]["distance"] += 0.01
    (tmp_path / "out/export.json").write_text(json.dumps(about))
    assert python(tmp_path / "out", tmp_path / "out/check.py").returncode == 1


def test_the_lines_of_the_card_print_the_answer(exported: Path) -> None:
    out = exported
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    (out / "five.py").write_text(code)
    done = python(out, out / "five.py")
    assert done.stdout.strip() == record(out)["sample"]["expected"][0]["answer"], done.stderr


def test_check_prints_the_answers_of_images_and_names_what_it_cannot_use(exported: Path) -> None:
    out, expected = exported, record(exported)["sample"]["expected"][0]
    (out / "text.png").write_text("no image")
    done = python(out, out / "check.py", "openvino-f32", "sample.png")
    assert done.returncode == 0, done.stderr
    assert f"sample.png: {expected['answer']} (probability {max(expected['probabilities']):.4f})" in done.stdout
    for given, code, named in (
        ("openvino-f23", 1, "openvino-f32"),
        ("text.png", 1, "text.png"),
        ("--help", 0, "ARTEFACT"),
    ):
        done = python(out, out / "check.py", given)
        assert (done.returncode, named in done.stdout + done.stderr) == (code, True)
        assert "Traceback" not in done.stderr
    (out / "text.png").unlink()


@pytest.mark.usefixtures("untimed")
def test_nothing_is_overwritten_unless_asked(trained: tuple[Path, Tlcli]) -> None:
    folder, tlcli = trained
    (folder / "mine").mkdir()
    (folder / "mine/notes.txt").write_text("mine")
    assert tlcli("export", "--run", "plain", "--output", "mine", "--overwrite", "--json").error == "usage.export_exists"
    assert tlcli("export", "--run", "plain", "--output", "twice", "--parity", 2).code == 0
    assert (
        tlcli("export", "--run", "plain", "--output", "twice", "--parity", 2, "--json").error == "usage.export_exists"
    )
    assert tlcli("export", "--run", "plain", "--output", "twice", "--parity", 2, "--overwrite").code == 0
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("empty")
    assert tlcli("export", "--run", "plain", "--output", "link", "--parity", 2).code == 0
    assert (folder / "link").is_symlink()
    assert (folder / "empty/export.json").is_file()
    below = tlcli("export", "--run", "plain", "--output", "mine/notes.txt/out", "--json")
    assert (below.code, below.error) == (6, "resource.export_not_written")
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda outputs: {name: one[:, ::-1] for name, one in outputs.items()},
        lambda outputs: {**outputs, "distance": outputs["distance"] + 0.01},
        lambda outputs: {**outputs, "distance": outputs["distance"] * np.nan},
    ],
)
def test_an_artefact_that_answers_otherwise_is_refused(
    wrong: Callable[[Any], Any], trained: tuple[Path, Tlcli], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tlcli = trained
    monkeypatch.setattr("tlcli.export.writing.run_artefact", lambda *given: wrong(run_artefact(*given)))
    done = tlcli("export", "--run", "plain", "--output", "wrong", "--parity", 4, "--json")
    assert (done.error, done.code) == ("model.export_differs", 5)
    assert not (folder / "wrong").exists()


def test_without_images_nothing_can_be_checked(trained: tuple[Path, Tlcli], tmp_path: Path) -> None:
    folder, tlcli = trained
    hidden = folder / "shapes"
    moved = shutil.move(hidden, tmp_path / "elsewhere")
    try:
        assert tlcli("export", "--run", "plain", "--output", "none", "--json").error == "data.export_no_images"
    finally:
        shutil.move(moved, hidden)


def test_a_batch_of_any_size(exported: Path) -> None:
    run = open_artefact("openvino", exported / "openvino-f32/model.xml")
    given = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    together = run(given)["probabilities"]
    alone = np.concatenate([run(one[None])["probabilities"] for one in given])
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.usefixtures("untimed")
def test_several_runs_on_one_backbone_are_one_graph(trained: tuple[Path, Tlcli]) -> None:
    folder, tlcli = trained
    settings = ("--set", "head.fit=minibatch", "--set", "train.epochs=2")
    assert tlcli("train", "--config", "shapes.yaml", "--name", "second one", *settings).code == 0
    done = tlcli("export", "--run", "plain", "--run", "second one", "--output", "both", "--parity", 6, "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert [one["name"] for one in found["heads"]] == ["plain", "second_one"]
    assert all(one["same_class"] == one["images"] == 6 for one in found["artefacts"][0]["parity"].values())
    outputs = open_artefact("openvino", folder / "both/openvino-f32/model.xml")(np.load(folder / "both/sample.npy"))
    assert set(outputs) == {
        "features", "plain_probabilities", "plain_distance", "second_one_probabilities", "second_one_distance",
    }  # fmt: skip
    assert (folder / "both/labels-second_one.txt").read_text() == "dark\nlight\n"
    assert python(folder / "both", folder / "both/check.py").returncode == 0


def test_runs_on_different_backbones_share_no_graph(trained: tuple[Path, Tlcli]) -> None:
    _, tlcli = trained
    assert tlcli("train", "--config", "shapes.yaml", "--name", "larger", "--set", "image.size=48").code == 0
    done = tlcli("export", "--run", "larger", "--run", "plain", "--output", "unlike", "--json")
    assert done.error == "model.export_backbones_differ"


def test_models_with_tiles_are_refused(trained: tuple[Path, Tlcli]) -> None:
    _, tlcli = trained
    assert tlcli("train", "--config", "shapes.yaml", "--name", "tiled", "--set", "image.tiles=[1,2]").code == 0
    assert tlcli("export", "--run", "tiled", "--output", "tiled", "--json").error == "model.export_tiles"


@pytest.mark.usefixtures("untimed")
def test_images_of_any_size(trained: tuple[Path, Tlcli]) -> None:
    folder, tlcli = trained
    done = tlcli("export", "--run", "plain", "--input", "any", "--output", "any", "--parity", 6, "--json")
    assert done.code == 0, done.err
    assert done.json()["preparation"]["input"] == "any"
    assert np.load(folder / "any/sample.npy").shape == (1, 48, 64, 3)
    assert python(folder / "any", folder / "any/check.py").returncode == 0
