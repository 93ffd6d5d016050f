"""The image formats that tlcli reads: the one list that the config, model bundles and directory scans share.

Importing this module imports neither Pillow nor NumPy.
"""

from typing import Literal

# An explicit list, as some of Pillow's other plugins are unsafe: EPS, for example, runs an external program.
Format = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM", "TGA"]
"""A format by Pillow's name."""

DEFAULT_FORMATS: tuple[Format, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are read unless the config names others."""

SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png",), "WEBP": (".webp",), "GIF": (".gif",),
    "BMP": (".bmp", ".dib"), "TIFF": (".tif", ".tiff"), "AVIF": (".avif",), "ICO": (".ico",),
    "JPEG2000": (".jp2", ".j2k"), "PPM": (".ppm", ".pgm", ".pbm"), "TGA": (".tga",),
}  # fmt: skip
"""The usual filename suffixes of each format, in lower case."""

IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes) | {".heic", ".heif"}
"""Suffixes of files that a directory scan counts as images; HEIC is then reported as unreadable, not skipped."""

_HEADS = (
    b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\1\0",
    b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6",
)  # fmt: skip
"""First bytes of the formats above; TGA has none."""


def is_image_head(head: bytes) -> bool:
    """Whether a file that begins with these bytes (12 or more) is probably an image."""
    return head.startswith(_HEADS) or head[4:8] == b"ftyp"
