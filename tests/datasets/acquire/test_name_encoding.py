"""Encodings of names are found where they are clear, and asked for where they are not."""

import struct
import zlib

import pytest

from tlcli.datasets.acquire.archives.name_encoding import find_encoding, unicode_path
from tlcli.errors import DataError

CLEAR = [
    ("utf-8", "Käfer 猫"),
    ("cp437", "Käfer"),
    ("cp850", "Øre blåbær"),
    ("cp850", "maçã limão"),
    ("cp850", "garçon été"),
    ("cp1252", "garçon été"),
    ("cp1252", "Käfer Hündin Straße"),
    ("cp1250", "żółw słoń"),
    ("cp857", "köpek kuş ağaç"),
    ("cp866", "Кошки Собаки"),
    ("cp1251", "кошка собака"),
    ("cp737", "γάτα σκύλος"),
    ("cp1253", "γάτα σκύλος"),
    ("cp932", "猫"),
    ("cp932", "ソファ 表 いぬ"),
    ("cp932", "良品 不良品"),
    ("gbk", "猫 狗 老虎"),
    ("gbk", "良品 不良"),
    ("gbk", "苹果 香蕉"),
    ("big5", "貓 狗 老虎"),
    ("big5", "蘋果 香蕉"),
    ("cp949", "고양이 개"),
    ("cp949", "정상 불량"),
]
UNCLEAR = [("gbk", "猫 狗"), ("big5", "貓"), ("cp852", "słoń"), ("cp1256", "قطة كلب"), ("cp874", "แมว สุนัข")]


@pytest.mark.parametrize("on_windows", [True, False])
@pytest.mark.parametrize(("encoding", "names"), CLEAR, ids=[" ".join(one) for one in CLEAR])
def test_clear_names_come_out_as_they_were(encoding: str, names: str, on_windows: bool) -> None:
    coded = [f"{name}/1.png".encode(encoding) for name in names.split()]

    found = find_encoding(coded, on_windows)

    assert [name.decode(found) for name in coded] == [f"{name}/1.png" for name in names.split()]


@pytest.mark.parametrize(("encoding", "names"), UNCLEAR, ids=[" ".join(one) for one in UNCLEAR])
def test_unclear_names_are_asked_for(encoding: str, names: str) -> None:
    with pytest.raises(DataError) as caught:
        find_encoding([name.encode(encoding) for name in names.split()], on_windows=True)
    assert caught.value.code == "data.archive_encoding_unclear"


def test_many_names_with_the_same_word_are_no_more_evidence_than_one() -> None:
    for names in (["表/1.png"], [f"表/表{number}.png" for number in range(3000)]):
        assert find_encoding([name.encode("cp932") for name in names], on_windows=True) == "cp932"
    with pytest.raises(DataError):
        find_encoding([f"狗/狗{number}.png".encode("gbk") for number in range(3000)], on_windows=True)


def test_bytes_of_no_encoding_are_asked_for() -> None:
    with pytest.raises(DataError) as caught:
        find_encoding([bytes(range(128, 256))], on_windows=False)
    assert caught.value.code == "data.archive_encoding_unclear"


def field(kind: int, data: bytes) -> bytes:
    return struct.pack("<2H", kind, len(data)) + data


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        (b"", None),
        (field(0x5455, b"\3abcd"), None),
        (field(0x7075, b"\1" + struct.pack("<I", zlib.crc32(b"\x84")) + "ä".encode()), "ä"),
        (field(0x5455, b"\3ab") + field(0x7075, b"\1" + struct.pack("<I", zlib.crc32(b"\x84")) + b"a"), "a"),
        (field(0x7075, b"\1" + struct.pack("<I", zlib.crc32(b"other")) + b"a"), None),
        (field(0x7075, b"\2" + struct.pack("<I", zlib.crc32(b"\x84")) + b"a"), None),
        (field(0x7075, b"\1" + struct.pack("<I", zlib.crc32(b"\x84")) + b"\xff"), None),
        (field(0x7075, b"\1"), None),
        (b"\x75\x70\xff\xff\1", None),
    ],
)
def test_unicode_path_counts_only_for_its_name(extra: bytes, name: str | None) -> None:
    assert unicode_path(extra, b"\x84") == name
