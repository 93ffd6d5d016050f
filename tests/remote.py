"""Fixtures of tests with object stores: a stand-in that fails on demand, and a forgetful process."""

from collections.abc import Iterator

import pytest

from object_server import ObjectServer, serving
from tlcli.datasets import listing
from tlcli.system.remote import path, reading
from tlcli.system.remote.kept import keep_images


def forget() -> None:
    """Makes this process a new one, as far as remote files go."""
    import fsspec
    import s3fs

    path.forget()
    listing.forget()
    keep_images(False)
    s3fs.S3FileSystem.clear_instance_cache()
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


@pytest.fixture
def object_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    """An S3 server, which the environment leads to; pauses between tries are short."""
    with serving() as running:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setattr(reading, "BACKOFF", 0.01)
        forget()
        yield running
        forget()
