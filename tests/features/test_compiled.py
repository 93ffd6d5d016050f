"""What is kept of a compiled graph is a convenience: where it cannot be kept, all goes on."""

import errno
import os
from pathlib import Path

import pytest

from tlcli.backbones.export_ir import Exported
from tlcli.features.engines.compiled import Compiled


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_digests_that_cannot_be_written_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    compiled = Compiled(Exported(tmp_path / "net"), "f32", few=True)
    with monkeypatch.context() as patched, compiled.kept() as folder:
        assert folder is not None
        (folder / "1.blob").write_bytes(b"compiled")
        patched.setattr(os, "fsync", failing)
        patched.setattr(os, "replace", failing)

    assert not Compiled(Exported(tmp_path / "net"), "f32", few=True).is_as_written
