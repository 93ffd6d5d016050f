"""Whether this machine has a GPU at all: a look at its device files, which costs microseconds and imports nothing."""

import os
from pathlib import Path

_DEV = Path("/dev")
_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")
"""Of NVIDIA's driver, of AMD's, and of Windows' in its Linux subsystem."""
_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_DRIVER = Path("/proc/driver/nvidia/version")


def gpu_devices() -> tuple[str, ...]:
    """Returns the device files of GPUs; none where a variable such as ``CUDA_VISIBLE_DEVICES=-1`` hides all."""
    if any(os.environ.get(name, "0").strip() in ("", "-1", "none") for name in _HIDING):
        return ()
    return tuple(sorted(str(path) for pattern in _DEVICES for path in _DEV.glob(pattern)))


def gpu_identity() -> tuple[str, ...]:
    """Returns what an answer about the GPUs depends on: device files, driver, and the variables that choose some."""
    driver = ""
    if os.path.isfile(_DRIVER):  # noqa: PTH113 - never raises
        driver = _DRIVER.read_text(errors="replace").strip()
    return (*gpu_devices(), driver, *(f"{name}={os.environ.get(name)}" for name in _HIDING))
