"""Which artefacts there are, and what is refused."""

from pathlib import Path

import pytest

from tlcli.errors import TlcliError
from tlcli.export.formats import FORMATS, wanted_artefacts
from tlcli.export.heads import head_names


def test_every_format_in_every_precision() -> None:
    found = wanted_artefacts(["openvino", "openvino"], ["int8", "f32"], "resized")
    assert [one.folder for one in found] == ["openvino-f32", "openvino-int8"]
    assert [one.path for one in found] == ["openvino-f32/model.xml", "openvino-int8/model.xml"]


@pytest.mark.parametrize(
    ("formats", "precisions", "kind", "code"),
    [
        (["tensorrt"], ["f32"], "resized", "usage.export_format"),
        (["openvino"], ["bf16"], "resized", "usage.export_precision"),
        (["openvino", "keras"], ["f32", "int8"], "resized", "usage.export_precision"),
        (["saved_model"], ["f16"], "resized", "usage.export_precision"),
        (["openvino", "tflite"], ["f32"], "any", "usage.export_input"),
    ],
)
def test_what_does_not_exist_is_refused(formats: list[str], precisions: list[str], kind: str, code: str) -> None:
    with pytest.raises(TlcliError) as caught:
        wanted_artefacts(formats, precisions, kind)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TlcliError) as caught:
        wanted_artefacts(["onnx"], ["f32"], "resized")
    assert caught.value.code == "usage.extra_missing"
    assert all(module in caught.value.message for module in FORMATS["onnx"].modules)


def test_heads_have_different_names(tmp_path: Path) -> None:
    runs = [tmp_path / "solar cells" / "1", tmp_path / "solar cells" / "2", tmp_path / "3d" / "1", tmp_path / "a" / "1"]
    assert head_names(runs[:1], [None]) == ("",)
    assert head_names(runs, [None, None, None, "best one"]) == ("solar_cells", "solar_cells_2", "run_3d", "best_one")
    with pytest.raises(TlcliError) as caught:
        head_names([runs[0], runs[0]], [None, None])
    assert caught.value.code == "usage.export_run_twice"
