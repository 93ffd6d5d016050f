"""The limits of precision int8, on features made up here."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from tlcli.config.schema import Config
from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import ModelError
from tlcli.features.pipeline import Extraction
from tlcli.features.store import row_key
from tlcli.heads.head import Head
from tlcli.workflows.frozen_pass import FrozenPass
from tlcli.workflows.int8 import check_features, check_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNT = 40
IMAGES = tuple(
    LabelledImage(Path(f"{n}.png"), f"{n}.png", f"{n:064x}", "no" if n % 2 else "yes", "validation", str(n))
    for n in range(COUNT)
)
INDEX = Index(Path(), ("no", "yes"), IMAGES, {}, ())
EXACT = np.array([[1.0, 0.5 if p.label == "yes" else -0.5] for p in IMAGES], np.float32)
HEAD = Head(np.array([[0.0], [1.0]], np.float32), np.zeros(1, np.float32))  # the second feature's sign is the class


class Features:
    """A store that has them all."""

    def __init__(self, rows: "NDArray[np.float32]") -> None:
        self.rows = {row_key(p.sha256, "0"): row for p, row in zip(IMAGES, rows, strict=True)}

    def read(self, keys: Any) -> "NDArray[np.float32]":
        return np.stack([self.rows[key] for key in keys])


def a_pass(rows: "NDArray[np.float32]", exact: Any = None, bad: dict[str, str] | None = None) -> FrozenPass:
    made = SimpleNamespace(
        views=("0",), store=Features(rows), exact=exact, engine=SimpleNamespace(precision="f32"),
        run=lambda wanted, progress: Extraction(sum(len(images) for images, _ in wanted), 0, bad or {}),
    )  # fmt: skip
    return cast("FrozenPass", made)


def config(**limits: float) -> Config:
    fields = {"dataset": {"path": "x"}, "backbone": {"precision": "int8", "int8": limits}}
    return Config.model_validate(fields, strict=False)


def turned(count: int) -> "NDArray[np.float32]":
    """As EXACT, but for ``count`` images of class yes that now look like no."""
    rows = EXACT.copy()
    rows[: 2 * count : 2, 1] *= -1
    return rows


def test_a_float_precision_has_nothing_to_compare() -> None:
    frozen = a_pass(EXACT)
    assert check_features(INDEX, frozen, config()) is None
    assert check_labels(None, INDEX, frozen, HEAD, config()) is None


def test_what_agrees_is_reported() -> None:
    frozen = a_pass(turned(1), a_pass(EXACT))
    sample = check_features(INDEX, frozen, config())
    assert sample is not None
    assert (len(sample.images), sample.computed) == (COUNT, COUNT)
    found = check_labels(sample, INDEX, frozen, HEAD, config(max_accuracy_drop=0.05))
    assert found is not None
    assert found["cosine_least"] == pytest.approx(0.6)
    assert found["cosine_mean"] == pytest.approx((39 + 0.6) / 40)
    assert found == {
        **found, "against": "f32", "images": 40, "label_agreement": 0.975, "accuracy": 0.975, "float_accuracy": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "limits", "message"),
    [
        (10, {}, r"on 40 images the features have a mean cosine of 0\.9000, and backbone\.int8\.min_cosine asks for"),
        (
            3,
            {},
            r"the head names 92\.5% of them alike, and backbone\.int8\.min_label_agreement asks for at least 0\.95",
        ),
        (2, {}, r"accuracy is 0\.9500 instead of 1\.0000, lower by 0\.0500, and .*max_accuracy_drop asks for at most"),
    ],
)
def test_what_does_not_is_refused_with_what_to_do(count: int, limits: dict[str, float], message: str) -> None:
    frozen = a_pass(turned(count), a_pass(EXACT))
    with pytest.raises(ModelError, match=message) as caught:
        check_labels(check_features(INDEX, frozen, config(**limits)), INDEX, frozen, HEAD, config(**limits))
    assert "--set backbone.precision=auto" in str(caught.value)
    assert "--set backbone.int8.calibration_images=128" in str(caught.value)


def test_a_limit_that_is_lowered_lets_it_pass() -> None:
    limits = {"min_cosine": 0.5, "min_label_agreement": 0.5, "max_accuracy_drop": 0.5}
    frozen = a_pass(turned(10), a_pass(EXACT))
    found = check_labels(check_features(INDEX, frozen, config(**limits)), INDEX, frozen, HEAD, config(**limits))
    assert found is not None
    assert found["label_agreement"] == 0.75


def test_the_sample_is_no_larger_than_asked_and_always_the_same() -> None:
    frozen = a_pass(EXACT, a_pass(EXACT))
    first, second = (check_features(INDEX, frozen, config(sample=7)) for _ in range(2))
    assert first is not None
    assert first == second
    assert len(first.images) == 7


def test_broken_images_do_not_count() -> None:
    bad = {IMAGES[0].sha256: "broken"}
    sample = check_features(INDEX, a_pass(EXACT, a_pass(EXACT, bad=bad)), config())
    assert sample is not None
    assert IMAGES[0] not in sample.images
    everything = {p.sha256: "broken" for p in IMAGES}
    assert check_features(INDEX, a_pass(EXACT, a_pass(EXACT, bad=everything)), config()) is None
