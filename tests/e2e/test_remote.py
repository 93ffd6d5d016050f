"""The command line on an S3 server (moto) and on a stand-in that fails: features, train, evaluate, two machines."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import s3fs
import yaml
from moto.server import ThreadedMotoServer
from PIL import Image
from tests.commands import in_process
from tests.image_fixtures import Encode
from tests.remote import forget

from object_server import ObjectServer, status
from tlcli.export.runner import Latency
from tlcli.reports.cards import Card

pytestmark = pytest.mark.e2e
CONFIG = {
    "backbone": {"name": "efficientnet_lite0", "weights": "random"},
    "image": {"size": 32},
    "head": {"Cs": [1.0], "folds": 3},
    "evaluate": {"figures": False, "report": False, "cross_validation": None},
    "augment": {"views": 1, "flip": "horizontal"},
}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of an S3 server."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    """The bucket ``bucket``, which is empty."""
    forget()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": moto,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    store = s3fs.S3FileSystem()
    store.mkdir("bucket")
    yield store
    store.rm("bucket", recursive=True)
    forget()


def images(encode: Encode) -> dict[str, bytes]:
    """Names in class folders, and JPEG files, all different."""
    random = np.random.default_rng(0)
    return {
        f"{label}/{number:02}.jpg": encode(
            Image.fromarray(np.clip(random.normal(level, 30, (40, 40, 3)), 0, 255).astype(np.uint8)), "JPEG"
        )
        for label, level in (("bright", 200), ("dark", 60))
        for number in range(20)
    }


def config(folder: Path, path: str) -> str:
    (folder / "c.yaml").write_text(yaml.safe_dump({"dataset": {"path": path}, **CONFIG}))
    return "c.yaml"


def computed(done: dict[str, object]) -> int:
    features = done["features"]
    assert isinstance(features, dict)
    return int(features["computed"])


def test_features_in_shards_then_train_and_evaluate_compute_nothing(
    tmp_path: Path, session_cache: Path, bucket: s3fs.S3FileSystem, encode: Encode
) -> None:
    tlcli = in_process(tmp_path, session_cache)
    bucket.pipe({f"bucket/data/{name}": data for name, data in images(encode).items()})
    bucket.pipe("bucket/data/dark/broken.jpg", b"\xff\xd8 no image")
    args = ("--config", config(tmp_path, "s3://bucket/data"), "--json")
    first = tlcli("features", *args, "--shard", "2/2").json()
    assert (first["images"], first["units"]["total"], first["left_to_augment"]) == (0, 0, True)
    whole = tlcli("features", *args, "--cache-images").json()
    assert whole["skipped"].keys() == {"s3://bucket/data/dark/broken.jpg"}
    augmented = computed(whole) - 40  # one view of each training image
    assert (whole["images"], whole["read"]) == (41, 41 + augmented)
    again = tlcli("features", *args).json()
    assert (computed(again), again["read"], again["units"]["computed"]) == (0, 0, 0)
    bucket.rm("bucket/data/bright", recursive=True)  # every later read is of a copy
    trained = tlcli("train", *args)
    assert trained.code == 0, trained.err
    document = trained.json()
    assert (computed(document), document["skipped"].keys()) == (0, {"dark/broken.jpg"})
    before = len(list((session_cache / "features").rglob("*.safetensors")))
    evaluated = tlcli("evaluate", "--json")
    assert evaluated.code == 0, evaluated.err
    assert len(list((session_cache / "features").rglob("*.safetensors"))) == before
    assert document["metrics"]["train"]["n"] == augmented > 20
    run = Path(document["run_dir"])
    assert yaml.safe_load((run / "config.yaml").read_text())["dataset"]["path"] == "s3://bucket/data"
    assert json.loads((run / "run.json").read_text())["data_root"] == "s3://bucket/data"


def test_features_of_remote_images_are_those_of_local_ones(
    tmp_path: Path, session_cache: Path, bucket: s3fs.S3FileSystem, encode: Encode
) -> None:
    tlcli = in_process(tmp_path, session_cache)
    found = images(encode)
    found = {name: data + b" " for name, data in found.items()}  # other digests than above, equal pixels
    bucket.pipe({f"bucket/other/{name}": data for name, data in found.items()})
    for name, data in found.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(data)
    there = tlcli("train", "--config", config(tmp_path, "s3://bucket/other"), "--json").json()
    here = tlcli("train", "--config", config(tmp_path, "data"), "--json").json()
    assert computed(there) == 40 + there["metrics"]["train"]["n"]  # those of the test images, too
    assert computed(here) == 0
    assert here["metrics"] == there["metrics"]


def test_two_machines_share_a_remote_cache(
    tmp_path: Path, session_cache: Path, bucket: s3fs.S3FileSystem, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe({f"bucket/data/{name}": data for name, data in images(encode).items()})
    name = config(tmp_path, "s3://bucket/data")
    for machine in ("one", "two"):
        local = tmp_path / machine
        local.mkdir()
        for kept in ("backbones", "weights"):
            (local / kept).symlink_to(session_cache / kept, target_is_directory=True)
        monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, local=local, **__: str(local))
        tlcli = in_process(tmp_path, Path("s3://bucket/cache"))
        done = tlcli("features", "--config", name, "--json", env={"TLCLI_CACHE": "s3://bucket/cache"})
        assert (computed(done.json()) > 60) == (machine == "one")
        assert (computed(done.json()) == 0) == (machine == "two")
        forget()
    assert not list((tmp_path / "two" / "features").rglob("*.safetensors"))


def test_a_signed_manifest_leaves_no_trace_and_a_refusal_ends_with_4(
    tmp_path: Path, session_cache: Path, encode: Encode, object_server: ObjectServer
) -> None:
    tlcli = in_process(tmp_path, session_cache)
    rows = ["uri,label"]
    for name, data in images(encode).items():
        object_server.objects[f"b/o'{name}"] = data + b"  "
        rows.append(f"{object_server.url}/b/o'{name}?X-Amz-Signature=topsecret,{name.split('/')[0]}")
    (tmp_path / "images.csv").write_text("\n".join(rows))
    args = ("--config", config(tmp_path, "images.csv"), "--json")
    object_server.answers["b/o'dark/03.jpg"] = [status(403, "AccessDenied")]
    refused = tlcli("train", *args)
    assert (refused.code, refused.error) == (4, "network.store_refused")
    trained = tlcli("train", *args)
    assert trained.code == 0, trained.err
    run = Path(trained.json()["run_dir"])
    texts = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    assert not any(b"topsecret" in text for text in texts)
    for done in (refused, trained):
        assert "topsecret" not in done.out + done.err
    in_config = tlcli(
        "train", *args, "--set", f"dataset.path={object_server.url}/b/images.csv?X-Amz-Signature=topsecret"
    )
    assert (in_config.code, in_config.error) == (2, "config.invalid")
    assert "topsecret" not in in_config.out + in_config.err


@pytest.mark.parametrize("shard", ["0/2", "3/2", "a/b", "1"])
def test_a_shard_that_does_not_exist_is_refused(shard: str, tmp_path: Path, session_cache: Path) -> None:
    done = in_process(tmp_path, session_cache)("features", "--shard", shard, "--json")
    assert (done.code, done.error) == (2, "usage.invalid_shard")


@pytest.mark.parametrize("is_manifest", [False, True])
def test_what_follows_training_reads_its_images_where_they_are(
    is_manifest: bool, tmp_path: Path, session_cache: Path, bucket: s3fs.S3FileSystem, encode: Encode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tlcli.export.writing.time_artefact", lambda *_: {"all": Latency(1.0, 1.0)})
    tlcli, found = in_process(tmp_path, session_cache), images(encode)
    bucket.pipe({f"bucket/later/{name}": data + b"\0" * is_manifest for name, data in found.items()})
    rows = [f"later/{name},{name.split('/')[0]}" for name in found]
    bucket.pipe("bucket/images.csv", "\n".join(["uri,label", *rows]).encode())
    path = "s3://bucket/images.csv" if is_manifest else "s3://bucket/later"
    trained = tlcli("train", "--config", config(tmp_path, path), "--json")
    assert trained.code == 0, trained.err
    forget()
    exported = tlcli("export", "--output", "out", "--parity", 6, "--json")
    assert exported.code == 0, exported.err
    assert exported.json()["preparation_check"]["equal"] == 6
    forget()
    (tmp_path / "new.jpg").write_bytes(found["dark/00.jpg"])
    drawn: list[Card] = []
    monkeypatch.setattr("tlcli.reports.cards.draw", lambda _, card: drawn.append(card))
    assert tlcli("predict", "new.jpg", "--explain", "why").code == 0
    assert len(drawn[0].neighbours) > 2
    assert all(one.pixels is not None for one in drawn[0].neighbours)
    bucket.pipe({f"bucket/new/{name}": data for name, data in list(found.items())[::5]})
    external = tlcli("evaluate", "--data", "s3://bucket/new", "--json")
    assert external.code == 0, external.err
    result = external.json()["external"]
    assert result["data_root"] == "s3://bucket/new"
    assert result["metrics"]["n"] == 8
    bucket.copy("bucket/later", "bucket/moved/later", recursive=True)
    bucket.copy("bucket/images.csv", "bucket/moved/images.csv")
    bucket.rm("bucket/later", recursive=True)
    forget()
    gone = tlcli("export", "--output", "out", "--overwrite", "--json")
    assert (gone.code, gone.error) == (3, "data.export_no_images")
    moved = tlcli("evaluate", "--data", f"s3://bucket/moved/{'images.csv' if is_manifest else 'later'}", "--json")
    assert moved.code == 0, moved.err
    assert "external" not in moved.json()
    forget()
    assert tlcli("export", "--output", "out", "--overwrite").code == 0


def test_images_and_features_in_memory(
    tmp_path: Path, session_cache: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget()
    store = fsspec.filesystem("memory")
    store.pipe({f"/data/{name}": data + b"   " for name, data in images(encode).items()})
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(session_cache))
    tlcli = in_process(tmp_path, Path("memory://cache"))
    env = {"TLCLI_CACHE": "memory://cache"}
    done = tlcli("train", "--config", config(tmp_path, "memory://data"), "--json", env=env)
    assert done.code == 0, done.err
    assert any(name.endswith(".safetensors") for name in store.find("/cache"))
    again = tlcli("features", "--config", "c.yaml", "--json", env=env).json()
    assert (computed(again), again["read"]) == (0, 0)
    forget()
