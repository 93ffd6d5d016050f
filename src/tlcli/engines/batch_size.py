"""How many images a GPU computes at a time."""

import math
from collections.abc import Iterable

_LARGEST = 256
"""More images at a time are no faster: the largest products are as large as a GPU needs them long before."""
_SHARE = 0.5
"""Of the memory: a backend keeps workspace for its convolutions, and other programs need some."""
_HOST_BYTES = 128 << 20
"""Of the pixels of a batch, of which the host holds six: three submitted, three put together."""
_ALIVE = 6
"""Feature maps of the largest layer's size that are held at a time: inputs, outputs, what later layers take."""


def activation_bytes(shapes: Iterable[tuple[int, ...]], itemsize: int) -> int:
    """About the bytes that an image takes on its way through a network, from its layers' shapes without N."""
    return max(_ALIVE * itemsize * math.prod(shape) for shape in shapes)


def choose_batch_size(memory_bytes: int, bytes_per_image: int, size: tuple[int, int]) -> int:
    """The largest power of two up to 256 that the GPU's memory and the host's allow; 1 at least.

    Args:
        memory_bytes: of the GPU; 0 where it is unknown, which limits nothing.
        bytes_per_image: see :func:`activation_bytes`.
        size: height and width of an image.
    """
    most = min(_LARGEST, _HOST_BYTES // (3 * size[0] * size[1]))
    if memory_bytes:
        most = min(most, int(memory_bytes * _SHARE) // bytes_per_image)
    return 1 << max(0, most.bit_length() - 1)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a backend of Keras reports that the GPU's memory does not suffice."""
    text = f"{type(error).__name__} {error}".lower()
    return any(sign in text for sign in ("resource_exhausted", "resourceexhausted", "out of memory", "outofmemory"))
