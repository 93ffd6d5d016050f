"""Names the machine that figures were measured on: what its processor can do, and how much of it is ours."""

import platform
from importlib import metadata
from typing import Any

from tlcli.system.cpu import cores, processor
from tlcli.system.memory import memory

_PACKAGES = ("openvino", "tensorflow", "keras", "pillow", "numpy", "scikit-learn", "nncf")


def machine() -> dict[str, Any]:
    """Processor, instructions, cores, memory, the limits set on this process, and versions."""
    found, held = processor(), memory()
    return {
        "processor": found.name,
        "instructions": found.instructions or [],
        "cores": cores(),
        "memory_gb": _gigabytes(held.total),
        "cgroup": {"memory_gb": _gigabytes(held.limit)},
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def named(found: dict[str, Any]) -> str:
    """Two lines for the top of a program's output."""
    has = ", ".join(found["instructions"]) or "none of those looked for"
    limits = ", ".join(f"{name} {value:g}" for name, value in found["cgroup"].items() if value is not None)
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory_gb'] or 0:.0f} GB; {has}"
        f"{f'; limits: {limits}' if limits else ''}\nPython {found['python']}, {versions}"
    )


def _gigabytes(count: int | None) -> float | None:
    return None if count is None else round(count / 1e9, 1)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
