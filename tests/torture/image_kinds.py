"""Unusual valid images: each must be decoded to the right pixels."""

import functools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, PngImagePlugin, features
from tests.torture.image_bytes import (
    BACKGROUND,
    CHANNELS,
    COLOUR,
    IEND,
    SIDE,
    SIGNATURE,
    chunk,
    encode,
    ihdr,
    plain,
    png,
    png_of,
    quarters,
    segment,
    tiff,
    tiff_plain,
    tiff_tags,
    with_segments,
)

from tlcli.images.formats import DEFAULT_FORMATS

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPT_IN = ("AVIF", "ICO", "JPEG2000", "PPM", "TGA")
"""Formats that a config may add to the default ones."""
ALL_FORMATS = (*DEFAULT_FORMATS, *OPT_IN)


@dataclass(frozen=True)
class Kind:
    """A kind of image."""

    name: str
    data: bytes
    pixels: "NDArray[np.uint8] | None" = None
    """uint8 [SIDE, SIDE, 3]: what a valid image must decode to; None if the standard leaves it open."""
    within: int = 0
    """Levels by which it may differ."""
    codes: tuple[str, ...] = ()
    """Codes that it may be refused with, as versions of Pillow differ; empty: it is valid."""
    sure: bool = True
    """False: it may be decoded as well, to any pixels."""
    usual: bool = True
    """Whether its format is read by default."""

    @property
    def valid(self) -> bool:
        """Whether it must be decoded."""
        return not self.codes


def good(name: str, data: bytes, colour: Any = COLOUR, within: int = 0, usual: bool = True) -> Kind:
    """A valid image of one colour or of these pixels; None accepts any."""
    pixels = None if colour is None else np.broadcast_to(np.asarray(colour, np.uint8), (SIDE, SIDE, 3))
    return Kind(name, data, pixels, within, usual=usual)


@functools.cache
def valid() -> list[Kind]:
    """All valid kinds but BMPs."""
    return [*_png(), *_png_parts(), *_jpeg(), *_exif(), *_gif(), *_webp(), *_tiff(), *_sizes(), *_opt_in()]


def _levels(depth: int, colours: int) -> tuple[list[int], tuple[int, int, int]]:
    """The samples of a pixel, and the RGB levels that they decode to."""
    top = 2**depth - 1
    grey = top // 3 if depth > 1 else 1
    expected = round(grey * 255 / top)
    if colours in (0, 4):
        return [grey, *([top] if colours == 4 else [])], (expected, expected, expected)
    if colours == 3:
        return [1], COLOUR
    return [level * (257 if depth == 16 else 1) for level in COLOUR] + ([top] if colours == 6 else []), COLOUR


_PALETTE = (b"PLTE", bytes([0, 0, 0, *COLOUR]))
_CASES = [
    (d, c)
    for c, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items()
    for d in depths
]
_NAMES = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}


def _png() -> Iterator[Kind]:
    for depth, colours in _CASES:
        samples, expected = _levels(depth, colours)
        extra = [_PALETTE] if colours == 3 else []
        name = f"PNG, {_NAMES[colours]}, {depth} bits"
        yield good(name, png(depth, colours, samples, extra), expected)
        yield good(f"{name}, interlaced", png(depth, colours, samples, extra, interlaced=True), expected)
        if colours in (4, 6):
            yield good(f"{name}, fully transparent", png(depth, colours, [*samples[:-1], 0]), BACKGROUND)
        elif colours == 3:
            yield good(f"{name}, tRNS", png(depth, 3, samples, [*extra, (b"tRNS", b"\xff\0")]), BACKGROUND)
        else:
            trns = b"".join(struct.pack(">H", sample) for sample in samples)
            yield good(f"{name}, tRNS", png(depth, colours, samples, [(b"tRNS", trns)]), BACKGROUND)
            other = b"".join(struct.pack(">H", sample ^ 1) for sample in samples)
            if (depth, colours) != (16, 2):  # of 16-bit colour only 8 bits are compared
                yield good(
                    f"{name}, tRNS of the next level", png(depth, colours, samples, [(b"tRNS", other)]), expected
                )


def _png_parts() -> Iterator[Kind]:
    rows = zlib.compress((b"\0" + bytes(COLOUR) * SIDE) * SIDE)
    parts: dict[str, list[tuple[bytes, bytes]]] = {
        "gAMA": [(b"gAMA", struct.pack(">I", 45455))],
        "gAMA of 0": [(b"gAMA", bytes(4))],
        "cHRM, pHYs, tIME, sBIT, sRGB": [
            (b"sRGB", b"\0"), (b"cHRM", struct.pack(">8I", *[31270] * 8)), (b"sBIT", b"\x05\x06\x05"),
            (b"pHYs", struct.pack(">IIB", 1, 2, 0)), (b"tIME", struct.pack(">H5B", 2024, 2, 30, 25, 61, 61)),
        ],
        "an unknown chunk": [(b"abCd", b"x" * 1000)],
        "text of 2 MB, compressed": [(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2_000_000))],
        "text of 2 MB, compressed, in Unicode": [(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 2_000_000))],
        "text of 2 MB": [(b"tEXt", b"Comment\0" + b"a" * 2_000_000)],
        "10,000 texts": [(b"tEXt", b"Comment\0a")] * 10_000,
        "a colour profile of 2 MB": [(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000)))],
        "a broken colour profile": [(b"iCCP", b"icc\0\0broken")],
        "an eXIf chunk of garbage": [(b"eXIf", b"garbage")],
    }  # fmt: skip
    for name, extra in parts.items():
        yield good(f"PNG, {name}", png_of([ihdr(SIDE, SIDE), *extra, (b"IDAT", rows), IEND]))
    bytewise = [(b"IDAT", rows[place : place + 1]) for place in range(len(rows))]
    yield good("PNG, an IDAT chunk for each byte", png_of([ihdr(SIDE, SIDE), *bytewise, IEND]))
    yield good(
        "PNG, empty IDAT chunks between",
        png_of([ihdr(SIDE, SIDE), (b"IDAT", rows[:9]), (b"IDAT", b""), (b"IDAT", rows[9:]), IEND]),
    )
    yield good("PNG, bytes after its end", png_of([ihdr(SIDE, SIDE), (b"IDAT", rows), IEND]) + b"\0" * 1000)
    yield good("PNG, no IEND chunk", png_of([ihdr(SIDE, SIDE), (b"IDAT", rows)]))
    yield good("PNG, wrong checksum of IEND", png_of([ihdr(SIDE, SIDE), (b"IDAT", rows)]) + chunk(*IEND, crc=1))
    bomb = zlib.compress((b"\0" + bytes(COLOUR) * SIDE) * SIDE + bytes(50_000_000))
    yield good(
        "PNG, 50 MB more after its pixels, compressed to 50 KB", png_of([ihdr(SIDE, SIDE), (b"IDAT", bomb), IEND])
    )
    yield good("PNG of quarters, any filters", encode(Image.fromarray(quarters())), quarters())
    frames = [plain("RGB", (0, 9, 9)), plain("RGB", (9, 9, 0))]
    yield good("PNG, animated", encode(plain(), save_all=True, append_images=frames))
    yield good(
        "PNG, animated, with an image before", encode(plain(), save_all=True, append_images=frames, default_image=True)
    )
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("größe", "甲虫", "de", "größe")
    yield good("PNG, text in Unicode", encode(plain(), pnginfo=notes))
    assert encode(plain())[:8] == SIGNATURE
    assert set(CHANNELS) == set(_NAMES)


def _jpeg() -> Iterator[Kind]:
    base = encode(plain(), "JPEG", quality=95)
    ways: dict[str, dict[str, Any]] = {
        "plain": {}, "progressive": {"progressive": True}, "optimised": {"optimize": True},
        "4:4:4": {"subsampling": 0}, "4:2:2": {"subsampling": 1}, "4:2:0": {"subsampling": 2},
        "restart markers, every block": {"restart_marker_blocks": 1}, "restart markers, every row": {"restart_marker_rows": 1},
        "components R, G, B": {"keep_rgb": True}, "quality 100": {"quality": 100},
        "with a colour profile": {"icc_profile": bytes(200_000)}, "with a comment": {"comment": b"x" * 60_000},
        "with XMP": {"xmp": b"<x:xmpmeta/>"}, "0 dpi": {"dpi": (0, 0)},
    }  # fmt: skip
    for name, options in ways.items():
        yield good(f"JPEG, {name}", encode(plain(), "JPEG", **{"quality": 95, **options}), within=4)
    yield good("JPEG, quality 1", encode(plain(), "JPEG", quality=1), within=60)
    yield good("JPEG, grey", encode(plain("L", 77), "JPEG"), (77, 77, 77), 2)
    yield good("JPEG, grey, progressive", encode(plain("L", 77), "JPEG", progressive=True), (77, 77, 77), 2)
    yield good("JPEG, CMYK as Adobe writes it", encode(plain("CMYK", (0, 255, 255, 0)), "JPEG"), (255, 0, 0), 4)
    yield good("JPEG, CMYK, progressive", encode(plain("CMYK", (0, 0, 0, 255)), "JPEG", progressive=True), (0, 0, 0), 4)
    yield good("JPEG, bytes after its end", base + bytes(3000), within=4)
    yield good("JPEG, fill bytes between its segments", with_segments(base, b"\xff" * 50), within=4)
    yield good(
        "JPEG, all application segments",
        with_segments(base, *(segment(m, b"x" * 99) for m in range(0xE0, 0xEE))),
        within=4,
    )
    yield good("JPEG, 100 comments", with_segments(base, *[segment(0xFE, b"x" * 9)] * 100), within=4)
    yield good(
        "JPEG, a broken Photoshop segment",
        with_segments(base, segment(0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff\xff\xff")),
        within=4,
    )
    yield good(
        "JPEG, parts of a colour profile missing",
        with_segments(base, segment(0xE2, b"ICC_PROFILE\0\x02\x05" + b"x" * 90)),
        within=4,
    )
    yield good(
        "JPEG of several images (MPO)",
        encode(plain(), "MPO", save_all=True, append_images=[plain("RGB", (9, 9, 9))], quality=95),
        within=4,
    )
    yield good(
        "JPEG of quarters", encode(Image.fromarray(quarters()), "JPEG", quality=95, subsampling=0), quarters(), 6
    )


def _exif() -> Iterator[Kind]:
    upright = quarters()
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
        6: np.rot90(upright), 7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1),
    }  # fmt: skip
    options = {
        "JPEG": ({"quality": 95, "subsampling": 0}, 6),
        "PNG": ({}, 0),
        "WEBP": ({"lossless": True}, 0),
        "TIFF": ({}, 0),
    }
    for kind, (ways, within) in options.items():
        for orientation, pixels in stored.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            data = encode(Image.fromarray(pixels.copy()), kind, exif=exif, **ways)  # type: ignore[arg-type]
            yield good(f"{kind}, EXIF orientation {orientation}", data, upright, within)
    base = encode(Image.fromarray(upright), "JPEG", quality=95, subsampling=0)
    entry = struct.pack("<H", 1) + struct.pack("<HHI", 0x0112, 3, 1)
    broken = {
        "orientation 0": entry + struct.pack("<I", 0) + bytes(4),
        "orientation 99": entry + struct.pack("<I", 99) + bytes(4),
        "orientation as text": struct.pack("<HHHI4sI", 1, 0x0112, 2, 4, b"six\0", 0),
        "a truncated directory": entry[:7],
        "values past its end": struct.pack("<HHHIII", 1, 0x010F, 2, 2**31, 2**31, 0),
        "65,535 entries declared": b"\xff\xff" + bytes(20),
        "a directory that points to itself": entry + struct.pack("<II", 1, 8),
        "a GPS directory that points to itself": struct.pack("<HHHII", 1, 0x8825, 4, 1, 8) + bytes(4),
    }
    for name, directory in broken.items():
        data = with_segments(base, segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + directory))
        yield good(f"JPEG, EXIF with {name}", data, upright, 6)
    for name, content in {
        "no header": b"Exif\0\0",
        "garbage": b"Exif\0\0garbage",
        "an offset past its end": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    }.items():
        yield good(f"JPEG, EXIF with {name}", with_segments(base, segment(0xE1, content)), upright, 6)


def _gif() -> Iterator[Kind]:
    frames = [plain("RGB", (0, 9, 9)), plain("RGB", (9, 9, 0))]
    yield good("GIF", encode(plain(), "GIF"))
    yield good("GIF, not interlaced", encode(plain(), "GIF", interlace=False))
    yield good("GIF, grey", encode(plain("L", 77), "GIF"), (77, 77, 77))
    yield good("GIF, animated", encode(plain(), "GIF", save_all=True, append_images=frames, loop=0))
    yield good(
        "GIF, animated, local palettes",
        encode(plain(), "GIF", save_all=True, append_images=frames, include_color_table=True),
    )
    yield good(
        "GIF, animated, cleared between", encode(plain(), "GIF", save_all=True, append_images=frames, disposal=2)
    )
    clear = Image.new("P", (SIDE, SIDE), 1)
    clear.putpalette([0, 0, 0, *COLOUR])
    yield good("GIF, transparent", encode(clear, "GIF", transparency=1), BACKGROUND)
    yield good("GIF, another colour transparent", encode(clear, "GIF", transparency=0))
    yield good("GIF with a comment", encode(plain(), "GIF", comment=b"x" * 10_000))
    data = encode(plain(), "GIF")
    yield good("GIF87a", b"GIF87a" + data[6:])
    yield good("GIF, no end", data[:-1])
    yield good("GIF, bytes after its end", data + b"x" * 100)


def _webp() -> Iterator[Kind]:
    frames = [plain("RGB", (0, 9, 9)), plain("RGB", (9, 9, 0))]
    yield good("WEBP", encode(plain(), "WEBP", quality=95), within=4)
    yield good("WEBP, lossless", encode(plain(), "WEBP", lossless=True))
    yield good("WEBP, lossless, of quarters", encode(Image.fromarray(quarters()), "WEBP", lossless=True), quarters())
    yield good("WEBP, animated", encode(plain(), "WEBP", save_all=True, append_images=frames, lossless=True))
    yield good(
        "WEBP, fully transparent", encode(plain("RGBA", (*COLOUR, 0)), "WEBP", lossless=True, exact=True), BACKGROUND
    )
    yield good("WEBP, lossy with alpha", encode(plain("RGBA", (*COLOUR, 255)), "WEBP", quality=95), within=4)
    extra = {"icc_profile": bytes(5000), "exif": b"garbage", "xmp": b"x" * 5000}
    yield good("WEBP with profile, EXIF and XMP", encode(plain(), "WEBP", lossless=True, **extra))
    yield good("WEBP, bytes after its end", encode(plain(), "WEBP", lossless=True) + bytes(100))


def _tiff() -> Iterator[Kind]:
    for packed in ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd"):
        yield good(f"TIFF, {packed}", encode(plain(), "TIFF", compression=packed))
    yield good("TIFF, jpeg", encode(plain(), "TIFF", compression="jpeg", quality=95), within=4)
    for packed in ("group3", "group4", "tiff_ccitt"):
        yield good(f"TIFF, {packed}", encode(plain("1", 1), "TIFF", compression=packed), (255, 255, 255))
    modes: dict[str, tuple[Any, Any]] = {
        "1": (0, (0, 0, 0)), "L": (77, (77, 77, 77)), "LA": ((77, 255), (77, 77, 77)), "RGBA": ((*COLOUR, 255), COLOUR),
        "CMYK": ((0, 255, 255, 0), (255, 0, 0)), "YCbCr": ((150, 128, 128), (150, 150, 150)), "I": (99999, (0, 0, 0)),
        "F": (0.5, (0, 0, 0)), "I;16": (100 * 257, (100, 100, 100)),
    }  # fmt: skip
    for mode, (value, expected) in modes.items():
        yield good(f"TIFF, mode {mode}", encode(plain(mode, value), "TIFF"), expected)
    yield good("TIFF, RGBA, fully transparent", encode(plain("RGBA", (*COLOUR, 0)), "TIFF"), BACKGROUND)
    yield good(
        "TIFF, predictor",
        encode(Image.fromarray(quarters()), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}),
        quarters(),
    )
    yield good("TIFF, three pages", encode(plain(), "TIFF", save_all=True, append_images=[plain("RGB", (0, 9, 9))] * 2))
    yield good("TIFF, BigTIFF", encode(plain(), "TIFF", big_tiff=True))
    yield good("TIFF, one strip for each row", encode(plain(), "TIFF", compression="tiff_lzw", strip_size=48))
    yield good("TIFF, big-endian, colour", tiff_plain([8, 8, 8], 2, bytes(COLOUR), ">"))
    yield good("TIFF, colour of 16 bits", tiff_plain([16] * 3, 2, struct.pack("<3H", *(257 * c for c in COLOUR))))
    yield good(
        "TIFF, colour of 16 bits, big-endian",
        tiff_plain([16] * 3, 2, struct.pack(">3H", *(257 * c for c in COLOUR)), ">"),
    )
    yield good("TIFF, grey of 16 bits, big-endian", tiff_plain([16], 1, struct.pack(">H", 25700), ">"), (100, 100, 100))
    yield good("TIFF, grey of 8 bits, white is 0", tiff_plain([8], 0, b"\x0a"), (245, 245, 245))
    yield good("TIFF, grey of 16 bits, white is 0", tiff_plain([16], 0, struct.pack("<H", 2570)), (245, 245, 245))
    rows1 = b"\xff\xff" * SIDE
    yield good("TIFF, 1 bit, white is 0", tiff(tiff_tags([1], 0, rows1), rows1), (0, 0, 0))
    data = b"\x64\x06\x40" * (SIDE * SIDE // 2)  # 1600 of 4095
    yield good("TIFF, grey of 12 bits", tiff(tiff_tags([12], 1, data), data), (99, 99, 99))
    data = bytes(COLOUR) * SIDE * SIDE
    tiles = tiff_tags([8] * 3, 2, data, t273=[], t278=[], t279=[], t322=[SIDE], t323=[SIDE], t324=[8], t325=[len(data)])
    yield good("TIFF, tiled", tiff(tiles, data))
    planes = b"".join(bytes([c]) * SIDE * SIDE for c in COLOUR)
    size = SIDE * SIDE
    yield good(
        "TIFF, planar colours",
        tiff(tiff_tags([8] * 3, 2, planes, t273=[8, 8 + size, 8 + 2 * size], t279=[size] * 3, t284=[2]), planes),
    )
    colours = [257 * c for i in range(3) for c in (0, COLOUR[i], *[0] * 254)]
    yield good("TIFF, palette", tiff_plain([8], 3, b"\1", t320=colours))
    yield good("TIFF, signed integers of 16 bits", tiff_plain([16], 1, struct.pack("<h", 5), t339=[2]), None)
    yield good("TIFF, a second directory past its end", tiff(tiff_tags([8] * 3, 2, data), data, following=10**6))
    yield good(
        "TIFF, a directory that points to itself", tiff(tiff_tags([8] * 3, 2, data), data, following=8 + len(data))
    )


def _sizes() -> Iterator[Kind]:
    for size in ((1, 1), (1, SIDE), (SIDE, 1), (2, 1), (16384, 1), (1, 16384), (3, 5000)):
        for kind in ("PNG", "BMP", "TIFF", "GIF"):
            yield good(f"{kind} of {size[0]} x {size[1]} pixels", encode(plain(size=size), kind))
        yield good(f"JPEG of {size[0]} x {size[1]} pixels", encode(plain(size=size), "JPEG", quality=95), within=4)
    for size in ((1, 1), (16383, 1), (1, 16383)):
        yield good(f"WEBP of {size[0]} x {size[1]} pixels", encode(plain(size=size), "WEBP", lossless=True))
    yield good("PNG of 4000 x 4000 pixels, 1 bit", encode(plain("1", 1, (4000, 4000))), (255, 255, 255))
    yield good("JPEG of 3000 x 2000 pixels", encode(plain(size=(3000, 2000)), "JPEG", quality=95), within=4)


def _opt_in() -> Iterator[Kind]:
    pixels = bytes(COLOUR) * SIDE * SIDE
    others = {
        "PPM, raw": b"P6 16 16 255\n" + pixels,
        "PPM, 16 bits": b"P6 16 16 65535\n" + struct.pack(">3H", *(257 * c for c in COLOUR)) * SIDE * SIDE,
        "PPM in ASCII": b"P3 16 16 255\n" + b" ".join(b"%d" % level for level in pixels),
        "PPM, with comments": b"P6 # x\n16 # y\n16\n255\n" + pixels,
        "TGA": encode(plain(), "TGA"), "TGA, run lengths": encode(plain(), "TGA", compression="tga_rle"),
        "JPEG2000 (jp2)": encode(plain(), "JPEG2000"), "JPEG2000 (j2k)": encode(plain(), "JPEG2000", no_jp2=True),
        "ICO": encode(plain(), "ICO", sizes=[(SIDE, SIDE)]),
        "ICO of a BMP": encode(plain(size=(32, 32)), "ICO", sizes=[(32, 32)], bitmap_format="bmp"),
    }  # fmt: skip
    for name, data in others.items():
        yield good(f"{name} (opt-in)", data, usual=False)
    yield good("PGM in ASCII (opt-in)", b"P2 16 16 99\n" + b"33 " * SIDE * SIDE, (85, 85, 85), usual=False)
    yield good("PBM (opt-in)", b"P4 16 16\n" + b"\0\0" * SIDE, (255, 255, 255), usual=False)
    yield good("PBM in ASCII (opt-in)", b"P1 16 16\n" + b"1 " * SIDE * SIDE, (0, 0, 0), usual=False)
    if features.check("avif"):
        yield good("AVIF (opt-in)", encode(plain(), "AVIF", quality=95), within=6, usual=False)
