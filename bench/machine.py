"""Names the machine that figures were measured on: what its processor can do, and how much of it is ours."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from tlcli.threads import cores

_INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
"""Linux's names of what decides the speed of matrix products; bf16 without avx512_bf16 or amx_bf16 is emulated."""

_PACKAGES = ("openvino", "tensorflow", "keras", "pillow", "numpy", "scikit-learn", "nncf")


def machine() -> dict[str, Any]:
    """Processor, instructions, cores, memory, the limits set on this process, and versions."""
    facts = _cpuinfo()
    flags = set(facts.get("flags", "").split())
    return {
        "processor": facts.get("model name") or platform.processor(),
        "instructions": {name: name in flags for name in _INSTRUCTIONS},
        "cores": cores(),
        "memory_gb": _memory_gb(),
        "cgroup": {"memory_gb": _cgroup_memory_gb()},
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def named(found: dict[str, Any]) -> str:
    """Two lines for the top of a program's output."""
    has = ", ".join(name for name, there in found["instructions"].items() if there) or "none of those looked for"
    limits = ", ".join(f"{name} {value:g}" for name, value in found["cgroup"].items() if value is not None)
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory_gb'] or 0:.0f} GB; {has}"
        f"{f'; limits: {limits}' if limits else ''}\nPython {found['python']}, {versions}"
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor's rows; empty where the system has no such file."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    rows: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        rows.setdefault(name.strip(), value.strip())
    return rows


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _cgroup_memory_gb() -> float | None:
    limit = _first("/sys/fs/cgroup/memory.max") or _first("/sys/fs/cgroup/memory/memory.limit_in_bytes")
    return round(int(limit) / 1e9, 1) if limit.isdigit() and int(limit) < 1 << 60 else None


def _first(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
