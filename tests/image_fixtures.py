"""Fixtures shared by the tests of images, folders and label tables."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]
Png = Callable[..., bytes]
Put = Callable[[Path, int], Path]


def _encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002 - as Pillow calls it
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def encode() -> Encode:
    """``encode(image, format, **options)``: the bytes of an image file."""
    return _encode


@pytest.fixture
def put() -> Put:
    """``put(path, number)``: writes a small image, different for each number, and returns the path."""

    def write(path: Path, number: int) -> Path:
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encode(Image.fromarray(pixels)))
        return path

    return write


@pytest.fixture
def png() -> Png:
    """``png(width, height, depth=8, rows=None)``: a colour PNG, 16 bits deep or without pixels."""

    def write(width: int, height: int, depth: int = 8, rows: bytes | None = None) -> bytes:
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))]
        chunks += [] if rows is None else [(b"IDAT", zlib.compress(rows))]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in [*chunks, (b"IEND", b"")]
        )

    return write
