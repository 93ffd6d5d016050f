"""The GPU that an installed backend of Keras can use, if any.

A machine without a GPU's device files is never asked. Elsewhere each backend is asked once, in a process of its own,
and its answer is kept in the cache, as asking takes seconds; ``tlcli doctor`` asks again.
"""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata

from tlcli.errors import ResourceError
from tlcli.system.files import cache_folder, write_text
from tlcli.system.gpu import gpu_devices, gpu_identity

BACKENDS = ("tensorflow", "jax", "torch")
"""Keras's backends that know GPUs, in the order in which they are asked: the names of their modules."""
TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
_LONGEST = 120
"""Seconds that a backend may take to answer: a first import from a network's disk takes half a minute."""


@dataclass(frozen=True)
class Gpu:
    """The first GPU that a backend sees."""

    backend: str
    """One of :data:`BACKENDS`."""
    name: str
    """As the card calls itself: ``NVIDIA H100 80GB HBM3``."""
    memory_bytes: int
    """That the backend may use; 0 where it does not say."""
    has_bf16: bool
    """Whether it multiplies bfloat16 in hardware."""
    count: int = 1
    """GPUs that the backend sees; an engine uses the first."""


@dataclass(frozen=True)
class GpuSearch:
    """What was found."""

    gpu: Gpu | None = None
    devices: tuple[str, ...] = ()
    """Device files of GPUs; without any, no backend is asked."""
    asked: tuple[str, ...] = ()
    """Backends that are installed."""

    @property
    def is_unused(self) -> bool:
        """Whether this machine has a GPU that no installed backend sees."""
        return bool(self.devices) and self.gpu is None


def find_gpu() -> Gpu | None:
    """Returns the GPU that an installed backend sees, the first backend of :data:`BACKENDS` that sees one."""
    return search_gpu().gpu


@lru_cache(maxsize=1)
def search_gpu(again: bool = False) -> GpuSearch:
    """Looks for device files, then asks the installed backends.

    Args:
        again: do not take an answer of before from the cache.
    """
    devices = gpu_devices()
    if not devices:
        return GpuSearch()
    asked = tuple(name for name in BACKENDS if importlib.util.find_spec(name))
    answers = (_known(name, again) for name in asked)
    return GpuSearch(next((one for one in answers if one), None), devices, asked)


def unused_note(found: GpuSearch) -> str:
    """Why the GPU of this machine is not used, and what to do; empty where it is used, or there is none."""
    if not found.is_unused:
        return ""
    backends = " and ".join(TITLES[name] for name in found.asked) or "no backend of Keras"
    return (
        f"This machine has a GPU ({found.devices[0]}), which the installed {backends} cannot use: the CPU computes. "
        "Run: pip install 'tensorflow[and-cuda]', then tlcli doctor, which looks again."
    )


def version_of(module: str) -> str:
    """The version of the package that a module comes from, as ``tensorflow`` is in tensorflow-cpu and tensorflow-rocm,
    too; empty where no package has it."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(module)
    with suppress(metadata.PackageNotFoundError):
        packages = metadata.packages_distributions().get(module, ())
        return ", ".join(sorted({f"{metadata.version(one)} ({one})" for one in packages}))
    return ""


def _known(backend: str, again: bool) -> Gpu | None:
    """The answer of a backend, from the cache or asked now."""
    depends = [backend, version_of(backend), *gpu_identity()]
    record = cache_folder() / "gpu" / f"{hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]}.json"
    if not again:
        with suppress(OSError, ValueError, TypeError):
            kept = json.loads(record.read_text(encoding="utf-8"))
            return Gpu(**kept) if kept else None
    found = _ask(backend)
    with suppress(OSError, ResourceError):  # a cache that is read-only
        write_text(record, json.dumps(asdict(found) if found else None))
    return found


def _ask(backend: str) -> Gpu | None:
    """Asks a backend in a process of its own; one that fails sees no GPU."""
    # -P: a jax.py or json.py in the user's current folder must not be imported.
    command = [sys.executable, "-P", "-m", "tlcli.engines.gpu_process", backend]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError, TypeError):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LONGEST, check=True)
        fields = json.loads(done.stdout.splitlines()[-1])
        return Gpu(backend, **fields) if fields else None
    return None
