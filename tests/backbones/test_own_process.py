"""Failures of separate processes: a nearly full disk is reported as that, and errors keep their fields."""

from pathlib import Path

import pytest

from tlcli.backbones import own_process
from tlcli.backbones.own_process import disk_needed, run_module
from tlcli.errors import DataError, ModelError, NetworkError, ResourceError, TlcliError, UsageError


def test_a_full_disk_is_reported_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"out": str(tmp_path / "net")}
    monkeypatch.setattr(own_process, "free_bytes", lambda _path: 4096)
    with pytest.raises(ResourceError) as full:
        run_module("tlcli.no_such_module", request, {}, "Converting net")
    assert full.value.code == "resource.disk_full"
    assert request["out"] in full.value.message

    monkeypatch.setattr(own_process, "free_bytes", lambda _path: 10**12)
    with pytest.raises(ModelError) as failed:
        run_module("tlcli.no_such_module", request, {}, "Converting net")
    assert failed.value.code == "model.process_failed"


def test_what_is_enough_depends_on_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """convnext_xlarge leaves 2.8 GB of converted weights, and as much while they are written."""
    monkeypatch.setattr(own_process, "free_bytes", lambda _path: 3 * 10**9)
    request = {"out": str(tmp_path / "net")}
    for name, expected in (("convnext_xlarge", ResourceError), ("densenet201", ModelError), ("unknown", ModelError)):
        with pytest.raises(expected):
            run_module("tlcli.no_such_module", request, {}, "Converting", disk_needed(name))


def test_a_folder_that_was_deleted_meanwhile_is_reported_as_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_module("tlcli.no_such_module", {"out": str(tmp_path / "gone" / "net")}, {}, "Converting net")


@pytest.mark.parametrize("kind", [DataError, ModelError, NetworkError, ResourceError, UsageError])
def test_errors_of_the_process_keep_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[TlcliError]
) -> None:
    raised = kind("some.code", "What happened.", "What to do.")
    fields = [raised.code, raised.message, raised.hint]
    (tmp_path / "raises.py").write_text(
        f"import json, sys; print(json.dumps({fields}), file=sys.stderr); sys.exit({kind.exit_code})"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(kind) as found:
        run_module("raises", {"out": str(tmp_path / "net")}, {}, "Converting net")
    assert [found.value.code, found.value.message, found.value.hint] == fields
