"""The training images that a bundle carries: few, of every class; and a limit that holds for others of their kind."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from tlcli.workflows.reference import reference_of

from tlcli.datasets.index import Index, LabelledImage
from tlcli.features.store import Store, row_key
from tlcli.workflows.frozen_pass import FrozenPass

WIDTH = 40


def data(counts: dict[str, int], copies: int = 1, seed: int = 0) -> tuple[Index, FrozenPass]:
    """Clouds of features, one a class; every image ``copies`` times, in one unit."""
    random = np.random.default_rng(seed)
    middles = {label: 3 * random.normal(size=WIDTH) for label in counts}
    images: list[LabelledImage] = []
    features = []
    for label, count in counts.items():
        for number in range(count):
            feature = middles[label] + random.normal(size=WIDTH)
            for copy in range(copies):
                name = f"{label}/{number}-{copy}.png"
                images.append(
                    LabelledImage(Path(name), name, f"{len(images):064x}", label, "train", f"{label}/{number}")
                )
                features.append(feature)
    store = Store(f"{seed:064x}", WIDTH)
    store.append([row_key(one.sha256, "0") for one in images], np.array(features, np.float32))
    frozen = SimpleNamespace(views=("0",), store=store, row=SimpleNamespace(features=WIDTH))
    return Index(Path(), tuple(counts), tuple(images), {}, ()), cast("FrozenPass", frozen)


def test_small_classes_are_kept_whole() -> None:
    index, frozen = data({"many": 3000, "few": 30})
    reference = reference_of(index, frozen, seed=0)
    assert len(reference.names) == 1000
    assert np.bincount(reference.labels).tolist() == [970, 30]
    assert all(
        name.startswith(index.labels[label]) for name, label in zip(reference.names, reference.labels, strict=True)
    )
    np.testing.assert_allclose(np.linalg.norm(reference.features.astype(np.float64), axis=1), 1, atol=1e-3)


def test_one_in_a_hundred_of_the_same_kind_is_beyond_the_limit_and_all_of_another() -> None:
    index, frozen = data({"a": 1500, "b": 1500})
    reference = reference_of(index, frozen, seed=0)
    random = np.random.default_rng(9)
    middles = np.random.default_rng(0)
    middle = 3 * middles.normal(size=WIDTH)
    same = (middle + random.normal(size=(2000, WIDTH))).astype(np.float32)
    other = random.normal(size=(500, WIDTH)).astype(np.float32)
    beyond = [1 - reference.similarities(rows).max(axis=1) > reference.limit for rows in (same, other)]
    assert 0.003 < beyond[0].mean() < 0.03
    assert beyond[1].mean() > 0.99


def test_copies_do_not_make_the_limit_small() -> None:
    alone = reference_of(*data({"a": 300, "b": 300}), seed=0).limit
    copied = reference_of(*data({"a": 300, "b": 300}, copies=2, seed=1), seed=0).limit
    assert copied == pytest.approx(alone, rel=0.2)


def test_equal_seeds_give_equal_references() -> None:
    given = data({"a": 1200, "b": 40})
    first, second = reference_of(*given, seed=3), reference_of(*given, seed=3)
    assert first.features.tobytes() == second.features.tobytes()
    assert (first.names, first.limit) == (second.names, second.limit)
    assert reference_of(*given, seed=4).names != first.names
