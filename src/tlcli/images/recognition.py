"""What a file is by its first bytes or its suffix, and how to turn it into an image that is read.

Importing this module imports neither Pillow nor NumPy.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tlcli.images.formats import SUFFIXES, Format

HEAD = 512
"""Bytes at the beginning of a file that are enough to recognise it."""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    """For a sentence: ``a DICOM image``."""
    begins: Callable[[bytes], object]
    """Whether a file with these first bytes is of this kind."""
    advice: str = ""
    """What to do, for the end of a sentence; empty where ``format`` says it."""
    suffixes: tuple[str, ...] = ()
    """In lower case; those of formats that are read are in :data:`tlcli.images.formats.SUFFIXES`."""
    format: Format | None = None
    """The format of ``image.formats`` that reads it."""
    is_image: bool = True


def _at(offset: int, *signatures: bytes) -> Callable[[bytes], bool]:
    return partial(_has, offset, signatures)


def _has(offset: int, signatures: tuple[bytes, ...], head: bytes) -> bool:
    return head[offset:].startswith(signatures)


def _like(pattern: bytes) -> Callable[[bytes], object]:
    return re.compile(pattern, re.DOTALL | re.IGNORECASE).match


_ISO = rb".{4}ftyp"
_START = rb"(?:\xef\xbb\xbf)?\s*"
_RAW = "develop it to TIFF or JPEG, for example: rawtherapee-cli -j -c FOLDER"
_FRAMES = "extract frames, for example: ffmpeg -i FILE -vf fps=1 frame-%04d.png"
_MAGICK = "convert it, for example: magick FILE FILE.png"
_ARRAY = "write its arrays as PNG or TIFF, for example with Pillow: Image.fromarray(array).save(...)"
_UNPACK = "unpack it first"
_AGAIN = "download it again"

KINDS: Sequence[Kind] = (
    Kind("a JPEG image", _at(0, b"\xff\xd8\xff"), format="JPEG"),
    Kind("a PNG image", _at(0, b"\x89PNG"), format="PNG"),
    Kind("a WebP image", _like(rb"RIFF.{4}WEBP"), format="WEBP"),
    Kind("a GIF image", _at(0, b"GIF8"), format="GIF"),
    Kind("a Canon raw image (CR2)", _like(rb"II\*\0.{4}CR"), _RAW, (".cr2",)),
    Kind("a TIFF image", _at(0, b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), format="TIFF"),
    Kind("an AVIF image", _like(_ISO + rb"(avif|avis)"), format="AVIF"),
    Kind("a Canon raw image (CR3)", _like(_ISO + rb"crx "), _RAW, (".cr3",)),
    Kind("a HEIC image", _like(_ISO + rb"(hei[cxms]|hev[cxms]|mif1|msf1)"), format="HEIC"),
    Kind("an MPEG-4 or QuickTime video", _like(_ISO), _FRAMES, (".mp4", ".mov", ".m4v", ".3gp")),
    Kind("a JPEG 2000 image", _at(0, b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"), format="JPEG2000"),
    Kind("a PPM or PGM image", _like(rb"P[1-6]\s"), format="PPM"),
    Kind("an icon", _at(0, b"\0\0\1\0"), format="ICO"),
    Kind("a BMP image", _like(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0"), format="BMP"),
    Kind("a DICOM image", _at(128, b"DICM"), "convert it, for example: dcmj2pnm --write-png FILE FILE.png", (".dcm", ".dicom")),
    Kind("a Fujifilm raw image (RAF)", _at(0, b"FUJIFILMCCD-RAW"), _RAW, (".raf",)),
    Kind("an Olympus raw image (ORF)", _at(0, b"IIRO", b"IIRS", b"MMOR"), _RAW, (".orf",)),
    Kind("a Panasonic raw image (RW2)", _at(0, b"IIU\0"), _RAW, (".rw2",)),
    Kind("a JPEG XL image", _at(0, b"\xff\x0a", b"\0\0\0\x0cJXL "), "convert it, for example: djxl FILE FILE.png", (".jxl",)),
    Kind("a Photoshop document", _at(0, b"8BPS"), "export it as PNG, or: magick 'FILE[0]' FILE.png", (".psd", ".psb")),
    Kind("a GIMP document", _at(0, b"gimp xcf"), "export it as PNG", (".xcf",)),
    Kind("an OpenEXR image", _at(0, b"\x76\x2f\x31\x01"), "convert it with its range chosen, for example: oiiotool FILE --tonemap -o FILE.png", (".exr",)),
    Kind("a Radiance image", _at(0, b"#?RADIANCE", b"#?RGBE"), _MAGICK, (".hdr",)),
    Kind("a DDS texture", _at(0, b"DDS "), _MAGICK, (".dds",)),
    Kind("a QOI image", _at(0, b"qoif"), _MAGICK, (".qoi",)),
    Kind("a FITS image", _like(rb"SIMPLE  ="), "write its data as float TIFF, for example with astropy and Pillow", (".fits", ".fit", ".fts")),
    Kind("a NIfTI volume", _at(344, b"n+1\0", b"ni1\0"), "write its slices as PNG, for example: med2image -i FILE -d FOLDER", (".nii",)),
    Kind("an SVG drawing", _like(_START + rb"(<\?xml.*|<!--.*|<!DOCTYPE svg.*)?<svg"), "draw it, for example: rsvg-convert FILE -o FILE.png", (".svg",)),
    Kind("a PostScript file", _at(0, b"%!PS"), _MAGICK, (".eps", ".ps")),
    Kind("a PDF document", _like(_START + rb"%PDF"), "extract its images, for example: pdfimages -png FILE image", (".pdf",)),
    Kind("a NumPy array", _at(0, b"\x93NUMPY"), _ARRAY, (".npy",)),
    Kind("an HDF5 file", _at(0, b"\x89HDF\r\n"), _ARRAY, (".h5", ".hdf5", ".he5")),
    Kind("a MATLAB file", _at(0, b"MATLAB 5.0"), _ARRAY, (".mat",)),
    Kind("an AVI video", _like(rb"RIFF.{4}AVI "), _FRAMES, (".avi",)),
    Kind("a Matroska or WebM video", _at(0, b"\x1a\x45\xdf\xa3"), _FRAMES, (".mkv", ".webm")),
    Kind("an MPEG video", _at(0, b"\0\0\1\xba", b"\0\0\1\xb3"), _FRAMES, (".mpg", ".mpeg")),
    Kind("a Git LFS pointer", _at(0, b"version https://git-lfs"), "fetch the image: git lfs pull", is_image=False),
    Kind("a web page (HTML)", _like(_START + rb"(<!--.*)?<(!doctype html|html|head|body|script)"), f"probably an error of the download: {_AGAIN}", (".html", ".htm"), is_image=False),
    Kind("an XML file", _like(_START + rb"<\?xml"), f"probably an error of the download: {_AGAIN}", is_image=False),
    Kind("a ZIP file", _at(0, b"PK\3\4", b"PK\5\6"), _UNPACK, (".zip", ".npz"), is_image=False),
    Kind("a gzip file", _at(0, b"\x1f\x8b"), _UNPACK, (".gz", ".tgz"), is_image=False),
    Kind("a RAR or 7z file", _at(0, b"Rar!", b"7z\xbc\xaf\x27\x1c"), _UNPACK, (".rar", ".7z"), is_image=False),
)  # fmt: skip
"""In the order in which they are tried."""

_BY_SUFFIX_ALONE = (
    Kind("a camera raw image", lambda _: False, _RAW, (".nef", ".nrw", ".arw", ".sr2", ".dng", ".pef", ".srw")),
    Kind("a compressed NIfTI volume", lambda _: False, "write its slices as PNG, for example: med2image -i FILE -d FOLDER", (".nii.gz",)),
    Kind("a Windows Media or Flash video", lambda _: False, _FRAMES, (".wmv", ".flv")),
)  # fmt: skip
"""They begin like a TIFF or another kind."""

CAMERA_RAW = _BY_SUFFIX_ALONE[0]


def recognize(head: bytes) -> Kind | None:
    """The kind of a file that begins with these bytes (:data:`HEAD` or all of it); None if it is unknown."""
    return next((kind for kind in KINDS if kind.begins(head)), None)


def kind_of_suffix(name: str) -> Kind | None:
    """The kind of a file with this name that no format of ``image.formats`` reads; None if it is unknown."""
    low = name.lower()
    return next((kind for kind in (*_BY_SUFFIX_ALONE, *KINDS) if kind.suffixes and low.endswith(kind.suffixes)), None)


def is_image_head(head: bytes) -> bool:
    """Whether a file that begins with these bytes is probably an image of ``image.formats``; TGA has no signature."""
    kind = recognize(head)
    return kind is not None and kind.format is not None


def advice_for(kind: Kind, formats: Sequence[str]) -> str:
    """How to have files of this kind read, for the end of a sentence.

    Args:
        kind: of the files.
        formats: those that are allowed now.
    """
    if kind.format is None:
        return kind.advice
    if kind.format in formats and kind.format != "HEIC":
        return f"end their names with {SUFFIXES[kind.format][0]}"
    wanted = [*formats, *({kind.format} - set(formats))]
    setting = f"--set 'image.formats=[{','.join(wanted)}]'"
    return f"pip install 'tlcli[heic]', and {setting}" if kind.format == "HEIC" else f"allow it: {setting}"


def looks_like_text(head: bytes) -> bool:
    """Whether these bytes are printable text."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode() if error.start > len(head) - 4 else ""
    return bool(text) and all(letter.isprintable() or letter.isspace() for letter in text)
