"""The images of a run where they are now: on this machine, or on a store that may fail."""

import hashlib
from pathlib import Path

import pytest
from tests.remote import forget

from object_server import ObjectServer, status
from tlcli.datasets.listing import list_below
from tlcli.errors import NetworkError
from tlcli.images.preparation import Preparation
from tlcli.runs.contents import RunImages
from tlcli.runs.images import RecordedImage
from tlcli.system.remote.path import RemotePath, as_path
from tlcli.system.remote.reading import TRIES

PREPARATION = Preparation((8, 8), "squash")


def recorded(*names: str) -> list[RecordedImage]:
    """Images whose bytes are their names."""
    return [RecordedImage(name, hashlib.sha256(name.encode()).hexdigest(), "train", "cat", "cat") for name in names]


def test_files_that_are_gone_or_others_are_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"another")
    images = RunImages(tmp_path, recorded("a", "b", "c"))
    assert [images.read(name, PREPARATION) for name in "abcd"] == [b"a", None, None, None]
    assert images.path("a") == tmp_path / "a"


def test_objects_are_read_as_they_were_listed(object_server: ObjectServer, session_cache: Path) -> None:
    for name in "abc":
        object_server.objects[f"bucket/data/{name}"] = name.encode()
    root = RemotePath.of("s3://bucket/data")
    list_below(root)
    forget()
    object_server.objects["bucket/data/b"] = b"another"
    del object_server.objects["bucket/data/c"]
    images = RunImages(as_path("s3://bucket/data", Path()), recorded("a", "b", "c"))
    assert [images.read(name, PREPARATION) for name in "abc"] == [b"a", None, None]
    assert str(images.path("a")) == "s3://bucket/data/a"
    assert str(images.path("s3://other/a")) == "s3://other/a"


def test_a_store_that_fails_is_left_alone_for_a_while(object_server: ObjectServer) -> None:
    object_server.objects["bucket/data/a"] = b"a"
    images = RunImages(as_path("s3://bucket/data", Path()), recorded("a", "b"))
    object_server.answers["bucket/data/a"] = [status(503)] * 2 * TRIES
    with pytest.raises(NetworkError):
        images.read("a", PREPARATION)
    asked = object_server.requests["GET bucket/data/a"]
    assert images.read_if_possible("a", PREPARATION) is None
    assert images.failure
    assert images.failure.code == "network.store_unavailable"
    assert object_server.requests["GET bucket/data/a"] > asked
    asked = object_server.requests.total()
    assert images.read_if_possible("b", PREPARATION) is None
    assert object_server.requests.total() == asked
