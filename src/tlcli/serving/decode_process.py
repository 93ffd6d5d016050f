"""A process that decodes the images that clients send, and parses long JSON: what malicious bytes break is this process
alone.

It reads requests on stdin and writes pixels to stdout, each a frame: two lengths (little-endian, 32 bits), a head in
JSON, and bytes. Its memory is limited; its parent limits its time.
"""

import json
import os
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tlcli.images.preparation import Preparation

LENGTHS = struct.Struct("<II")
READY, TOO_MUCH_MEMORY = "ready", "too_much_memory"


def preparation_of(fields: Mapping[str, Any]) -> "Preparation":
    """The preparation that JSON has made lists of."""
    from tlcli.images.preparation import Preparation  # noqa: PLC0415 - Pillow

    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()}
    return Preparation(**values)


def begin(head: Mapping[str, Any], size: int) -> bytes:
    """What is written before ``size`` bytes of data."""
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), size) + text


def frame(head: Mapping[str, Any], data: bytes | memoryview = b"") -> bytes:
    """What is written of a head and its bytes."""
    return b"".join((begin(head, len(data)), data))


def answer_of(fields: Mapping[str, Any], data: bytes) -> bytes:
    """The frame that answers a request: pixels uint8 [H, W, 3] and their ``shape``, or ``error``: code and reason. With
    ``parse`` (protocol, length of the JSON, images at most) what :func:`tlcli.serving.parsing.parsed` gives."""
    from tlcli.images.decode import BadImageError, prepare  # noqa: PLC0415 - Pillow, NumPy
    from tlcli.serving.parsing import parsed  # noqa: PLC0415 - NumPy

    try:
        if "parse" in fields:
            name, header_length, most = fields["parse"]
            head, images = parsed(name, data, header_length, most)
            return frame(head, b"".join(images))
        pixels = prepare(data, preparation_of(fields))
        return frame({"shape": pixels.shape}, memoryview(pixels.tobytes()))
    except BadImageError as error:
        return frame({"error": [error.code, error.reason]})
    except MemoryError:
        return frame({"code": TOO_MUCH_MEMORY})


def main() -> None:
    """The process: answers until its stdin ends. Its argument is the memory that it may take, in bytes."""
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # a library that prints must not break a frame
        os.dup2(null, stream)
    from tlcli.images.decode import prepare  # noqa: F401, PLC0415 - before the memory is limited
    from tlcli.serving.parsing import parsed  # noqa: F401, PLC0415

    _limit(int(sys.argv[1]))
    target.write(frame({"code": READY}))
    target.flush()
    while lengths := source.read(LENGTHS.size):
        head, size = LENGTHS.unpack(lengths)
        _answer(target, json.loads(source.read(head)), source.read(size))


def _answer(target: BinaryIO, fields: Mapping[str, Any], data: bytes) -> None:
    target.write(answer_of(fields, data))
    target.flush()


def _limit(memory: int) -> None:
    """Where the system has such limits: memory beyond what is taken now, no files written, no core dumps."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    with suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    for name in ("RLIMIT_CORE", "RLIMIT_FSIZE"):
        with suppress(OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (0, 0))


if __name__ == "__main__":
    main()
