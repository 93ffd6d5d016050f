"""A process that asks one Keras backend for its GPUs: a backend takes seconds to import, and keeps a GPU's memory.

Importing this module is cheap; only ``main`` imports the backend.
"""

import json
import sys
from typing import Any

_BFLOAT16 = (8, 0)
"""Compute capability of the first GPUs of NVIDIA that multiply bfloat16."""


def of_tensorflow() -> dict[str, object] | None:
    """What TensorFlow says of its first GPU; None if it sees none."""
    import tensorflow as tf
    from tensorflow.python.client import device_lib

    found = tf.config.list_physical_devices("GPU")
    if not found:
        return None
    details = tf.config.experimental.get_device_details(found[0])
    memory = next(one.memory_limit for one in device_lib.list_local_devices() if one.device_type == "GPU")
    capability = tuple(details.get("compute_capability", ()))
    return _fields(details.get("device_name"), memory, capability >= _BFLOAT16, len(found))


def of_jax() -> dict[str, object] | None:
    """What JAX says of its first GPU; None if it sees none."""
    import jax

    found = [one for one in jax.devices() if one.platform in ("gpu", "cuda", "rocm")]
    if not found:
        return None
    memory = (found[0].memory_stats() or {}).get("bytes_limit", 0)
    capability = tuple(map(int, str(getattr(found[0], "compute_capability", "0.0")).split(".")[:2]))
    return _fields(found[0].device_kind, memory, capability >= _BFLOAT16, len(found))


def of_torch() -> dict[str, object] | None:
    """What PyTorch says of its first GPU; None if it sees none."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_properties(0).name
    return _fields(name, free, torch.cuda.is_bf16_supported(including_emulation=False), torch.cuda.device_count())


def _fields(name: Any, memory: int, has_bf16: bool, count: int) -> dict[str, object]:
    return {"name": str(name or "GPU"), "memory_bytes": int(memory), "has_bf16": bool(has_bf16), "count": count}


def main() -> None:
    """Prints what the backend that its argument names says of its first GPU, as JSON."""
    asked = {"tensorflow": of_tensorflow, "jax": of_jax, "torch": of_torch}[sys.argv[1]]
    print(json.dumps(asked()))  # noqa: T201 - the parent process reads it


if __name__ == "__main__":
    main()
