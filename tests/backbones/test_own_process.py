"""A process of its own that fails where the disk is nearly full is the disk's fault."""

from pathlib import Path

import pytest

from tlcli.backbones import own_process
from tlcli.backbones.own_process import run_module
from tlcli.errors import ModelError, ResourceError


def test_a_full_disk_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"out": str(tmp_path / "net")}
    monkeypatch.setattr(own_process, "free_bytes", lambda _path: 4096)
    with pytest.raises(
        ResourceError, match=r"Converting net failed \(.*\), and its disk is nearly full: .*net .4.1 KB"
    ):
        run_module("tlcli.no_such_module", request, {}, "Converting net")

    monkeypatch.setattr(own_process, "free_bytes", lambda _path: 10**12)
    with pytest.raises(ModelError, match="Converting net failed"):
        run_module("tlcli.no_such_module", request, {}, "Converting net")
