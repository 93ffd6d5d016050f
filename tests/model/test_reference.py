"""The reference images: few, of every class; and a limit that holds for other images of these classes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tlcli.features.rows import Rows
from tlcli.model.reference import Reference, build_reference, distances_of_others

WIDTH = 40


def data(counts: dict[str, int], copies: int = 1, seed: int = 0) -> tuple[Rows, list[str]]:
    """Clouds of features, one a class; every image ``copies`` times, in one unit."""
    random = np.random.default_rng(seed)
    middles = {label: 3 * random.normal(size=WIDTH) for label in counts}
    features: list[NDArray[np.float64]] = []
    labels, units, names = [], [], []
    for number, (label, count) in enumerate(counts.items()):
        for image in range(count):
            feature = middles[label] + random.normal(size=WIDTH)
            unit = len(features) // copies
            for copy in range(copies):
                names.append(f"{label}/{image}-{copy}.png")
                features.append(feature)
                labels.append(number)
                units.append(unit)
    return Rows.of(np.array(features, np.float32), np.array(labels), np.array(units)), names


def reference_of(given: tuple[Rows, list[str]], seed: int = 0) -> Reference:
    return build_reference(*given, seed)


def test_small_classes_are_kept_whole() -> None:
    reference = reference_of(data({"many": 3000, "few": 30}))
    assert len(reference.names) == 1000
    assert np.bincount(reference.labels).tolist() == [970, 30]
    for label, name in zip(reference.labels, reference.names, strict=True):
        assert name.startswith(("many", "few")[label])
    np.testing.assert_allclose(np.linalg.norm(reference.features.astype(np.float64), axis=1), 1, atol=1e-3)


def test_one_in_a_hundred_of_the_same_classes_is_out_of_distribution_and_all_of_others() -> None:
    reference = reference_of(data({"a": 1500, "b": 1500}))
    random = np.random.default_rng(9)
    middle = 3 * np.random.default_rng(0).normal(size=WIDTH)
    same = (middle + random.normal(size=(2000, WIDTH))).astype(np.float32)
    other = random.normal(size=(500, WIDTH)).astype(np.float32)
    of_same, of_other = (
        reference.out_of_distribution(Rows.of(features, np.zeros(len(features), np.int64)))
        for features in (same, other)
    )
    assert 0.003 < of_same < 0.03
    assert of_other > 0.99


def test_copies_do_not_make_the_limit_small() -> None:
    alone = reference_of(data({"a": 300, "b": 300})).limit
    copied = reference_of(data({"a": 300, "b": 300}, copies=2, seed=1)).limit
    assert copied == pytest.approx(alone, rel=0.2)


@pytest.mark.parametrize("versions", [1, 3, 10])
def test_versions_in_units_of_their_own_do_not_make_the_limit_small(versions: int) -> None:
    alone, _ = data({"a": 300, "b": 300})
    features = np.repeat(alone.read(np.arange(600)), 1 + versions, axis=0)
    features += np.random.default_rng(1).normal(scale=0.1, size=features.shape).astype(np.float32)
    rows = Rows.of(features, np.repeat(alone.labels, 1 + versions))
    limit = build_reference(rows, [str(number) for number in range(len(rows))], 0).limit
    assert limit == pytest.approx(reference_of((alone, [str(number) for number in range(600)])).limit, rel=0.25)


def test_distances_of_others_are_those_after_the_steepest_rise() -> None:
    distances = np.array([[0.1, 0.11, 0.3, 0.31], [0.1, 0.15, 0.2, 0.3], [0, 0, 0.2, np.inf], [np.inf] * 4], np.float32)
    np.testing.assert_allclose(distances_of_others(distances), np.array([0.3, 0.1, 0.2, np.inf], np.float32))
    np.testing.assert_allclose(distances_of_others(distances[:, :1]), distances[:, 0])


def test_equal_seeds_give_equal_references() -> None:
    given = data({"a": 1200, "b": 40})
    first, second = reference_of(given, seed=3), reference_of(given, seed=3)
    assert first.features.tobytes() == second.features.tobytes()
    assert (first.names, first.limit) == (second.names, second.limit)
    assert reference_of(given, seed=4).names != first.names
