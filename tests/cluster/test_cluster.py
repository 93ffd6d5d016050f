"""What the frozen pass on a cluster decides, and what its actors do, without Ray."""

import importlib.util
import os
import pickle
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cluster.slow_engine import images_of, slow_extractor

from tlcli.cluster import frozen_pass, ray_units, session, worker
from tlcli.cluster.frozen_pass import RayPass, divided
from tlcli.cluster.job import Job
from tlcli.cluster.ray_units import Pool, compute_on_ray
from tlcli.cluster.session import Cluster, Node, check_address, with_a_worker
from tlcli.cluster.worker import NUMBER, RESULT, UNIT, Answer, Unanswered, UnitWorker
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


def nodes(*given: int | tuple[int, int], is_local: bool = True) -> Cluster:
    """Of so many cores each, or cores and GPUs."""
    return Cluster(tuple(Node(*one) if isinstance(one, tuple) else Node(one) for one in given), is_local)


@pytest.mark.parametrize(
    ("cluster", "on_gpu", "expected"),
    [
        (nodes(1), False, Pool(1, 1, 0)),
        (nodes(2), False, Pool(2, 1, 0)),
        (nodes(4), False, Pool(4, 1, 0)),
        (nodes(64), False, Pool(16, 4, 0)),
        (nodes((64, 8)), True, Pool(8, 8, 1)),
        (nodes((64, 8)), False, Pool(16, 4, 0)),
        (nodes(3, 3), False, Pool(2, 3, 0)),  # four cores are on no node
        (nodes(2, 2, 2), False, Pool(3, 2, 0)),
        (nodes(6, 6), False, Pool(4, 3, 0)),  # four each leave a third unused
        (nodes(0, 8, 8), False, Pool(4, 4, 0)),  # the head
        (nodes(64, 3), False, Pool(16, 4, 0)),  # one small node makes no small actors
        (nodes((16, 1), 64), True, Pool(1, 16, 1)),  # the cores of nodes without a GPU are no help
        (nodes((16, 1), (8, 1), 0), True, Pool(2, 8, 1)),
        (nodes((4, 8)), True, Pool(4, 1, 1)),
        (nodes((0, 1), 8), True, Pool(2, 4, 0)),
    ],
)
def test_a_cluster_gets_as_many_actors_as_its_nodes_have_room_for(
    cluster: Cluster, on_gpu: bool, expected: Pool
) -> None:
    found = Pool.of(cluster, on_gpu)
    assert found == expected
    room = [node for node in cluster.nodes if not found.gpus or node.gpus]
    assert sum(node.cpus // found.cores for node in room) >= found.actors


def test_a_cluster_that_may_grow_gets_an_actor_for_ten_units() -> None:
    here, cluster = Pool.of(nodes(16), False), Pool.of(nodes(0, 16, is_local=False), False)
    assert (here.actors, cluster.actors) == (4, 4)
    assert [here.most(units) for units in (1, 40, 41, 2000)] == [4, 4, 4, 4]
    assert [cluster.most(units) for units in (1, 40, 41, 2000)] == [4, 4, 5, 200]


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


class Autoscaler:
    """What a cluster without workers needs of Ray: a task is never run, or a node comes for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, comes: bool) -> None:
        self.asked: list[dict[str, float]] = []
        self.cancelled = 0
        self._comes = comes
        module, exceptions = ModuleType("ray"), ModuleType("ray.exceptions")
        vars(module).update(remote=self.remote, get=self.get, cancel=self.cancel, nodes=self.nodes)
        vars(exceptions).update(GetTimeoutError=TimeoutError)
        monkeypatch.setitem(sys.modules, "ray", module)
        monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)

    def remote(self, **resources: float) -> Any:
        """Asks for a node."""
        self.asked.append(resources)
        return lambda function: SimpleNamespace(remote=function)

    def get(self, task: object, timeout: float) -> None:
        """Waits for it."""
        if not self._comes:
            raise TimeoutError

    def cancel(self, task: object) -> None:
        """Waits no longer."""
        self.cancelled += 1

    def nodes(self) -> list[dict[str, Any]]:
        """The head, a worker that is gone, and the one that came."""
        came = [{"Alive": True, "Resources": {"CPU": 16.0, "GPU": 1.0}}] if self._comes else []
        return [{"Alive": True, "Resources": {}}, {"Alive": False, "Resources": {"CPU": 8.0}}, *came]


def test_a_cluster_whose_workers_are_gone_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Autoscaler(monkeypatch, comes=True)
    found = with_a_worker(nodes(0, is_local=False), on_gpu=True)
    assert (found, ray.asked) == (nodes(0, (16, 1), is_local=False), [{"num_cpus": 1, "num_gpus": 1}])
    assert with_a_worker(found) is found
    assert len(ray.asked) == 1


def test_a_cluster_that_gets_no_worker_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Autoscaler(monkeypatch, comes=False)
    with pytest.raises(ResourceError) as caught:
        with_a_worker(nodes(0, is_local=False))
    assert caught.value.code == "resource.no_worker"
    assert "Ray on 1 node: 0 cores" in caught.value.message
    assert ray.cancelled == 1


def job_of(extractor: FeatureExtractor) -> Job:
    return Job(extractor.spec, extractor.decoder, extractor.store.key, opener=FakeEngine.open)


def answers(actor: UnitWorker, *units: Unit) -> list[Any]:
    numbers = np.arange(len(units)) + 7
    found = actor({NUMBER: numbers, UNIT: np.array([pickle.dumps(unit) for unit in units], object)})
    assert np.array_equal(found[NUMBER], numbers)
    return [pickle.loads(data) for data in found[RESULT]]


def test_an_actor_computes_units_and_collects_what_is_unreadable(folder: Path) -> None:
    extractor, images = slow_extractor(elsewhere=False), images_of(folder)
    rows = tuple(UnitRow(str(image.path), sha256=image.sha256) for image in images)
    actor = UnitWorker(pickle.loads(pickle.dumps(job_of(extractor))))
    (views, first), (_, second) = answers(actor, Unit(0, rows[:3]), Unit(1, rows[3:]))
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
    actor = UnitWorker(job_of(slow_extractor(elsewhere=False)))
    (found,) = answers(actor, Unit(0, (UnitRow(str(folder / "0.png"), sha256="0" * 64),)))
    assert isinstance(found, DataError)
    assert found.code == "data.file_changed"


@pytest.mark.parametrize(
    ("code", "is_tried_again"), [("network.store_unavailable", True), ("network.store_refused", False)]
)
def test_a_store_that_does_not_answer_is_tried_again_and_one_that_refuses_is_not(
    code: str, is_tried_again: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> UnitResult:
        raise NetworkError(code, "s3://bucket/1.png could not be read.")

    monkeypatch.setattr(worker, "compute_unit", failing)
    (found,) = answers(UnitWorker(job_of(slow_extractor(elsewhere=False))), Unit(0, (UnitRow("s3://bucket/1.png"),)))
    assert isinstance(found, Unanswered) == is_tried_again
    assert (found.error if isinstance(found, Unanswered) else found).code == code


class Actors:
    """Answers as actors do, without Ray: what a unit has waiting, then its result."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, waiting: dict[int, list[Answer | None]]) -> None:
        self.rounds: list[list[int]] = []
        """The units that each round was asked for."""
        self.tried: list[int] = []
        self.waiting = waiting
        monkeypatch.setattr(ray_units, "_mapped", self.mapped)

    def mapped(self, units: list[tuple[int, Unit]], job: Job, pool: Pool) -> Generator[tuple[int, Answer]]:
        """In the place of Ray; None is an exception that is no error of tlcli."""
        self.rounds.append([number for number, _ in units])
        for number, _ in units:
            self.tried.append(number)
            some = self.waiting.get(number)
            answer = some.pop(0) if some else (1, UnitResult(number, 1, 1))
            if answer is not None:
                yield number, answer


SILENT_STORE = Unanswered(NetworkError("network.store_unavailable", "s3://bucket could not be read."))


def computed_numbers(units: int, actors: int = 1) -> list[int]:
    given = [Unit(number, (UnitRow(str(number)),)) for number in range(units)]
    done = compute_on_ray(given, job_of(slow_extractor(elsewhere=False)), Pool(actors, 1, 0))
    return [result.number for _, result in done]


def test_units_whose_store_did_not_answer_are_sent_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actors = Actors(monkeypatch, {1: [SILENT_STORE], 3: [SILENT_STORE, SILENT_STORE]})
    assert computed_numbers(5) == [0, 2, 4, 1, 3]
    assert actors.rounds == [[0, 1, 2, 3, 4], [1, 3], [3]]


def test_a_unit_whose_store_does_not_answer_three_times_ends_the_pass(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actors = Actors(monkeypatch, {1: [SILENT_STORE] * 3})
    with pytest.raises(NetworkError) as caught:
        computed_numbers(5)
    assert caught.value.code == "network.store_unavailable"
    assert actors.tried == [0, 1, 2, 3, 4, 1, 1]


def test_a_store_that_answers_nobody_is_not_asked_for_all_units(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actors = Actors(monkeypatch, {number: [SILENT_STORE] * 3 for number in range(100)})
    with pytest.raises(NetworkError):
        computed_numbers(100, actors=2)
    assert actors.tried == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_other_failures_are_not_sent_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actors = Actors(monkeypatch, {1: [None]})
    with pytest.raises(ResourceError) as failed:
        computed_numbers(3)
    assert failed.value.code == "resource.units_failed"
    assert "1 of 3 units" in failed.value.message
    actors = Actors(monkeypatch, {1: [DataError("data.file_changed", "Changed.")]})
    with pytest.raises(DataError):
        computed_numbers(3)
    assert actors.tried == [0, 1]


def test_nodes_are_told_where_the_store_is_and_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {"TLCLI_CACHE": str(folder), "AWS_ENDPOINT_URL": "http://127.0.0.1:9000", "AWS_REGION": "eu-central-1"}
    kept = {"AWS_SECRET_ACCESS_KEY": "hidden", "AWS_ACCESS_KEY_ID": "hidden", "AZURE_STORAGE_CONNECTION_STRING": "x"}
    for name, value in (sent | kept).items():
        monkeypatch.setenv(name, value)
    job = job_of(slow_extractor(elsewhere=False))
    assert sent.items() <= job.environment.items()
    assert not kept.keys() & job.environment.keys()
    for name in (*sent, *kept):
        monkeypatch.delenv(name)
    job.on_this_node()
    assert {name: os.environ.get(name) for name in (*sent, *kept)} == {**sent, **dict.fromkeys(kept)}


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
            return nodes(2, is_local=False)

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
