"""Names the machine that figures were measured on."""

import os
import platform
from importlib import metadata
from pathlib import Path


def machine() -> str:
    """Processor, cores and the versions that matter for speed."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("openvino", "tensorflow", "keras"))
    return (
        f"{names[0] if names else platform.processor()}, {cores} cores; Python {platform.python_version()}, {versions}"
    )
