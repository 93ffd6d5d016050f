"""The image formats that tlcli reads: the one list that the config, model bundles and directory scans share.

Importing this module imports neither Pillow nor NumPy.
"""

from typing import Literal

# An explicit list, as some of Pillow's other plugins are unsafe: EPS, for example, runs an external program.
Format = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM", "TGA", "HEIC"]
"""A format by Pillow's name; HEIC is read by the plugin of the extra ``heic``."""

DEFAULT_FORMATS: tuple[Format, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are read unless the config names others."""

SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png",), "WEBP": (".webp",), "GIF": (".gif",),
    "BMP": (".bmp", ".dib"), "TIFF": (".tif", ".tiff"), "AVIF": (".avif",), "ICO": (".ico",),
    "JPEG2000": (".jp2", ".j2k"), "PPM": (".ppm", ".pgm", ".pbm"), "TGA": (".tga",),
    "HEIC": (".heic", ".heif"),
}  # fmt: skip
"""The usual filename suffixes of each format, in lower case."""

IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
"""Suffixes of files that a directory scan counts as images; those of formats that are not allowed are then reported as
unreadable, not skipped."""
