"""Several runs: one pass for heads of the same backbone; SIGHUP loads the newest run, a broken one changes nothing."""

import asyncio
import shutil
import signal
import threading
from pathlib import Path

import pytest
import requests
from tests.serving.conftest import serving, train, wait_until

from tlcli.images.items import Item
from tlcli.model.predictor import Predictor
from tlcli.serving.models import Trunk, load_models

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
