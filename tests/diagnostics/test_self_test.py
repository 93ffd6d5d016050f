"""The self-test passes here, and finds what is wrong."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tlcli.backbones.spec import EngineChoice
from tlcli.diagnostics import self_test as module
from tlcli.diagnostics.self_test import check_features, check_head, generate_images, reference_features, run
from tlcli.errors import ModelError


@pytest.mark.parametrize("precision", ["f32", None])
def test_it_passes_here_and_leaves_nothing(
    precision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if precision:
        monkeypatch.setattr(module, "_openvino_precision", lambda: precision)
    steps = list(run())
    assert [(step.name, step.passed) for step in steps] == [("decoder", True), ("engine", True), ("head", True)]
    assert list(tmp_path.iterdir()) == []  # nor in the cache, which would be created here


def test_bfloat16_passes_also_where_every_layer_is_rounded_to_it() -> None:
    def rounded(values: "np.typing.NDArray[np.floating]") -> "np.typing.NDArray[np.float32]":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)

    expected = reference_features(generate_images()[0])
    step = check_features(rounded(expected), expected, "bf16")
    assert step.passed
    assert all(np.array_equal(rounded(kernel), kernel) for kernel in module.kernels())


@pytest.mark.parametrize("choice", [None, EngineChoice("keras", "f32", "")])
def test_without_openvino_the_rest_is_tested(choice: EngineChoice | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(*_: str) -> EngineChoice:
        if choice is None:
            raise ModelError("model.engine_missing", "None.")
        return choice

    monkeypatch.setattr(module, "choose_engine", choose)
    assert [step.passed for step in run()] == [True, None, True]


def test_the_features_expected_are_the_same_numbers_everywhere() -> None:
    features = reference_features(generate_images()[0][:1])[0]
    expected = [0.273, 0.154, 0, 0.006, 0.363, 0.501, 0.339, 0.668, 0, 0.022, 0.156, 0.129, 0.169, 0.1, 0, 0.28]
    assert features == pytest.approx(expected, abs=1e-3)


Pixels = NDArray[np.uint8]


@pytest.mark.parametrize("wrong", [lambda pixels: pixels ^ 1, lambda pixels: np.roll(pixels, 1, axis=2)])
def test_a_decoder_that_gives_other_pixels_is_found(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Pixels], Pixels]
) -> None:
    decode = module._decode
    monkeypatch.setattr(module, "_decode", lambda encoded: wrong(decode(encoded)))
    assert next(run()).passed is False


@pytest.mark.parametrize("wrong", [lambda f: f[:, ::-1], lambda f: f * np.nan, lambda f: 0 * f])
def test_an_engine_that_gives_other_features_is_found(wrong: object) -> None:
    right = reference_features(generate_images()[0])
    assert callable(wrong)
    step = check_features(wrong(right), right, "f32")
    assert step.passed is False


def test_a_head_that_learns_nothing_or_something_else_each_time_is_found() -> None:
    pixels, labels = generate_images()
    features = reference_features(pixels)
    right, other = (module._fit(features * np.float32(scale), labels) for scale in (1, 1.001))
    nothing = module._fit(np.zeros_like(features), labels)
    assert check_head([right, right], features, labels).passed
    assert check_head([right, other], features, labels).passed is False
    assert check_head([nothing, nothing], np.zeros_like(features), labels).passed is False
