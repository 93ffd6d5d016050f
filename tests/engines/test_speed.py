"""The speed of a backbone: how it is measured, kept and found again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engines.opened import spec_of

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import Weights
from tlcli.engines import speed
from tlcli.engines.double import FakeEngine
from tlcli.engines.speed import any_speed_is_known, known_speed, measure_speed
from tlcli.errors import ModelError
from tlcli.images.items import Decoder
from tlcli.progress import SILENT, Progress
from tlcli.system.files import cache_folder

ROW = CATALOG["efficientnet_lite1"]


@pytest.fixture
def spec() -> BackboneSpec:
    return spec_of(ROW, ROW.size, Weights(None, "0" * 64))


def measured(spec: BackboneSpec) -> speed.Speed:
    return measure_speed(spec, seconds=0.05, opener=FakeEngine.open)


def test_a_speed_is_measured_and_found_again(spec: BackboneSpec) -> None:
    assert not any_speed_is_known()
    assert known_speed(ROW, spec.engine) is None
    found = measured(spec)
    assert found.images >= 4
    assert found.ms_per_image == pytest.approx(50 / found.images, rel=0.9)
    assert (found.engine, found.precision) == ("openvino", "f32")
    assert any_speed_is_known()
    assert known_speed(ROW, spec.engine) == found


def test_it_is_not_that_of_another_engine_size_or_number_of_threads(
    spec: BackboneSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(spec)
    for other in (
        EngineChoice("keras", "f32", ""),
        EngineChoice("openvino", "bf16", ""),
        replace(spec.engine, version="9"),
    ):
        assert known_speed(ROW, other) is None
    assert known_speed(replace(ROW, size=32), spec.engine) is None
    assert known_speed(CATALOG["efficientnet_lite0"], spec.engine) is None
    monkeypatch.setattr(speed, "threads", lambda: 77)
    assert known_speed(ROW, spec.engine) is None


def test_images_have_the_native_size_and_the_engine_is_closed(spec: BackboneSpec) -> None:
    sizes, closed = set[tuple[int, ...]](), list[bool]()

    class Recorder(FakeEngine):
        def feature(self, pixels):  # type: ignore[no-untyped-def]
            sizes.add(pixels.shape)
            return super().feature(pixels)

        def close(self) -> None:
            closed.append(True)
            super().close()

    measure_speed(spec, seconds=0, opener=Recorder.open)
    assert sizes == {(240, 240, 3)}
    assert closed == [True]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"ms_per_image": 1}', "\x00"])
def test_a_damaged_record_is_no_speed(spec: BackboneSpec, text: str) -> None:
    measured(spec)
    (record,) = (cache_folder() / "speed").iterdir()
    assert json.loads(record.read_text())["threads"] >= 1
    record.write_text(text)
    assert known_speed(ROW, spec.engine) is None


def test_a_cache_that_is_a_file_is_no_failure(spec: BackboneSpec, tmp_path: Path) -> None:
    cache_folder().write_text("")
    assert measured(spec).images
    assert not any_speed_is_known()
    assert known_speed(ROW, spec.engine) is None


def test_an_engine_that_fails_is_an_error_and_nothing_is_kept(spec: BackboneSpec) -> None:
    class Failing(FakeEngine):
        @classmethod
        def open(cls, spec: BackboneSpec, decoder: Decoder, progress: Progress = SILENT) -> FakeEngine:
            raise ModelError("model.weights_mismatch", "No.")

    with pytest.raises(ModelError):
        measure_speed(spec, opener=Failing.open)
    assert not any_speed_is_known()
