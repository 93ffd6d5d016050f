"""The folder of a compiled graph; what OpenVINO would write is written by hand."""

import errno
import os
from pathlib import Path

import pytest

from tlcli.backbones.conversion import Exported
from tlcli.engines.compiled import Compiled, as_written
from tlcli.engines.openvino import OpenVINOEngine
from tlcli.errors import ResourceError
from tlcli.system.cache.locks import exclusive
from tlcli.system.files import cache_folder


def fresh() -> Compiled:
    """As another process would begin with it."""
    return Compiled(Exported(cache_folder() / "backbones" / "toy-0123456789abcdef"), "f32", few=False)


def compile_as(name: str) -> Compiled:
    compiled = fresh()
    with compiled.kept() as folder:
        assert folder
        (folder / name).write_bytes(b"compiled")
    return compiled


def test_what_was_kept_is_as_it_was_written() -> None:
    folder = compile_as("1.blob").folder
    assert fresh().is_as_written
    assert as_written(folder)


def test_a_graph_that_is_compiled_anew_is_kept_in_the_place_of_the_old_one() -> None:
    """OpenVINO gives it another name where its version, or the time of the graph's file, is another."""
    compile_as("1.blob")
    folder = compile_as("2.blob").folder
    assert [path.name for path in folder.glob("*.blob")] == ["2.blob"]
    assert fresh().is_as_written


def test_both_the_compiled_graph_and_the_converted_one_are_in_use() -> None:
    compiled = compile_as("1.blob")
    for folder in (compiled.folder, compiled.graph.folder):
        with exclusive(folder) as alone:
            assert not alone


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOENT])
def test_digests_that_cannot_be_kept_end_nothing_and_nothing_is_believed(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    folder = compile_as("1.blob").folder
    assert [path.name for path in folder.iterdir()] == ["1.blob"]
    assert not fresh().is_as_written


def test_nothing_compiled_leaves_no_digests() -> None:
    with fresh().kept() as folder:
        assert folder
    assert list(folder.iterdir()) == []


def test_a_converted_graph_that_went_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="went away while it was in use; run the command again"):
        OpenVINOEngine(fresh())
