"""Memory, on Linux and elsewhere."""

import os
from pathlib import Path

import pytest

from tlcli.system import cpu
from tlcli.system import memory as module
from tlcli.system.memory import Memory, memory

MEMINFO = (
    "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    6000000 kB\nHugePages_Total:       0\n"
)


@pytest.fixture(autouse=True)
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /proc and no control group."""
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (tmp_path / "groups").mkdir()
    monkeypatch.setattr(module, "_PROC", folder)
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path / "groups")
    monkeypatch.setattr(cpu, "_OWN_GROUPS", folder / "self" / "cgroup")
    return folder


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_memory_is_what_linux_reports(proc: Path) -> None:
    put(proc / "meminfo", MEMINFO)
    assert memory() == Memory(8_000_000 << 10, 6_000_000 << 10, None)


def test_unreported_memory_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory().total == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory().available is None
    monkeypatch.delattr(os, "sysconf")
    assert memory() == Memory(None, None, None)


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/a.slice/b", {"a.slice/b/memory.max": "1000\n"}, 1000),
        ("0::/a.slice/b", {"a.slice/memory.max": "500", "a.slice/b/memory.max": "max"}, 500),
        ("0::/", {"memory.max": "max"}, None),
        ("4:memory:/docker/x\n3:cpu:/", {"memory/docker/x/memory.limit_in_bytes": "2000"}, 2000),
        ("4:memory:/docker/x", {"memory/memory.limit_in_bytes": "3000"}, 3000),
        ("4:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("4:cpu:/y", {"memory/y/memory.limit_in_bytes": "2000"}, None),
        ("", {}, None),
        ("0::/", {"memory.max": "nonsense"}, None),
    ],
)
def test_the_smallest_limit_of_memory_by_either_version_of_control_groups(
    proc: Path, tmp_path: Path, own: str, files: dict[str, str], limit: int | None
) -> None:
    put(proc / "self" / "cgroup", own)
    for name, text in files.items():
        put(tmp_path / "groups" / name, text)
    assert memory().limit == limit


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\n:::\n"])
def test_without_linux_files_nothing_breaks(proc: Path, content: bytes | None) -> None:
    if content is not None:
        for name in ("meminfo", "self/cgroup"):
            (proc / name).write_bytes(content)
    assert memory().available is None
