"""Addresses and paths are told apart."""

import pytest

from tlcli.errors import ResourceError, UsageError
from tlcli.system.addresses import is_web_address, local_path
from tlcli.system.files import cache_folder


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("a.png", "a.png"),
        ("~/a b.png", "~/a b.png"),
        ("C:\\a.png", "C:\\a.png"),
        ("C://a.png", "C://a.png"),
        ("a//b.png", "a//b.png"),
        ("file:///tmp/a%20b.png", "/tmp/a b.png"),
        ("FILE://localhost/tmp/a.png", "/tmp/a.png"),
    ],
)
def test_paths_and_files_are_paths(given: str, path: str) -> None:
    assert local_path(given, "paths") == path


@pytest.mark.parametrize("given", ["s3://b/a.png", "gs://b/a", "ftp://h/a", "file://server/a.png", "hf://datasets/a"])
def test_other_addresses_are_refused(given: str) -> None:
    with pytest.raises(UsageError) as caught:
        local_path(f"{given}?secret", "paths")
    assert caught.value.code == "usage.address_unsupported"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", ["https://h/cache", "ftp://h/cache", "file:///cache"])
def test_a_cache_that_cannot_be_written_to_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", given)
    with pytest.raises(ResourceError) as caught:
        cache_folder()
    assert caught.value.code == "resource.cache_address"


def test_addresses_of_the_web() -> None:
    assert is_web_address("https://h/a")
    assert is_web_address("HTTP://h/a")
    assert not is_web_address("file:///a")
    assert not is_web_address("https:/a")
