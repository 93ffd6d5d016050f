import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tlcli.engines.interface import EngineChoice
from tlcli.errors import ResourceError
from tlcli.images.decode import prepare as decode
from tlcli.workflows import self_test as module
from tlcli.workflows.self_test import made_images, network, self_test

F32 = EngineChoice("openvino", "f32", "")


def test_it_passes_here_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    steps = list(self_test(F32))
    assert [(step.name, step.passed) for step in steps] == [("images", True), ("network", True), ("head", True)]
    assert list(tmp_path.iterdir()) == []  # neither in the cache, which would be made here


def test_bfloat16_passes_also_where_every_layer_is_rounded_to_it() -> None:
    def rounded(values: "np.typing.NDArray[np.floating]") -> "np.typing.NDArray[np.float32]":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)

    expected = network(made_images()[0])
    step = module._features_are_right(rounded(expected), expected, "bf16")
    assert step.passed
    assert all(np.array_equal(rounded(kernel), kernel) for kernel in module.kernels())


def test_without_openvino_the_rest_is_tested() -> None:
    for choice in (None, EngineChoice("keras", "f32", "")):
        steps = list(self_test(choice))
        assert [step.passed for step in steps] == [True, None, True]
        assert "OpenVINO does not run here" in steps[1].found


def test_the_features_expected_are_the_same_numbers_everywhere() -> None:
    features = network(made_images()[0][:1])[0]
    expected = [0.273, 0.154, 0, 0.006, 0.363, 0.501, 0.339, 0.668, 0, 0.022, 0.156, 0.129, 0.169, 0.1, 0, 0.28]
    assert features == pytest.approx(expected, abs=1e-3)


def test_a_decoder_that_gives_other_pixels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "image", lambda *arguments: decode(*arguments) ^ 1)
    step = next(self_test(F32))
    assert step.passed is False
    assert "NOT as drawn" in step.found
    monkeypatch.setattr(module, "image", lambda *arguments: np.roll(decode(*arguments), 1, axis=2))
    assert next(self_test(F32)).passed is False


@pytest.mark.parametrize("wrong", [lambda f: f[:, ::-1], lambda f: f * np.nan, lambda f: 0 * f])
def test_a_network_that_gives_other_features_is_found(monkeypatch: pytest.MonkeyPatch, wrong: object) -> None:
    right = network(made_images()[0])
    assert callable(wrong)
    step = module._features_are_right(wrong(right), right, "f32")
    assert step.passed is False


def test_a_head_that_learns_nothing_or_something_else_each_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = made_images()
    features = network(pixels)
    assert module._head_is_fitted(features, labels).passed
    assert not module._head_is_fitted(np.zeros_like(features), labels).passed
    fit, count = module._fit, iter(range(9))
    monkeypatch.setattr(module, "_fit", lambda f, y: fit(f * np.float32(1 + next(count) / 1e3), y))
    step = module._head_is_fitted(features, labels)
    assert step.passed is False
    assert "NOT equal" in step.found


def test_without_a_folder_for_temporary_files_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", os.path.join(os.sep, "no", "such"))  # noqa: PTH118
    with pytest.raises(FileNotFoundError):
        list(self_test(F32))


def test_a_small_folder_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda _: 4096)
    with pytest.raises(ResourceError, match=r"4\.1 KB are free in .*; free some, or set TMPDIR to another folder"):
        list(self_test(F32))
