"""Several runs: one pass for heads of the same backbone; SIGHUP loads the newest run, a broken one changes nothing."""

import asyncio
import gc
import shutil
import signal
import threading
import weakref
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import requests
from tests.serving.conftest import serving, train, wait_until
from uvicorn import Config

from tlcli.images.items import Item
from tlcli.model.predictor import Predictor
from tlcli.serving.app import Service
from tlcli.serving.decoding import Decoders
from tlcli.serving.limits import Limits
from tlcli.serving.models import Model, Models, Trunk, load_models
from tlcli.serving.server import Callbacks, _Server

if TYPE_CHECKING:
    from tlcli.engines.interface import Engine
    from tlcli.images.preparation import Preparation

needs_hangup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")


@pytest.fixture(scope="module")
def two(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of two heads on the same backbone, ``own`` and ``other``."""
    folder = tmp_path_factory.mktemp("two") / "runs"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("latest", "corrections"))
    train(folder, "other", Cs=[5.0])
    return folder


def run_of(folder: Path, name: str) -> Path:
    return next(path for path in (folder / "runs" / name).iterdir() if path.name != "latest")


def test_heads_of_one_backbone_share_a_pass(two: Path, image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(two / "cache"))
    runs = [run_of(two, "own"), run_of(two, "other")]
    models = load_models(runs)
    assert len(models.trunks) == 1
    assert [one.name for one in models.all] == ["own", "other"]
    pixels = models.trunks[0].preparation
    assert pixels == models.all[1].predictor.bundle.preparation
    for model, run in zip(models.all, runs, strict=True):
        (row,) = model.predictor.engine().submit(Item(image)).result()
        assert model.predictor.answer("image 1", row) == Predictor.load(run).predict([image])[0]
    models.trunks[0].close()


def test_models_are_found_by_name_and_version(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(two / "cache"))
    run = run_of(two, "own")
    later = run.with_name("29991231T000000Z-ffff")
    shutil.copytree(run, later)
    models = load_models([run, later])
    assert [one.version for one in models.versions("own")] == [later.name, run.name]
    newest, given = models.find("own"), models.find("own", run.name)
    assert newest is not None
    assert given is not None
    assert (newest.run, given.run) == (later, run)
    assert models.find("other") is models.find("own", "none") is None
    assert models.find(None) is models.all[0]
    shutil.rmtree(later)


def test_models_that_are_replaced_are_closed_after_their_last_request(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(two / "cache"))
    models, closed = load_models([run_of(two, "own")]), list[Trunk]()

    def close(trunk: Trunk) -> None:
        closed.append(trunk)

    monkeypatch.setattr(Trunk, "close", close)

    async def use() -> None:
        with models.in_use():
            models.replaced()
            await asyncio.sleep(0.05)
            assert not closed
        await asyncio.sleep(0.05)
        assert closed == list(models.trunks)

    asyncio.run(use())


@needs_hangup
def test_a_hangup_loads_the_newest_run_and_drops_no_request(two: Path, image: bytes) -> None:
    with serving(two) as one:
        before = one.get("/about").json()["models"][0]
        statuses: list[int] = []
        is_over = threading.Event()

        def ask() -> None:
            session = requests.Session()
            while not is_over.is_set():
                statuses.append(session.post(f"{one.url}/predict", data=image, timeout=20).status_code)

        clients = [threading.Thread(target=ask) for _ in range(3)]
        for client in clients:
            client.start()
        newest = run_of(two, "own").with_name("29991231T000000Z-eeee")
        shutil.copytree(run_of(two, "own"), newest)
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: one.get("/about").json()["models"][0]["version"] == newest.name)
        assert before["version"] != newest.name
        (newest / "model" / "head.safetensors").write_bytes(b"damaged")
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: one.metric('tlcli_reloads_total{result="failed"}') == 1)
        assert one.get("/about").json()["models"][0]["version"] == newest.name
        is_over.set()
        for client in clients:
            client.join()
        assert set(statuses) == {200}
        assert one.metric('tlcli_reloads_total{result="done"}') == 1
        assert "model.bundle_damaged" in (two / "serve.log").read_text()
        shutil.rmtree(newest)


def test_one_request_asks_several_models(two: Path, image: bytes) -> None:
    with serving(two, "--run", run_of(two, "own"), "--run", run_of(two, "other")) as one:
        records = one.post(f"/predict?model=own&model=other/{run_of(two, 'other').name}", image).json()
        assert [record["model"] for record in records] == ["own", "other"]
        assert records[0]["probability"] != records[1]["probability"]
        assert records[0]["distance"] == records[1]["distance"]
        assert one.post("/predict", image).json()[0]["model"] == "own"
        for name in ("own", "other"):
            assert one.get(f"/v2/models/{name}/ready").status_code == 200


class FakeEngine:
    """Opens feature maps when it is told to, and counts what is open."""

    window = 2

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.may_open = threading.Event()

    def maps(self) -> "FakeEngine":
        self.may_open.wait(10)
        self.opened += 1
        return self

    def submit(self, item: Item) -> "Future[list[str]]":
        done = Future[list[str]]()
        done.set_result(["maps"])
        return done

    def close(self) -> None:
        self.closed += 1


PIXELS = np.zeros((2, 2, 3), np.uint8)


def test_requests_that_are_given_up_leave_the_compilation_to_the_next() -> None:
    engine = FakeEngine()
    trunk = Trunk(cast("Engine", engine), cast("Preparation", None))

    async def use() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(trunk.maps(PIXELS), 0.05)
        engine.may_open.set()
        assert str(await trunk.maps(PIXELS)) == "maps"

    asyncio.run(use())
    trunk.close()
    assert (engine.opened, engine.closed) == (1, 2)  # the maps and the engine


def test_what_opens_while_the_models_are_closed_is_closed_too() -> None:
    engine, alone = FakeEngine(), FakeEngine()
    trunk = Trunk(cast("Engine", engine), cast("Preparation", None), lambda: cast("Engine", alone.maps()))

    async def use() -> None:
        warming = asyncio.create_task(trunk.warm())
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(asyncio.to_thread(trunk.close))
        await asyncio.sleep(0.05)
        alone.may_open.set()
        await asyncio.gather(warming, closing)
        await trunk.warm()

    asyncio.run(use())
    assert (alone.opened, alone.closed, engine.closed) == (1, 1, 1)


def test_training_images_are_dropped_with_their_model() -> None:
    service = Service(Models([fake_model()]), Limits(), Decoders(1, Limits()))

    async def reload() -> "weakref.ref[Model]":
        with service.models.in_use() as old:
            service.replace(Models([fake_model()]))
            service.training_images(old.all[0])
        await asyncio.sleep(0.05)
        return weakref.ref(old.all[0])

    gone = asyncio.run(reload())
    gc.collect()
    assert gone() is None


def fake_model() -> Model:
    trunk = Trunk(cast("Engine", FakeEngine()), cast("Preparation", None))
    return Model("own", "1", Path("none"), cast("Predictor", object()), trunk)


def test_a_hangup_during_a_reload_is_not_lost() -> None:
    calls, may_go_on = list[int](), threading.Event()

    def load() -> Models:
        calls.append(len(calls))
        may_go_on.wait(10)
        return Models([fake_model()])

    service = Service(Models([fake_model()]), Limits(), Decoders(1, Limits()))

    async def use() -> None:
        server = _Server(Config(cast("Any", None)), service, Callbacks(lambda _: None, lambda _: None, load))
        for _ in range(3):
            server._reload()
            await asyncio.sleep(0.05)
        may_go_on.set()
        assert server._reloading is not None
        await server._reloading

    asyncio.run(use())
    assert calls == [0, 1]
