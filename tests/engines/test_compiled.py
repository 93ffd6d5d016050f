"""The cache folder of a compiled graph; the tests write OpenVINO's files by hand."""

import errno
import os
import threading
from pathlib import Path

import pytest

from tlcli.backbones.graph import ConvertedGraph
from tlcli.engines.compiled import CompiledGraph, is_intact
from tlcli.engines.openvino import load
from tlcli.errors import ResourceError
from tlcli.system.cache.locks import exclusive
from tlcli.system.files import cache_folder


def fresh() -> CompiledGraph:
    """As in another process."""
    return CompiledGraph(ConvertedGraph(cache_folder() / "backbones" / "toy-0123456789abcdef"), "f32")


def compile_as(name: str) -> CompiledGraph:
    compiled = fresh()
    with compiled.cache() as folder:
        assert folder
        (folder / name).write_bytes(b"compiled")
    return compiled


def test_what_was_compiled_is_intact() -> None:
    folder = compile_as("1.blob").folder
    assert fresh().is_cached
    assert is_intact(folder)


def test_a_graph_that_is_compiled_again_replaces_the_old_one() -> None:
    """OpenVINO gives it another name where its version, or the time of the graph's file, is another."""
    compile_as("1.blob")
    folder = compile_as("2.blob").folder
    assert [path.name for path in folder.glob("*.blob")] == ["2.blob"]
    assert fresh().is_cached


def test_of_two_that_would_compile_one_does_and_the_other_loads_it() -> None:
    found = list[str]()

    def load_it() -> None:
        with fresh().cache() as folder:
            assert folder
            found.extend(path.name for path in folder.glob("*.blob"))

    second = threading.Thread(target=load_it)
    with fresh().cache() as folder:
        assert folder
        second.start()
        second.join(0.1)
        assert found == []
        (folder / "1.blob").write_bytes(b"compiled")
    second.join()
    assert found == ["1.blob"]
    assert fresh().is_cached


def test_each_number_of_threads_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = set()
    for count in ("1", "2"):
        monkeypatch.setenv("TLCLI_THREADS", count)
        folders.add(compile_as(f"{count}.blob").folder)
    assert [is_intact(folder) for folder in folders] == [True, True]


def test_both_the_compiled_graph_and_the_converted_one_are_in_use() -> None:
    compiled = compile_as("1.blob")
    for folder in (compiled.folder, compiled.graph.folder):
        with exclusive(folder) as alone:
            assert not alone


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOENT])
def test_digests_that_cannot_be_written_raise_nothing_and_the_graph_is_not_used(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    folder = compile_as("1.blob").folder
    assert [path.name for path in folder.iterdir()] == ["1.blob"]
    assert not fresh().is_cached


def test_nothing_compiled_leaves_no_digests() -> None:
    with fresh().cache() as folder:
        assert folder
    assert list(folder.iterdir()) == []


def test_a_converted_graph_that_disappeared_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        load(fresh())
    assert caught.value.code == "resource.file_disappeared"
