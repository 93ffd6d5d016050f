"""Files are recognised by their first bytes and by their suffix, and every kind comes with advice."""

from pathlib import Path

import pytest
from PIL import Image
from tests.torture.image_bytes import encode, plain

from tlcli.images.decode import BadImageError, decode, register_heic
from tlcli.images.formats import DEFAULT_FORMATS, IMAGE_SUFFIXES
from tlcli.images.preparation import Preparation
from tlcli.images.quiet import silence_decoders
from tlcli.images.recognition import HEAD, KINDS, advice_for, is_image_head, kind_of_suffix, recognize

SAME = Preparation((8, 8), "squash")


@pytest.mark.parametrize("kind", [*DEFAULT_FORMATS, "AVIF", "JPEG2000", "PPM", "ICO"])
def test_every_format_that_pillow_writes_is_recognised(kind: str) -> None:
    data = encode(plain(), kind)
    found = recognize(data[:HEAD])
    assert found is not None
    assert found.format == kind
    assert is_image_head(data[:HEAD])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_has_advice_and_suffixes_of_its_own(kind: object) -> None:
    assert kind in KINDS
    found = next(one for one in KINDS if one is kind)
    assert bool(found.advice) != bool(found.format)
    assert advice_for(found, ("JPEG",))
    assert IMAGE_SUFFIXES.isdisjoint(found.suffixes)


@pytest.mark.parametrize("name", ["a.dcm", "a.DCM", "a.svg", "a.mp4", "a.cr2", "a.nef", "a.dng", "a.nii.gz", "a.npz"])
def test_suffixes_are_recognised(name: str) -> None:
    assert kind_of_suffix(name) is not None
    assert kind_of_suffix("a.txt") is None


@pytest.mark.parametrize("head", [b"", b"BM", b"BMW cars\n", b"P5", b"LICENSE\n", b"RIFF"])
def test_little_is_not_recognised(head: bytes) -> None:
    assert recognize(head) is None


def test_decoders_write_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    silence_decoders()
    data = bytearray(encode(Image.effect_noise((32, 32), 50), "TIFF", compression="tiff_adobe_deflate"))
    refused = 0
    for place in range(8, 400, 7):
        damaged = data.copy()
        damaged[place] ^= 0xFF
        try:
            decode(bytes(damaged), SAME)
        except BadImageError:
            refused += 1
    assert refused > 10
    assert capfd.readouterr() == ("", "")


def test_heic_is_read_where_the_plugin_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    from pillow_heif import from_pillow

    assert register_heic()
    from_pillow(plain(size=(64, 64))).save(tmp_path / "a.heic", quality=100)
    data = (tmp_path / "a.heic").read_bytes()
    image = decode(data, Preparation((64, 64), "squash", formats=("JPEG", "HEIC")))
    assert max(abs(a - b) for a, b in zip(image.getpixel((30, 30)), (50, 60, 70), strict=True)) <= 3  # type: ignore[arg-type]
    with pytest.raises(BadImageError) as error:
        decode(data, SAME)
    assert error.value.code == "image.format_not_allowed"
