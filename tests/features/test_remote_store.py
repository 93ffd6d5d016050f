import re
from pathlib import Path

import numpy as np
import pytest

from object_server import ObjectServer, status
from tlcli.backbones.blocks import one_block
from tlcli.errors import NetworkError, ResourceError
from tlcli.features.store import Store, row_key
from tlcli.system.files import cache_folder

BLOCKS = one_block(4)
KEY = "b" * 64
FIRST, SECOND = [row_key(str(n), "0") for n in range(5)], [row_key(str(n), "0") for n in range(5, 8)]
ROWS = np.arange(20, dtype=np.float32).reshape(5, 4)


@pytest.fixture(autouse=True)
def _remote_cache(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TLCLI_CACHE", "s3://b/cache")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "machine"))
    object_server.objects["b/other"] = b""


def other_machine(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Store:
    """A store that another machine opens, whose cache is empty."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(folder))
    return Store(KEY, BLOCKS)


def test_what_one_machine_writes_another_reads(
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    Store(KEY, BLOCKS).append(FIRST, ROWS)
    there = other_machine(monkeypatch, tmp_path / "other")
    assert all(key in there for key in FIRST)
    np.testing.assert_array_equal(there.read(FIRST[::-1]), ROWS[::-1])
    there.append(SECOND, ROWS[:3])
    again = other_machine(monkeypatch, tmp_path / "machine")
    np.testing.assert_array_equal(again.read([SECOND[1], FIRST[2]]), ROWS[[1, 2]])


def test_opening_a_store_reads_keys_and_a_shard_is_copied_once(
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    Store(KEY, BLOCKS).append(FIRST, ROWS)
    there = other_machine(monkeypatch, tmp_path / "other")

    def shards_read() -> int:
        return sum(count for key, count in object_server.requests.items() if re.fullmatch(r"GET .*\.safetensors", key))

    assert shards_read() == 0
    there.read(FIRST)
    there.read(FIRST)
    assert shards_read() == 1
    Store(KEY, BLOCKS).read(FIRST)
    assert shards_read() == 1
    assert (tmp_path / "other").is_relative_to(cache_folder())


@pytest.mark.parametrize("what", ["keys", "safetensors"])
def test_damaged_objects_are_not_believed(
    what: str,
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    Store(KEY, BLOCKS).append(FIRST, ROWS)
    name = next(name for name in object_server.objects if name.endswith(what))
    object_server.objects[name] = object_server.objects[name][:-1] + b"?"
    there = other_machine(monkeypatch, tmp_path / "other")
    assert all(key in there for key in FIRST)  # the keys themselves, or from the shard
    if what == "keys":
        np.testing.assert_array_equal(there.read(FIRST), ROWS)
    else:
        with pytest.raises(ResourceError) as raised:
            there.read(FIRST)
        assert raised.value.code == "resource.file_disappeared"


def test_a_writer_that_is_killed_between_two_puts_loses_nothing(
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    Store(KEY, BLOCKS).append(FIRST, ROWS)
    keys = next(name for name in object_server.objects if name.endswith(".keys"))
    del object_server.objects[keys]
    np.testing.assert_array_equal(other_machine(monkeypatch, tmp_path / "other").read(FIRST), ROWS)


def test_what_a_killed_writer_did_not_send_is_sent_by_the_next_process(
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    Store(KEY, BLOCKS).append(FIRST, ROWS)
    before = dict(object_server.objects)
    for name in [name for name in before if "features" in name]:
        del object_server.objects[name]
    Store(KEY, BLOCKS)
    assert object_server.objects == before


def test_a_store_that_refuses_or_is_missing_is_an_error(object_server: ObjectServer) -> None:
    object_server.answers["b"] = [status(403, "AccessDenied")] * 9
    with pytest.raises(NetworkError) as raised:
        Store(KEY, BLOCKS)
    assert (raised.value.code, raised.value.exit_code) == ("network.store_refused", 4)


def test_the_rest_of_the_cache_stays_on_this_machine(tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "machine"
