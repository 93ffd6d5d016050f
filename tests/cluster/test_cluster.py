"""What the frozen pass on a cluster decides, and what its actors do, without Ray."""

import importlib.util
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cluster.slow_engine import images_of, slow_extractor

from tlcli.cluster import frozen_pass, session
from tlcli.cluster.frozen_pass import RayPass, divided
from tlcli.cluster.job import Job
from tlcli.cluster.ray_units import Pool
from tlcli.cluster.session import Cluster, check_address
from tlcli.cluster.worker import RESULT, UNIT, UnitWorker
from tlcli.engines.double import FakeEngine
from tlcli.errors import DataError, ModelError, NetworkError, ResourceError, UsageError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.store import row_key
from tlcli.features.units import Unit, UnitResult, UnitRow, units_of
from tlcli.images.items import Item
from tlcli.progress import SILENT


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors set it for their process, which is this one here."""
    monkeypatch.setenv("TLCLI_THREADS", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(made / f"{number}.png")
    (made / "text.png").write_text("no image")
    return made


@pytest.mark.parametrize(
    ("cpus", "gpus", "on_gpu", "expected"),
    [
        (1, 0, False, Pool(1, 1, 0)),
        (2, 0, False, Pool(2, 1, 0)),
        (4, 0, False, Pool(4, 1, 0)),
        (64, 0, False, Pool(16, 4, 0)),
        (64, 8, True, Pool(8, 8, 1)),
        (4, 8, True, Pool(8, 1, 1)),
        (64, 8, False, Pool(16, 4, 0)),
    ],
)
def test_a_cluster_gets_as_many_actors_as_it_has_room_for(cpus: int, gpus: int, on_gpu: bool, expected: Pool) -> None:
    assert Pool.of(Cluster(cpus, gpus, 1, False), on_gpu) == expected


@pytest.mark.parametrize(
    ("rows", "actors", "expected"),
    [(10, 2, [10]), (100, 2, [16] * 6 + [4]), (2000, 1, [200, 200, 112] * 3 + [200, 200, 64]), (20_000, 1, [])],
)
def test_units_are_divided_where_there_are_few(rows: int, actors: int, expected: list[int]) -> None:
    units = units_of([UnitRow(str(number)) for number in range(rows)])
    found = divided(units, Pool(actors, 1, 0))
    assert [len(one.rows) for one in found] == (expected or [len(one.rows) for one in units])
    assert [row for one in found for row in one.rows] == [row for unit in units for row in unit.rows]
    assert {one.number for one in found} == {unit.number for unit in units}


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        RayPass("local")
    assert caught.value.code == "usage.extra_missing"
    assert "tlcli[ray]" in caught.value.hint


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is missing")
def test_addresses_of_rays_client_are_refused() -> None:
    check_address("local")
    with pytest.raises(UsageError) as caught:
        check_address("ray://host:10001")
    assert caught.value.code == "usage.ray_client_address"


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is missing")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto", "nonsense", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_an_error_at_once(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(session, "_CURRENT", tmp_path / "none")
    with pytest.raises(NetworkError) as caught, session.connected(address):
        pass
    assert caught.value.code == "network.no_ray_cluster"


def job_of(extractor: FeatureExtractor) -> Job:
    return Job(extractor.spec, extractor.decoder, extractor.store.key, opener=FakeEngine.open)


def answers(worker: UnitWorker, *units: Unit) -> list[Any]:
    found = worker({UNIT: np.array([pickle.dumps(unit) for unit in units], object)})[RESULT]
    return [pickle.loads(data) for data in found]


def test_an_actor_computes_units_and_collects_what_is_unreadable(folder: Path) -> None:
    extractor, images = slow_extractor(elsewhere=False), images_of(folder)
    rows = tuple(UnitRow(str(image.path), sha256=image.sha256) for image in images)
    worker = UnitWorker(pickle.loads(pickle.dumps(job_of(extractor))))
    (views, first), (_, second) = answers(worker, Unit(0, rows[:3]), Unit(1, rows[3:]))
    assert views == 3
    assert (first.number, first.computed, first.bad) == (0, 3, {})
    assert (second.number, second.computed, list(second.bad)) == (1, 2, [rows[-1].source])
    assert all(row_key(image.sha256, "0") not in extractor.store for image in images)
    extractor.store.reload()
    assert sum(row_key(image.sha256, "0") in extractor.store for image in images) == 5
    double = FakeEngine(extractor.decoder, extractor.store.blocks)
    expected = double.submit(Item(images[0].path)).result()
    assert np.array_equal(extractor.store.read([row_key(images[0].sha256, "0")]), expected)


def test_a_changed_image_is_an_answer_not_a_death(folder: Path) -> None:
    worker = UnitWorker(job_of(slow_extractor(elsewhere=False)))
    (found,) = answers(worker, Unit(0, (UnitRow(str(folder / "0.png"), sha256="0" * 64),)))
    assert isinstance(found, DataError)
    assert found.code == "data.file_changed"


@pytest.mark.parametrize("change", [{"version": "0.0"}, {"key": "f" * 64}])
def test_a_node_that_would_compute_other_features_is_refused(folder: Path, change: dict[str, Any]) -> None:
    job = replace(job_of(slow_extractor(elsewhere=False)), **change)
    (found,) = answers(UnitWorker(job), Unit(0, ()))
    assert isinstance(found, ModelError)
    assert found.code == "model.node_differs"


class Here(RayPass):
    """A cluster whose nodes compute nothing, or write elsewhere."""

    def __post_init__(self) -> None:
        """Needs no Ray."""


def test_nodes_that_write_to_another_folder_are_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Connected:
        def __init__(self, address: str) -> None: ...

        def __enter__(self) -> Cluster:
            return Cluster(2, 0, 1, False)

        def __exit__(self, *_: object) -> None: ...

    def computed(units: list[Unit], job: Job, pool: Pool) -> Any:
        return ((1, UnitResult(unit.number, len(unit.rows), 0)) for unit in units)

    monkeypatch.setattr(frozen_pass, "connected", Connected)
    monkeypatch.setattr(frozen_pass, "compute_on_ray", computed)
    extractor = slow_extractor(elsewhere=False)
    units = units_of([UnitRow(str(image.path), sha256=image.sha256) for image in images_of(folder)])
    with pytest.raises(ResourceError) as caught:
        Here("10.0.0.1:6379")(extractor, units, SILENT)
    assert caught.value.code == "resource.cache_not_shared"
