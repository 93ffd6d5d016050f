"""The limits of precision int8, with made-up features."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.features.extractors import extractor_of

from tlcli.backbones.blocks import one_block
from tlcli.datasets.index import LabelledImage
from tlcli.errors import ModelError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.int8_agreement import Int8Limits, check_features, check_labels
from tlcli.features.int8_record import Agreement
from tlcli.features.store import Store, row_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNT = 40
IMAGES = tuple(
    LabelledImage(Path(f"{n}.png"), f"{n}.png", f"{n:064x}", "no" if n % 2 else "yes", "validation", str(n))
    for n in range(COUNT)
)
LABELS = ("no", "yes")
EXACT = np.array([[1.0, 0.5 if p.label == "yes" else -0.5] for p in IMAGES], np.float32)
LIMITS = Int8Limits(
    calibration_images=64, sample=200, min_cosine=0.95, min_label_agreement=0.95, max_accuracy_drop=0.02
)


def probabilities(features: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """The sign of the second feature is the class."""
    yes = (features[:, 1] > 0).astype(np.float64)
    return np.stack([1 - yes, yes], axis=1)


def stored(rows: "NDArray[np.float32]", key: str, count: int = COUNT) -> FeatureExtractor:
    """An extractor that has the features of the first ``count`` images; the files of the others do not exist."""
    store = Store(f"{count:04d}{key * 60}", one_block(2))
    store.append([row_key(p.sha256, "0") for p in IMAGES[:count]], rows[:count])
    return extractor_of(store, 2)


def int8(rows: "NDArray[np.float32]", count: int = COUNT) -> FeatureExtractor:
    return replace(stored(rows, "b"), exact=stored(EXACT, "a", count))


def flipped(count: int) -> "NDArray[np.float32]":
    """EXACT, except that ``count`` images of class yes have features of class no."""
    rows = EXACT.copy()
    rows[: 2 * count : 2, 1] *= -1
    return rows


def test_a_float_precision_has_nothing_to_compare() -> None:
    extractor = stored(EXACT, "a")
    assert check_features(IMAGES, extractor, LIMITS) is None
    assert check_labels(None, LABELS, extractor, probabilities, LIMITS) is None


def test_agreement_is_measured() -> None:
    extractor = int8(flipped(1))
    sample = check_features(IMAGES, extractor, LIMITS)
    assert sample is not None
    assert (len(sample.images), sample.computed) == (COUNT, 0)
    limits = replace(LIMITS, max_accuracy_drop=0.05)
    found = check_labels(sample, LABELS, extractor, probabilities, limits)
    assert isinstance(found, Agreement)
    assert vars(found) == {
        "against": "f32", "images": 40, "cosine_mean": pytest.approx((39 + 0.6) / 40),
        "cosine_least": pytest.approx(0.6), "label_agreement": 0.975, "accuracy": 0.975, "float_accuracy": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "limit", "numbers"),
    [
        (10, "min_cosine", ("40", "0.9000", "0.95")),
        (3, "min_label_agreement", ("40", "92.5%", "0.95")),
        (2, "max_accuracy_drop", ("0.9500", "1.0000", "0.0500", "0.02")),
    ],
)
def test_what_is_too_coarse_is_refused_with_the_limit(count: int, limit: str, numbers: tuple[str, ...]) -> None:
    extractor = int8(flipped(count))
    with pytest.raises(ModelError) as caught:
        check_labels(check_features(IMAGES, extractor, LIMITS), LABELS, extractor, probabilities, LIMITS)
    assert caught.value.code == "model.int8_too_coarse"
    assert all(part in caught.value.message for part in (f"backbone.int8.{limit}", *numbers))
    assert "backbone.int8.calibration_images=128" in caught.value.hint


def test_a_lower_limit_is_passed() -> None:
    limits = replace(LIMITS, min_cosine=0.5, min_label_agreement=0.5, max_accuracy_drop=0.5)
    extractor = int8(flipped(10))
    found = check_labels(check_features(IMAGES, extractor, limits), LABELS, extractor, probabilities, limits)
    assert found is not None
    assert found.label_agreement == 0.75


def test_the_sample_has_the_size_asked_for_and_is_always_the_same() -> None:
    first, second = (check_features(IMAGES, int8(EXACT), replace(LIMITS, sample=7)) for _ in range(2))
    assert first is not None
    assert first == second
    assert len(first.images) == 7


def test_unreadable_images_do_not_count() -> None:
    sample = check_features(IMAGES, int8(EXACT, count=COUNT - 1), LIMITS)
    assert sample is not None
    assert set(IMAGES) - set(sample.images) == {IMAGES[-1]}
    assert check_features(IMAGES, int8(EXACT, count=0), LIMITS) is None
