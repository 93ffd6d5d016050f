"""Archives that are given to fetch, and folders that hold something else than images."""

import io
import struct
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from PIL import Image
from tests.datasets.acquire.hostile_archives import Entry, Said, zip_of
from tests.situations.situation import Outcome, Read, Section, Situation

from tlcli.config.load import load_config
from tlcli.config.problems import ConfigError
from tlcli.errors import TlcliError
from tlcli.progress import Progress
from tlcli.workflows.fetch import fetch

_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"
_PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"
_WINDOWS, _UNIX = 0, 3


class _Notes(Progress):
    """What is said while an archive is read."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


def fetched(situation: Situation, folder: Path) -> Outcome:
    """Fetches what the situation brings: the section may have a key ``from``, which is the value of --from."""
    made = situation.make(folder)
    assert isinstance(made, dict)
    section = dict(made)
    origin = section.pop("from", None)
    section = {"path": str(folder / "pets"), **section}
    (folder / "config.yaml").write_text(yaml.safe_dump({"dataset": section}), encoding="utf-8")
    notes = _Notes()
    try:
        manifest = fetch(load_config(folder / "config.yaml"), origin, offline=True, progress=notes).manifest
    except ConfigError as error:
        return Outcome(error.problems[0].code, (error.message, error.hint))
    except TlcliError as error:
        return Outcome(error.code, (error.message, error.hint))
    counts = sum((Counter(of_split) for of_split in manifest.images.values()), Counter[str]())
    return Outcome(Read(dict(counts)), (*notes.said, *manifest.notes))


def png(number: int) -> bytes:
    """An image, different for each number."""
    buffer = io.BytesIO()
    Image.new("L", (4, 4), number).save(buffer, "PNG")
    return buffer.getvalue()


def _names(*labels: str, separator: str = "/") -> list[str]:
    return [f"{label}{separator}{number}.png" for label in labels for number in range(6)]


def zipped(*names: str, encoding: str = "utf-8", unicode_path: bool = False, **entry: int) -> bytes:
    """A zip with images of these names in an encoding; ``entry``: as in :class:`Entry`."""
    return zip_of(*(
        Entry(raw, png(number), listed=Said(extra=_unicode_path(raw, name) if unicode_path else b""), **entry)  # type: ignore[arg-type]
        for number, name in enumerate(names)
        for raw in [name.encode(encoding)]
    ))  # fmt: skip


def _unicode_path(raw: bytes, name: str) -> bytes:
    data = b"\1" + struct.pack("<I", zlib.crc32(raw)) + name.encode()
    return struct.pack("<2H", 0x7075, len(data)) + data


def _tar(*names: str, encoding: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding=encoding) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = len(png(number))
            tar.addfile(info, io.BytesIO(png(number)))
    return buffer.getvalue()


def given(data: bytes | Callable[[], bytes], name: str = "pets.zip", **source: str) -> Callable[[Path], Section]:
    """Makes a file, and gives it with --from; with keys of a source, that is one of the config, too."""

    def make(folder: Path) -> Section:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data())
        path = str(folder / name)
        return {"from": path, **({"sources": [{"archive": path, **source}]} if source else {})}

    return make


def _folder(files: Callable[[], dict[str, bytes]], **section: str) -> Callable[[Path], Section]:
    def make(folder: Path) -> Section:
        for name, data in files().items():
            path = folder / "mine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return {"from": str(folder / "mine"), **section}

    return make


def _as_path(folder: Path) -> Section:
    (folder / "pets.zip").write_bytes(zipped(*_names("cat", "dog")))
    return {"path": str(folder / "pets.zip")}


def _pets(labels: Sequence[str] = ("cat", "dog"), **more: object) -> Callable[[], bytes]:
    return lambda: zipped(*_names(*labels), **more)  # type: ignore[arg-type]


def _row(
    brings: str, make: Callable[[Path], Section], expected: Read | str, note: str = ""
) -> Situation:  # fmt: skip
    return Situation(brings, make, expected, note, fetched)


def _read(*labels: str) -> Read:
    return Read(dict.fromkeys(labels, 6))


_GUESS, _HOW = "the encoding is guessed, and said", "the hint has the command that unpacks it"
_FLOWERS = ("玫瑰", "向日葵", "蒲公英")

ARCHIVES = [
    _row("a zip with class folders inside another folder", given(lambda: zipped(*_names("pets/cat", "pets/dog"))), _read("cat", "dog")),
    _row(r"a zip of Windows with `cat\0.png`", given(lambda: zipped(*_names("cat", "dog", separator="\\"), system=_WINDOWS)), _read("cat", "dog")),
    _row(r"a zip of another system with `cat\0.png`, and no `/` in it", given(lambda: zipped(*_names("cat", "dog", separator="\\"))), _read("cat", "dog"), "which is said"),
    _row(r"a zip with `..\..\0.png`", given(lambda: zipped("..\\..\\0.png", system=_WINDOWS)), "data.archive_malicious"),
    _row("names in UTF-8 without the mark for it (macOS, Linux)", given(_pets(["Käfer", "猫"])), _read("Käfer", "猫")),
    _row("names in another encoding, and in UTF-8 in a Unicode path field", given(_pets(["Käfer", "Küken"], encoding="cp850", unicode_path=True)), _read("Käfer", "Küken")),
    _row("German names of Windows (cp850)", given(_pets(["Käfer", "Küken"], encoding="cp850", system=_WINDOWS)), _read("Käfer", "Küken"), _GUESS),
    _row("German names in cp1252", given(_pets(["Käfer", "Hündin"], encoding="cp1252")), _read("Käfer", "Hündin"), _GUESS),
    _row("Russian names of Windows (cp866)", given(_pets(["кошка", "собака"], encoding="cp866", system=_WINDOWS)), _read("кошка", "собака"), _GUESS),
    _row(r"Japanese names of Windows (cp932), two of which end with the byte of `\`", given(lambda: zipped(*_names("ソ", "表", "いぬ", separator="\\"), encoding="cp932", system=_WINDOWS)), _read("ソ", "表", "いぬ"), _GUESS),
    _row("Chinese names of Windows (gbk)", given(_pets(_FLOWERS, encoding="gbk", system=_WINDOWS)), _read(*_FLOWERS), _GUESS),
    _row("Korean names of Windows (cp949)", given(_pets(["고양이", "개"], encoding="cp949", system=_WINDOWS)), _read("고양이", "개"), _GUESS),
    _row("Chinese names in a tar (gbk)", given(lambda: _tar(*_names(*_FLOWERS), encoding="gbk"), "pets.tar"), _read(*_FLOWERS), _GUESS),
    _row("names that could be Chinese or Korean (`猫`, `狗`)", given(_pets(["猫", "狗"], encoding="gbk")), "data.archive_encoding_unclear", "the message shows the readings"),
    _row("the same with `encoding: gbk` in the source", given(_pets(["猫", "狗"], encoding="gbk"), encoding="gbk"), _read("猫", "狗")),
    _row("names that are not in the `encoding` of the source", given(_pets(["Käfer", "Küken"], encoding="cp850"), encoding="gb2312"), "data.archive_encoding_wrong"),
    _row("a zip that holds `train.zip` and a table", given(lambda: zip_of(Entry(b"train.zip", zipped("cat/0.png")), Entry(b"labels.csv"))), "data.images_packed", _HOW),
    _row("a folder that holds `train.zip`", _folder(lambda: {"train.zip": zipped("cat/0.png")}), "data.images_packed", _HOW),
    _row("a 7z archive", given(b"7z\xbc\xaf\x27\x1c" + bytes(60), "pets.7z"), "data.archive_unsupported", _HOW),
    _row("a RAR archive", given(b"Rar!\x1a\x07\x01\x00" + bytes(60), "pets.rar"), "data.archive_unsupported", _HOW),
    _row("a zip compressed with Deflate64, bzip2, LZMA or Zstandard", given(_pets(method=9)), "data.archive_unsupported", _HOW),
    _row("an encrypted zip", given(_pets(flags=1)), "data.archive_unsupported", _HOW),
    _row("a zip cut off at its end", given(lambda: _pets()()[:-40]), "data.archive_damaged"),
    _row("a part of a zip (`pets.zip.001`)", given(lambda: _pets()()[:300], "pets.zip.001"), "data.archive_unsupported", _HOW),
    _row("a web page in the place of the archive", given(_PAGE), "data.archive_is_web_page"),
    _row("a pointer of Git LFS in the place of the archive", given(_LFS), "data.archive_is_lfs_pointer"),
    _row("an empty file", given(b""), "data.not_an_archive"),
    _row("a zip without files", given(zip_of), "data.archive_empty"),
    _row("an image in the place of the archive", given(lambda: png(1), "cat.png"), "data.not_an_archive"),
    _row("a zip with one folder of images", given(_pets(["images"])), "data.too_few_classes"),
    _row("an archive that does not exist", lambda folder: {"from": str(folder / "gone.zip")}, "data.archive_not_found"),
    _row("a zip as `dataset.path`", _as_path, "data.not_a_folder", "the hint is the command that fetches it"),
    _row("a folder whose images are all pointers of Git LFS", _folder(lambda: {name: _LFS + name.encode() for name in _names("cat", "dog")}), "data.images_unreadable"),
    _row("a zip whose images are mostly web pages", given(lambda: zip_of(*(Entry(name.encode(), _PAGE + name.encode()) for name in _names("cat", "dog")))), "data.images_unreadable"),
]  # fmt: skip
