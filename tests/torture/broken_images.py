"""Broken images, malicious images and other files: each must be refused with its code. And unusual BMPs."""

import functools
import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from tests.torture.image_bytes import (
    COLOUR,
    IEND,
    SIDE,
    SIGNATURE,
    Tag,
    bmp,
    chunk,
    encode,
    frame_changed,
    ihdr,
    plain,
    png_of,
    tiff,
    tiff_plain,
    tiff_tags,
    with_segments,
    without_segment,
)
from tests.torture.image_kinds import Kind, good, valid

_UNKNOWN, _LARGE, _EMPTY = "image.unknown_format", "image.too_large", "image.no_pixels"
_EITHER = ("image.broken", _UNKNOWN, "image.unsupported_layout")
_NAMED = ("image.unsupported_format", "image.not_an_image", "image.format_not_allowed", _UNKNOWN)
"""Pillow fails when it opens the file or when it reads the pixels; versions differ."""


@functools.cache
def broken() -> list[Kind]:
    """All kinds that must be refused."""
    return [*_png(), *_jpeg(), *_gif_webp(), *_bmp(), *_tiff(), *_no_images()]


def _bad(name: str, data: bytes, *codes: str) -> Kind:
    return Kind(name, data, codes=codes or _EITHER)


def _maybe(name: str, data: bytes) -> Kind:
    """Damage that Pillow may overlook; missing pixels become black or grey."""
    return Kind(name, data, codes=_EITHER, sure=False)


def bmps() -> Iterator[Kind]:
    """Valid BMPs of each kind."""
    palette, blue = bytes(4) + bytes([*COLOUR[::-1], 0]), bytes(COLOUR[::-1])
    for bits, row in ((1, b"\xff\xff\0\0"), (4, b"\x11" * 8), (8, b"\x01" * 16)):
        yield good(f"BMP, {bits} bits", bmp(bits, row * SIDE, palette.ljust(4 << bits, b"\0")))
        yield good(f"BMP, {bits} bits, a short palette", bmp(bits, row * SIDE, palette, used=2))
    yield good("BMP, 24 bits", bmp(24, blue * SIDE * SIDE))
    yield good("BMP, 24 bits, top first", bmp(24, blue * SIDE * SIDE, size=(SIDE, -SIDE)))
    yield good("BMP, 32 bits", bmp(32, (blue + b"\0") * SIDE * SIDE))
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x1F)
    yield good(
        "BMP, 16 bits (565)",
        bmp(16, struct.pack("<H", 0x1F << 5) * SIDE * SIDE, compression=3, masks=masks),
        (0, 125, 0),
        4,
    )
    yield good("BMP, 16 bits (555)", bmp(16, struct.pack("<H", 0x1F << 10) * SIDE * SIDE), (255, 0, 0), 1)
    runs = {8: bytes([SIDE, 1, 0, 0]), 4: bytes([SIDE, 0x11, 0, 0])}
    for bits, run in runs.items():
        rows = run * SIDE + b"\0\1"
        yield good(
            f"BMP, run lengths of {bits} bits",
            bmp(bits, rows, palette.ljust(4 << bits, b"\0"), compression=3 - bits // 4),
        )
    core = struct.pack("<IHHHH", 12, SIDE, SIDE, 1, 24) + blue * SIDE * SIDE
    yield good("BMP of OS/2", b"BM" + struct.pack("<IHHI", 14 + len(core), 0, 0, 26) + core)
    yield good("BMP, bytes after its end", bmp(24, blue * SIDE * SIDE) + b"x" * 100)
    yield good("BMP written by Pillow", encode(plain(), "BMP"))


def _png() -> Iterator[Kind]:
    rows = zlib.compress((b"\0" + bytes(COLOUR) * SIDE) * SIDE)
    whole = png_of([ihdr(SIDE, SIDE), (b"IDAT", rows), IEND])
    head, pixels, end = chunk(*ihdr(SIDE, SIDE)), chunk(b"IDAT", rows), chunk(*IEND)
    for kept in (1, 8, 20, 33, 41, 50):
        yield _bad(f"PNG cut after {kept} bytes", whole[:kept])
    yield _bad("PNG, wrong checksum of its header", SIGNATURE + chunk(*ihdr(SIDE, SIDE), crc=1) + pixels + end)
    yield _maybe("PNG, wrong checksum of its pixels", SIGNATURE + head + chunk(b"IDAT", rows, crc=1) + end)
    yield _bad("PNG, wrong checksum of a text", SIGNATURE + head + chunk(b"tEXt", b"a\0b", crc=1) + pixels + end)
    yield _bad("PNG without pixels", SIGNATURE + head + end)
    yield _bad("PNG without a header", SIGNATURE + pixels + end)
    yield _bad("PNG transferred as text (CR LF became LF)", whole.replace(b"\r\n", b"\n"))
    yield _maybe(
        "PNG, half of its pixels",
        png_of([ihdr(SIDE, SIDE), (b"IDAT", zlib.compress((b"\0" + bytes(COLOUR) * SIDE) * 8)), IEND]),
    )
    yield _bad("PNG, pixels that are not compressed", png_of([ihdr(SIDE, SIDE), (b"IDAT", b"garbage" * 99), IEND]))
    yield _bad(
        "PNG, an unknown filter",
        png_of([ihdr(SIDE, SIDE), (b"IDAT", zlib.compress((b"\x09" + bytes(48)) * SIDE)), IEND]),
    )
    yield _maybe("PNG, a chunk that declares 4 GiB", SIGNATURE + head + chunk(b"IDAT", rows, length=0xFFFFFFFF))
    yield _bad(
        "PNG, text of 70 MB, compressed to 70 KB",
        png_of([ihdr(SIDE, SIDE), (b"zTXt", b"a\0\0" + zlib.compress(bytes(70_000_000))), (b"IDAT", rows), IEND]),
    )
    yield _bad(
        "PNG, a profile of 70 MB, compressed to 70 KB",
        png_of([ihdr(SIDE, SIDE), (b"iCCP", b"a\0\0" + zlib.compress(bytes(70_000_000))), (b"IDAT", rows), IEND]),
    )
    half = (b"zTXt", b"a\0\0" + zlib.compress(bytes(40_000_000)))
    yield _bad("PNG, two texts of 40 MB, compressed", png_of([ihdr(SIDE, SIDE), half, half, (b"IDAT", rows), IEND]))
    for name, header in {
        "bit depth 3": ihdr(SIDE, SIDE, 3), "colour type 5": ihdr(SIDE, SIDE, 8, 5), "colour type 255": ihdr(SIDE, SIDE, 8, 255),
        "no width": ihdr(0, SIDE), "no height": ihdr(SIDE, 0), "filter method 1": ihdr(SIDE, SIDE, 8, 2, 0, 1, 0),
    }.items():  # fmt: skip
        yield _bad(f"PNG, {name}", png_of([header, (b"IDAT", rows), IEND]), *_EITHER, _EMPTY)
    for width, height in (
        (2**31 - 1, 2**31 - 1),
        (2**32 - 1, 1),
        (20000, 20000),
        (16385, 1),
        (1, 16385),
        (10001, 10000),
    ):
        yield _bad(
            f"PNG, a header of {width} x {height} pixels", png_of([ihdr(width, height), (b"IDAT", rows), IEND]), _LARGE
        )


def _jpeg() -> Iterator[Kind]:
    base = encode(Image.effect_noise((64, 64), 60).convert("RGB"), "JPEG", quality=90)
    for share in (0.02, 0.1, 0.3, 0.6, 0.9, 0.99):
        yield _bad(f"JPEG, its first {share:.0%}", base[: int(share * len(base))])
    yield _bad(
        "JPEG, progressive, half of it", encode(Image.effect_noise((64, 64), 60), "JPEG", progressive=True)[:1500]
    )
    yield _bad("JPEG without its end (EOI)", encode(plain(), "JPEG")[:-2])
    yield _bad("JPEG, only its first marker", b"\xff\xd8\xff")
    for name, marker in {"lossless": 0xC3, "differential": 0xC5, "lossless, arithmetic": 0xCB, "of 48 x": 0xC8}.items():
        yield _bad(f"JPEG, a frame header that says {name}", frame_changed(base, 0, b"", marker))
    yield _bad("JPEG, 12 bits a sample", frame_changed(base, 2, b"\x0c"))
    yield _bad("JPEG, 16 bits a sample", frame_changed(base, 2, b"\x10"))
    yield _bad("JPEG, no height", frame_changed(base, 3, b"\0\0"), *_EITHER, _EMPTY)
    yield _bad("JPEG, no width", frame_changed(base, 5, b"\0\0"), *_EITHER, _EMPTY)
    yield _bad("JPEG, a header of 65535 x 65535 pixels", frame_changed(base, 3, b"\xff" * 4), _LARGE)
    yield _maybe("JPEG, a header of 16384 x 6000 pixels", frame_changed(base, 3, struct.pack(">HH", 6000, 16384)))
    yield _bad("JPEG, two components", frame_changed(base, 7, b"\2"))
    yield _bad("JPEG, 255 components", frame_changed(base, 7, b"\xff"))
    yield _bad("JPEG, sampled 15 times", frame_changed(base, 9, b"\xff"))
    for name, marker in {"quantisation tables": 0xDB, "a frame header": 0xC0, "a scan": 0xDA}.items():
        yield _bad(f"JPEG without {name}", without_segment(base, marker))
    yield _maybe("JPEG, a segment of no length", with_segments(base, b"\xff\xe5\0\0"))
    yield _bad("JPEG, a segment past its end", with_segments(base, b"\xff\xe5\xff\xff"))
    yield _bad("JPEG transferred as text (UTF-8)", base.decode("latin-1").encode())


def _gif_webp() -> Iterator[Kind]:
    noise = Image.effect_noise((64, 64), 60)
    gif = encode(noise, "GIF")
    yield _bad("GIF, no frame", gif[:6] + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b";")
    for kept in (6, 10, 100, 800, len(gif) - 200):
        yield _bad(f"GIF cut after {kept} bytes", gif[:kept])
    huge = gif[:6] + struct.pack("<HH", 65535, 65535) + gif[10:]
    yield _bad("GIF, a header of 65535 x 65535 pixels", huge, *_EITHER, _LARGE)
    yield _bad(
        "GIF, a code size of 99",
        b"GIF89a"
        + struct.pack("<HHBBB", 9, 9, 0x80, 0, 0)
        + bytes(6)
        + b","
        + struct.pack("<HHHHB", 0, 0, 9, 9, 0)
        + b"\x63\1\0\0;",
    )
    webp = encode(noise, "WEBP", quality=90)
    for kept in (11, 20, 40, len(webp) // 2, len(webp) - 20):
        yield _bad(f"WEBP cut after {kept} bytes", webp[:kept])
    canvas = b"\x10\0\0\0" + b"\xff\x3f\0" * 2  # alpha; 16,384 x 16,384
    extended = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + webp[12:]
    yield _bad(
        "WEBP, a canvas of 16384 x 16384 pixels",
        b"RIFF" + struct.pack("<I", len(extended)) + extended,
        *_EITHER,
        _LARGE,
    )
    yield _bad("WEBP, a length of 4 GiB", webp[:4] + b"\xff" * 4 + webp[8:])
    yield _bad("RIFF of a WAV", b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + bytes(92), _UNKNOWN)


def _bmp() -> Iterator[Kind]:
    blue = bytes(COLOUR[::-1]) * SIDE * SIDE
    yield _bad("BMP cut in its header", bmp(24, blue)[:30])
    yield _bad("BMP, half of its pixels", bmp(24, blue)[: 54 + len(blue) // 2])
    yield _bad("BMP, pixels past its end", bmp(24, blue, offset=10**6))
    yield _bad("BMP, 99 bits", bmp(99, blue))
    yield _bad("BMP, unknown compression 99", bmp(24, blue, compression=99))
    yield _bad("BMP of a JPEG", bmp(0, encode(plain(), "JPEG"), compression=4))
    yield _bad("BMP, 4,294,967,295 colours", bmp(8, blue, used=0xFFFFFFFF))
    yield _bad("BMP, masks of no colour", bmp(16, blue, compression=3, masks=struct.pack("<3I", 1, 2, 4)))
    yield _bad("BMP, no width", bmp(24, blue, size=(0, SIDE)), *_EITHER, _EMPTY)
    yield _bad("BMP, a negative width", bmp(24, blue, size=(-SIDE, SIDE)), *_EITHER, _EMPTY, _LARGE)
    yield _bad("BMP, a header of 2147483647 x 2147483647 pixels", bmp(24, blue, size=(2**31 - 1, 2**31 - 1)), _LARGE)
    yield _bad("BMP, a header of 16384 x 6000 pixels", bmp(24, blue, size=(16384, 6000)))
    yield _bad("BMP, runs past its rows and end", bmp(8, b"\xff\1" * 9, bytes(1024), compression=1))


def _tiff() -> Iterator[Kind]:
    data, three = bytes(COLOUR) * SIDE * SIDE, [8, 8, 8]
    noise = encode(Image.effect_noise((64, 64), 60), "TIFF", compression="tiff_lzw")
    for share in (0.05, 0.5, 0.95):
        yield _bad(f"TIFF, its first {share:.0%}", noise[: int(share * len(noise))])
    changed: dict[str, dict[str, Sequence[int]]] = {
        "no width": {"t256": [0]}, "no offset of its pixels": {"t273": []}, "unknown compression 99": {"t259": [99]},
        "pixels past its end": {"t273": [10**6]}, "a strip of 4 GiB": {"t279": [0xFFFFFFFF], "t273": [10**6]},
        "declared as LZW": {"t259": [5]}, "declared as deflate": {"t259": [8]},
        "declared as JPEG": {"t259": [7]}, "declared as old-style JPEG": {"t259": [6]},
        "declared as fax": {"t259": [4]}, "colours of kind 99": {"t262": [99]}, "a row in no strip": {"t278": [0], "t259": [5]},
        "tiles of no width": {"t273": [], "t322": [0], "t323": [0], "t324": [8], "t325": [9]},
        "tiles of 4,294,967,295 pixels": {"t273": [], "t322": [0xFFFFFFFF], "t323": [0xFFFFFFFF], "t324": [8], "t325": [9]},
    }  # fmt: skip
    for name, changes in changed.items():
        yield _bad(f"TIFF, {name}", tiff(_wide(tiff_tags(three, 2, data, **changes)), data), *_EITHER, _EMPTY)
    yield _bad(
        "TIFF, a header of 4294967295 x 4294967295 pixels",
        tiff(tiff_tags(three, 2, data, t256=[2**32 - 1], t257=[2**32 - 1]), data),
        _LARGE,
    )
    yield _bad("TIFF, its directory is past its end", tiff(tiff_tags(three, 2, data), data, first=10**6))
    yield _bad("TIFF, its directory is its header", tiff(tiff_tags(three, 2, data), data, first=0))
    yield _bad("TIFF, 65,535 tags declared", b"II*\0\x08\0\0\0\xff\xff" + bytes(100))
    lying = bytearray(tiff(tiff_tags(three, 2, data), data))
    offset = lying.index(struct.pack("<HHI", 258, 3, 3))
    lying[offset + 4 : offset + 8] = b"\xff" * 4
    yield _bad("TIFF, 4,294,967,295 values of a tag", bytes(lying))
    yield _bad("TIFF, floats of 64 bits, unsupported by Pillow", tiff_plain([64], 1, bytes(8), t339=[3]))
    yield _bad("TIFF, floats a colour, unsupported by Pillow", tiff_plain([32] * 3, 2, bytes(12), t339=[3] * 3))
    nan = np.full(SIDE * SIDE, np.nan, "<f4").tobytes()
    yield _bad(
        "TIFF, floats that are not numbers",
        tiff(tiff_tags([32], 1, nan, t339=[3]), nan),
        "image.not_finite",
    )


def _wide(tags: list[Tag]) -> list[Tag]:
    return [(number, "I" if max(values) > 65535 else kind, values) for number, kind, values in tags]


def _no_images() -> Iterator[Kind]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.jpg", encode(plain(), "JPEG"))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.jpg"))
    others = {
        "one byte": b"\xff", "1,000 zeros": bytes(1000), "1,000 bytes of 255": b"\xff" * 1000, "text": b"not an image\n",
        "HTML": b"<!DOCTYPE html><html><img src='a.jpg'></html>", "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "JSON": b"{}", "a program in Python": b"#!/usr/bin/env python\nraise SystemExit\n", "PDF": b"%PDF-1.7\n1 0 obj\n",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n", "PSD": encode_psd(), "zip": archive.getvalue(),
        "tar": tar.getvalue(), "gzip": b"\x1f\x8b\x08" + bytes(30), "pickle": pickle.dumps({"a": 1}), "ELF": b"\x7fELF\2\1\1" + bytes(60),
        "EXE": b"MZ" + bytes(100), "MP4": b"\0\0\0\x18ftypmp42" + bytes(40), "HEIC": b"\0\0\0\x18ftypheic" + bytes(40),
        "MP3": b"ID3\4" + bytes(40), "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(40), "NumPy": b"\x93NUMPY\1\0" + bytes(40),
        "DICOM": bytes(128) + b"DICM" + bytes(40), "FITS": b"SIMPLE  =                    T".ljust(2880), "QOI": b"qoif" + bytes(20),
        "camera raw (CR3)": b"\0\0\0\x18ftypcrx " + bytes(40), "a Windows link": b"L\0\0\0\1\x14\2\0" + bytes(40),
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "half a download (.part) of zeros": encode(plain(), "JPEG")[:30] + bytes(10_000),
    }  # fmt: skip
    yield Kind("an empty file", b"", codes=("image.empty",))
    for name, data in others.items():
        yield _bad(f"{name}, named .jpg", data, *_NAMED, "image.broken")
    for kind in valid():
        if not kind.usual:
            yield _bad(
                f"{kind.name.removesuffix(' (opt-in)')}, not opted in", kind.data, _UNKNOWN, "image.format_not_allowed"
            )
    yield _bad("JPEG, more than 64 MiB", encode(plain(), "JPEG") + bytes(65 << 20), "image.file_too_large")


def encode_psd() -> bytes:
    """The header of a Photoshop image."""
    return b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, SIDE, SIDE, 8, 3) + bytes(12) + b"\0\0" + bytes(3 * SIDE * SIDE)
