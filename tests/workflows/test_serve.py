"""tlcli serve where its extra is missing."""

import importlib.util
from pathlib import Path

import pytest
from tests.commands import in_process

from tlcli.workflows import serve


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else name)
    done = in_process(tmp_path, tmp_path / "cache")("serve", "--json")
    assert (done.code, done.error) == (2, "usage.extra_missing")
    message = done.json()["error"]["message"]
    assert "uvicorn" in message
    assert "fastapi" not in message
    assert serve.Address().host == "127.0.0.1"
