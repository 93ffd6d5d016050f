"""Mixing the images of a batch in pairs."""

import numpy as np
import pytest

from tlcli.finetuning.mixing import Batch, mixed


def batch(rows: int = 8) -> Batch:
    """Row i has maps of i everywhere, the target i, and the weight 1 or 3."""
    number = np.arange(rows, dtype=np.float32)
    maps = np.broadcast_to(number[:, None, None, None], (rows, 10, 12, 3)).copy()
    return Batch(maps, np.repeat(number[:, None], 4, 1), number[:, None], 1 + 2 * (number % 2))


def test_nothing_is_mixed_without_strength() -> None:
    given = batch()
    assert mixed(given, 0, 0, np.random.default_rng(0)) is given


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0), (0, 1.0), (0.4, 1.0)])
@pytest.mark.parametrize("seed", range(8))
def test_targets_and_weights_are_mixed_as_the_images_are(mixup: float, cutmix: float, seed: int) -> None:
    given = batch()
    found = mixed(given, mixup, cutmix, np.random.default_rng(seed))
    mean = found.maps.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.early, np.repeat(mean[:, None], 4, 1), atol=1e-5)
    assert all(one.dtype == np.float32 for one in found)
    np.testing.assert_array_equal(given.maps, batch().maps)
    same = given._replace(weights=np.ones(8, np.float32))
    found = mixed(same, mixup, cutmix, np.random.default_rng(seed))
    np.testing.assert_allclose(found.targets[:, 0], mean, atol=1e-5)
    np.testing.assert_allclose(found.weights, 1, atol=1e-5)


def test_a_rare_class_keeps_its_weight_in_a_mixed_image() -> None:
    given = batch()
    found = mixed(given, 1.0, 0, np.random.default_rng(3))
    products = given.targets[:, 0] * given.weights
    mixed_products = found.targets[:, 0] * found.weights
    share = (found.maps[:, 0, 0, 0] - np.arange(8)) != 0
    assert share.any()
    assert not np.allclose(found.targets[:, 0], found.maps[:, 0, 0, 0])
    assert mixed_products.sum() == pytest.approx(products.sum(), rel=1e-5)  # a permutation, in equal shares


def test_mixup_blends_and_cutmix_replaces() -> None:
    blended, cut = mixed(batch(), 1.0, 0, np.random.default_rng(3)), mixed(batch(), 0, 1.0, np.random.default_rng(3))
    assert all(len(np.unique(one)) == 1 for one in blended.maps)
    assert (np.unique(cut.maps) == np.arange(8)).all()
    assert max(len(np.unique(one)) for one in cut.maps) == 2
    both = [mixed(batch(), 1.0, 1.0, np.random.default_rng(seed)) for seed in range(20)]
    ways = {max(len(np.unique(one)) for one in found.maps) for found in both}
    assert ways == {1, 2}


def test_one_row_is_mixed_with_itself() -> None:
    found = mixed(batch(1), 1.0, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(found.maps, batch(1).maps)
