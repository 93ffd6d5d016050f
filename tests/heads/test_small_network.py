"""A small network trained from scratch: in a process of its own, on small drawn images."""

import sys
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from tlcli.errors import ModelError
from tlcli.features.rows import Rows
from tlcli.heads import small_network
from tlcli.heads.folds import folds_of
from tlcli.heads.small_network import Training, build, cross_validate_small_network
from tlcli.system.lazy import start_tensorflow


def drawn(count: int = 90, side: int = 24) -> "tuple[np.ndarray, Rows]":
    """Noise with a bright line that stands or lies, anywhere: neither its place nor its colour tells which."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = random.integers(0, 120, (count, side, side, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        turned = image if label else image.transpose(1, 0, 2)
        turned[random.integers(2, side - 2)] = 255
    return images, Rows.of(np.empty((count, 0), np.float32), labels)


@pytest.mark.slow
def test_it_learns_what_is_in_the_images_the_same_every_time() -> None:
    images, rows = drawn()
    folds = list(folds_of(rows, 3, 0))
    found = cross_validate_small_network(images, rows, folds)
    assert found is not None
    assert found.shape == (3,)
    assert found.mean() > 0.85
    again = cross_validate_small_network(images, rows, folds, "balanced", Training(flip="both", shift=0.1))
    assert again is not None
    np.testing.assert_array_equal(cross_validate_small_network(images, rows, folds), found)
    assert cross_validate_small_network(images, rows, folds, seconds=0.01) is None


@pytest.mark.slow
def test_time_that_is_over_ends_the_training_of_a_fold_at_once() -> None:
    start_tensorflow()
    images, rows = drawn()
    parts = {"trained0": np.arange(70), "monitored0": np.arange(70, 80), "held0": np.arange(80, 90)}
    arrays = {"images": images, "labels": rows.labels, "weights0": np.ones(70, np.float32), **parts}
    model = build(24, 24, 2, Training())
    model.compile("adam", "sparse_categorical_crossentropy")
    assert small_network._trained(model, small_network._Fold(arrays, 0), monotonic() - 1) is None
    assert int(model.optimizer.iterations) == 3  # of one epoch


@pytest.mark.slow
def test_it_is_as_small_as_the_documentation_says() -> None:
    start_tensorflow()
    assert build(96, 96, 2, Training()).count_params() == 99_186
    assert build(20, 96, 7, Training(flip="horizontal", shift=0.1)).output_shape == (None, 7)


def test_it_is_stopped_by_fitted_images_alone_whole_units(monkeypatch: pytest.MonkeyPatch) -> None:
    images, rows = drawn()
    rows = Rows.of(rows.features(), rows.labels, np.arange(90) // 6)
    seen: list[dict[str, np.ndarray]] = []

    def runs(module: str, request: dict[str, object], *_: object) -> None:
        with np.load(str(request["images"])) as data:
            seen.append({name: data[name] for name in data.files})
        Path(str(request["out"])).write_text("[0.5, 0.75, 1]")

    monkeypatch.setattr(small_network, "run_module", runs)
    folds = list(folds_of(rows, 3, 0))
    found = cross_validate_small_network(images, rows, folds, (1.0, 3.0))
    assert found is not None
    assert found.tolist() == [0.5, 0.75, 1]
    (arrays,) = seen
    for number, (fitted, held) in enumerate(folds):
        trained, monitored = arrays[f"trained{number}"], arrays[f"monitored{number}"]
        assert sorted([*trained, *monitored]) == sorted(fitted)
        assert len(monitored) > 0
        assert not set(rows.units[trained]) & set(rows.units[monitored])
        assert arrays[f"held{number}"].tolist() == held.tolist()
        assert arrays[f"weights{number}"].tolist() == [(1.0, 3.0)[label] for label in rows.labels[trained]]


def test_a_process_that_fails_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    images, rows = drawn(20)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelError) as caught:
        cross_validate_small_network(images, rows, list(folds_of(rows, 2, 0)))
    assert caught.value.code == "model.process_failed"
