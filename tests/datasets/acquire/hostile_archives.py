"""A catalogue of hostile and damaged archives: each is made here, and must be refused with nothing written outside.

Zips are put together by hand (:class:`Entry`, :func:`zip_of`), since ``zipfile`` would not write most of them; tars of
header blocks, records and contents (:func:`header`, :func:`record`, :func:`member`, :func:`tar_of`).
"""

import bz2
import gzip
import lzma
import random
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import zstandard

from tlcli.datasets.acquire.archives.checks import UnpackLimits
from tlcli.datasets.acquire.archives.unpack import unpack
from tlcli.errors import DataError

Make = Callable[[], bytes]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Hostile:
    """An archive that must be refused."""

    name: str
    write: Callable[[Path], object]
    """Makes it at a path."""
    code: str
    """The code of the error."""
    limits: UnpackLimits = field(default_factory=UnpackLimits)


def refusal(case: Hostile, folder: Path) -> DataError:
    """Unpacks the archive three directories deep in ``folder``, an empty one, and returns the error.

    Raises:
        AssertionError: it was not refused, or with another error than a DataError, or something was written outside.
    """
    archive, target = folder / "archive", folder / "outer" / "inner" / "target"
    target.mkdir(parents=True)
    case.write(archive)
    before = _outside(folder, target)
    try:
        unpack(archive, target, limits=case.limits)
    except DataError as error:
        refused = error
    except Exception as error:
        raise AssertionError(f"{case.name}: {error!r} is no refusal") from error
    else:
        raise AssertionError(f"{case.name}: was unpacked")
    if changed := _outside(folder, target) ^ before:
        raise AssertionError(f"{case.name}: changed outside: {changed}")
    return refused


def _outside(folder: Path, target: Path) -> set[tuple[str, int]]:
    """Path and size of all that lies in the directory but not in the target."""
    entries = (entry for entry in folder.rglob("*") if entry != target and target not in entry.parents)
    return {(str(entry), -1 if entry.is_dir() else entry.lstat().st_size) for entry in entries}


# Zips


@dataclass(frozen=True)
class Said:
    """What a zip says of a member, in its header or in its directory; None: the truth."""

    version: int = 20
    flags: int | None = None
    method: int | None = None
    crc: int | None = None
    packed: int | None = None
    size: int | None = None
    name: bytes | None = None
    extra: bytes = b""
    offset: int | None = None


@dataclass(frozen=True)
class Entry:
    """A member of a zip."""

    name: bytes = b"a.txt"
    content: bytes = b"content"
    method: int = 0
    packed: bytes | None = None
    """What lies in the archive; None: the content, packed by the method."""
    flags: int = 0
    mode: int = 0
    system: int = 3
    """Where it was made: 3 is Unix, 0 is Windows."""
    own: Said = Said()
    """What its own header says."""
    listed: Said = Said()
    """What the directory says."""

    def in_archive(self) -> bytes:
        """The packed content."""
        return PACKERS.get(self.method, bytes)(self.content) if self.packed is None else self.packed

    def header(self) -> bytes:
        """What stands in front of the packed content."""
        return b"PK\3\4" + self._numbers(self.own) + _either(self.own.name, self.name) + self.own.extra

    def data(self) -> bytes:
        """All but what is in the directory."""
        return self.header() + self.in_archive()

    def line(self, offset: int) -> bytes:
        """What is in the directory, for a header at this place."""
        rest = struct.pack("<3H2I", 0, 0, 0, self.mode << 16, _either(self.listed.offset, offset))
        name = _either(self.listed.name, self.name)
        return b"PK\1\2\x14%c" % self.system + self._numbers(self.listed) + rest + name + self.listed.extra

    def _numbers(self, said: Said) -> bytes:
        return struct.pack(
            "<5H3I2H",
            said.version,
            _either(said.flags, self.flags),
            _either(said.method, self.method),
            0,
            33,  # the first day that zips know
            _either(said.crc, zlib.crc32(self.content)),
            _either(said.packed, len(self.in_archive())),
            _either(said.size, len(self.content)),
            len(_either(said.name, self.name)),
            len(said.extra),
        )


def _either(said: Value | None, true: Value) -> Value:
    return true if said is None else said


def deflated(content: bytes) -> bytes:
    """A raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


DEFLATE, BZIP2, LZMA = 8, 12, 14
PACKERS: dict[int, Callable[[bytes], bytes]] = {DEFLATE: deflated, BZIP2: bz2.compress}
LARGE = 2**32 - 1
"""In a header or a directory: the true number is in the extra field."""


def zip_of(
    *entries: Entry, comment: bytes = b"", before_end: bytes = b"", end: Mapping[str, int] | None = None
) -> bytes:
    """A zip of these entries; ``end`` is what the record at its end says otherwise."""
    data, lines = b"", []
    for entry in entries:
        lines.append(entry.line(len(data)))
        data += entry.data()
    return with_directory(data, lines, comment, before_end, end)


def with_directory(
    data: bytes, lines: list[bytes], comment: bytes = b"", before_end: bytes = b"", end: Mapping[str, int] | None = None
) -> bytes:
    """Headers and contents with the directory and the record of the end behind them."""
    count, size = len(lines), sum(map(len, lines))
    said = {"disk": 0, "first": 0, "here": count, "all": count, "size": size, "offset": len(data), **(end or {})}
    record = struct.pack("<4s4H2IH", b"PK\5\6", *said.values(), len(comment))
    return b"".join((data, *lines, before_end, record, comment))


def zip64_extra(*numbers: int) -> bytes:
    """The extra field that holds what is too large for a header."""
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def zip64_end(entries: int, size: int, offset: int, disks: int = 1) -> bytes:
    """The records that large zips have before the end."""
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, offset)
    return record + struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, disks)


def zip_bomb() -> bytes:
    """One file that is a thousand times as large as the archive."""
    zeros = bytes(2**26 + 1)
    return zip_of(Entry(b"a.txt", zeros, DEFLATE, deflated(zeros)))


def zip_full_overlap() -> bytes:
    """300 members that are the same packed bytes."""
    entry = Entry(content=bytes(2**20), method=DEFLATE)
    return with_directory(entry.data(), [entry.line(0)] * 300)


def zip_quoted_overlap() -> bytes:
    """Fifield's bomb: what is packed of a member is the next one's header, as it is, and all that follows it."""
    chain = [Entry(b"30.txt", bytes(2**20), DEFLATE)]
    for number in reversed(range(30)):
        quoted, inner = chain[0].header(), chain[0]
        packed = b"\0" + struct.pack("<2H", len(quoted), len(quoted) ^ 0xFFFF) + inner.data()
        chain.insert(0, Entry(b"%d.txt" % number, quoted + inner.content, DEFLATE, packed))
    offset, lines = 0, []
    for entry in chain:
        lines.append(entry.line(offset))
        offset += len(entry.header()) + 5
    return with_directory(chain[0].data(), lines)


def zip_nested() -> bytes:
    """The second member is stored within the first one's content."""
    inner = Entry(b"b.txt")
    outer = Entry(content=inner.data())
    return with_directory(outer.data(), [outer.line(0), inner.line(len(outer.header()))])


def bzip2_bomb(blocks: int) -> bytes:
    """5 MB of zeros for each block, not packed one by one: the bits of one block are repeated, and its check sum."""
    stream = bz2.compress(bytes(5_000_000), 1)
    bits, end_mark = f"{int.from_bytes(stream[4:], 'big'):0{8 * len(stream) - 32}b}", f"{0x177245385090:048b}"
    block = bits[: bits.index(end_mark)]
    block_sum, stream_sum = int(block[48:80], 2), 0
    for _ in range(blocks):
        stream_sum = ((stream_sum << 1 | stream_sum >> 31) & 0xFFFFFFFF) ^ block_sum
    bits = block * blocks + end_mark + f"{stream_sum:032b}"
    bits += "0" * (-len(bits) % 8)
    return stream[:4] + int(bits, 2).to_bytes(len(bits) // 8, "big")


# Tars

TAR_END = bytes(1024)
_FIELDS = {"digits": (124, 12), "kind": (156, 1), "magic": (257, 8), "prefix": (345, 155), "holes": (386, 97)}


def padded(data: bytes) -> bytes:
    """Filled up to whole blocks."""
    return data + bytes(-len(data) % 512)


def header(name: str = "a.txt", kind: bytes = b"0", size: int = 0, link: str = "", **raw: bytes) -> bytes:
    """A tar header; ``raw`` is written over the beginning of these fields as it is, and the check sum made right."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    for changed, data in raw.items():
        begin, room = _FIELDS[changed]
        block[begin : begin + min(room, len(data))] = data
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def member(name: str = "a.txt", content: bytes = b"content", kind: bytes = b"0", link: str = "") -> bytes:
    """A member of a tar: header and content."""
    return header(name, kind, len(content), link) + padded(content)


def record(kind: bytes, data: bytes) -> bytes:
    """What stands before a header: a long name, or attributes."""
    return header("record", kind, len(data)) + padded(data)


def pax(fields: Mapping[str, str], kind: bytes = b"x") -> bytes:
    """A record of attributes."""
    return record(kind, b"".join(_pax_line(f" {key}={value}\n".encode()) for key, value in fields.items()))


def _pax_line(rest: bytes) -> bytes:
    """Begins with its own length."""
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def tar_of(*parts: bytes) -> bytes:
    """A tar of these headers, records and contents."""
    return b"".join((*parts, TAR_END))


def zstd(data: bytes) -> bytes:
    """With a check sum, as the format's own tool writes it."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tar.gz": gzip.compress,
    "tar.bz2": partial(bz2.compress, compresslevel=1),
    "tar.xz": partial(lzma.compress, preset=0),
    "tar.zst": zstd,
}
NOISE = random.Random(0).randbytes(300_000)
"""Cannot be packed, so that a cut or a change in a packed archive is one in the content."""


def tar_bomb(pack: Callable[[bytes], bytes]) -> bytes:
    """One file that is hundreds of times as large as the archive."""
    return pack(tar_of(member(content=bytes(2**26 + 1))))


def zstd_of_large_window() -> bytes:
    """A frame that says its reader must keep 256 MiB."""
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    data = bytearray(packer.compress(tar_of(member(content=NOISE))) + packer.flush())
    data[5] = (28 - 10) << 3
    return bytes(data)


# Changes


def cut(make: Make, share: float = 0.6) -> Make:
    """Only the beginning."""
    return lambda: (data := make())[: int(len(data) * share)]


def flipped(make: Make, at: int) -> Make:
    """One bit of the byte at this place is another."""

    def change() -> bytes:
        data = bytearray(make())
        data[at] ^= 1
        return bytes(data)

    return change


def replaced(make: Make, old: bytes, new: bytes) -> Make:
    """Other bytes at the first place of these."""
    return lambda: make().replace(old, new, 1)


# The catalogue

MALICIOUS = "data.archive_malicious"
DAMAGED = "data.archive_damaged"
UNSUPPORTED = "data.archive_unsupported"
TOO_LARGE = "data.archive_too_large"
NO_ARCHIVE = "data.not_an_archive"
EMPTY = "data.archive_empty"
NOT_FOUND = "data.archive_not_found"
WEB_PAGE = "data.archive_is_web_page"


def case(name: str, archive: Make | bytes, code: str, limits: UnpackLimits | None = None) -> Hostile:
    """An archive that is some bytes; what takes time or memory is made when it is needed."""

    def write(path: Path) -> None:
        path.write_bytes(archive if isinstance(archive, bytes) else archive())

    return Hostile(name, write, code, limits or UnpackLimits())


def no_archives() -> Iterator[Hostile]:
    """Other files, and archives with nothing in them."""
    page = b"\xef\xbb\xbf\n <!DOCTYPE html><html><body>Sign in</body></html>"
    yield Hostile("nothing at all", lambda path: None, NOT_FOUND)
    yield Hostile("a folder", lambda path: path.mkdir(), NOT_FOUND)
    yield case("an empty file", b"", NO_ARCHIVE)
    yield case("text", b"no archive", NO_ARCHIVE)
    yield case("bytes by chance", NOISE, NO_ARCHIVE)
    yield case("RAR", b"Rar!\x1a\x07\x00" + NOISE, UNSUPPORTED)
    yield case("RAR 5", b"Rar!\x1a\x07\x01\x00" + NOISE, UNSUPPORTED)
    yield case("7z", b"7z\xbc\xaf\x27\x1c" + NOISE, UNSUPPORTED)
    yield case("a web page that asks to sign in", page, WEB_PAGE)
    yield case("a web page without a doctype", b"<HTML><p>Not found", WEB_PAGE)
    yield case("a server's answer in JSON", b'{"code": 403, "message": "Forbidden"}', NO_ARCHIVE)
    yield case("zip: empty", zip_of(), EMPTY)
    yield case("zip: nothing but a folder", zip_of(Entry(b"a/", b"")), EMPTY)
    yield case("tar: empty", tar_of(), EMPTY)
    yield case("tar: nothing but a folder", tar_of(header("a", b"5")), EMPTY)
    for kind, pack in PACKED.items():
        yield case(f"{kind}: a text instead of a tar", pack(b"text" * 500), NO_ARCHIVE)


NAMES: dict[str, tuple[str, ...]] = {
    "leads to the parent": ("../outside.txt",),
    "leads to the parent by way of a folder": ("a/../../outside.txt",),
    "leads out of a folder and stays inside": ("a//../b.txt",),
    "ends at the parent": ("a/..",),
    "of a folder leads to the parent": ("../outside/",),
    "is on a server": ("//server/share/a.txt",),
    "is on a server, written with backslashes": ("\\\\server\\share\\a.txt",),
    "leads to the parent with a backslash": ("..\\outside.txt",),
    "has a drive": ("C:/outside.txt",),
    "has a drive and no slash": ("C:outside.txt",),
    "goes on after a NUL byte": ("a.png\0.exe",),
    "begins with a NUL byte": ("\0a.txt",),
    "is empty": ("",),
    "is a dot": (".",),
    "is dots and slashes": ("./.",),
    "occurs twice": ("a.txt", "a.txt"),
    "occurs twice, once with a dot in front": ("a.txt", "./a.txt"),
    "occurs twice, once with a doubled slash": ("a/b.txt", "a//b.txt"),
    "occurs in upper and lower case": ("A.txt", "a.TXT"),
    "occurs composed and decomposed (NFC)": ("\u00e9.txt", "e\u0301.txt"),
    "occurs with sharp s and with ss": ("stra\u00dfe.txt", "STRASSE.txt"),
    "is a file's, with another file below it": ("a", "a/b.txt"),
    "is a file's, with another file below it in upper case": ("a", "A/b.txt"),
    "is a file's, with another file below it that comes first": ("a/b/c.txt", "a"),
    "is that of a folder and of a file": ("a/", "a"),
    "has a part of 300 characters": ("a" * 300,),
    "has 5,000 characters": ("/".join(["a" * 250] * 20),),
    "is 1,500 folders deep": ("a/" * 1500 + "b.txt",),
    "is 20,000 folders deep": ("a/" * 20_000 + "b.txt",),
}


def named_zip(*names: str) -> bytes:
    """Members of these names after a harmless one; a name that ends with a slash is a folder's."""
    entries = (Entry(name.encode(), b"" if name.endswith("/") else b"content", flags=0x800) for name in names)
    return zip_of(Entry(b"ok.txt"), *entries)


def named_tar(*names: str) -> bytes:
    """As :func:`named_zip`; a name that a header cannot hold is an attribute."""
    return tar_of(member("ok.txt"), *map(_named_member, names))


def _named_member(name: str) -> bytes:
    if "\0" in name or len(name) > 100:
        return pax({"path": name}) + member()
    return header(name, b"5") if name.endswith("/") else member(name)


def _absolute(make: Callable[[str], bytes]) -> Callable[[Path], object]:
    """Writes an archive with a member that would lie beside it."""
    return lambda path: path.write_bytes(make(f"{path.parent.as_posix()}/outside.txt"))


def names() -> Iterator[Hostile]:
    """Names that lead outside, meet each other, or fit on no disk."""
    for what, given in NAMES.items():
        yield case(f"zip: a name {what}", named_zip(*given), MALICIOUS)
        yield case(f"tar: a name {what}", named_tar(*given), MALICIOUS)
    for what, name in {
        "leads to the parent": b"..\\outside.txt",
        "is on a server": b"\\\\server\\share\\a.txt",
        "has a drive": b"C:\\outside.txt",
        "leads to the parent, in Japanese": b"..\\" + "ソ".encode("cp932"),
    }.items():
        yield case(f"zip of Windows: a name {what}", zip_of(Entry(name, system=0)), MALICIOUS)
    yield case("zip of Windows: a name occurs twice", zip_of(Entry(b"a/b"), Entry(b"a\\b", system=0)), MALICIOUS)
    yield Hostile("zip: a name is absolute", _absolute(named_zip), MALICIOUS)
    yield Hostile("tar: a name is absolute", _absolute(lambda name: tar_of(pax({"path": name}), member())), MALICIOUS)
    yield case("tar.zst: a name leads to the parent", zstd(named_tar("../outside.txt")), MALICIOUS)
    long_name = record(b"L", b"../" * 40 + b"outside.txt\0")
    yield case("tar: a long name (GNU) leads to the parent", tar_of(long_name, member()), MALICIOUS)
    in_two_parts = header("outside.txt", magic=b"ustar\00000", prefix=b"..")
    yield case("tar: a name in two parts (ustar) leads to the parent", tar_of(in_two_parts), MALICIOUS)
    path = {"path": "../outside.txt"}
    yield case("tar: attributes (PAX) lead a member to the parent", tar_of(pax(path), member()), MALICIOUS)
    for_all = tar_of(pax(path, b"g"), member())
    yield case("tar: attributes (PAX) lead all members to the parent", for_all, MALICIOUS)
    yield case("tar: a file with content whose name ends with a slash", tar_of(member("a/")), MALICIOUS)
    yield case("zip: a name that is no UTF-8", zip_of(Entry(b"\xff.txt", flags=0x800)), DAMAGED)


def links() -> Iterator[Hostile]:
    """What is neither a file nor a folder."""
    for what, mode in {
        "link to ../../outside": stat.S_IFLNK,
        "pipe": stat.S_IFIFO,
        "character device": stat.S_IFCHR,
        "block device": stat.S_IFBLK,
        "socket": stat.S_IFSOCK,
    }.items():
        yield case(f"zip: a {what}", zip_of(Entry(b"a", b"../../outside", mode=mode | 0o777)), MALICIOUS)
    to_parent = Entry(b"a", b"..", mode=stat.S_IFLNK | 0o777)
    yield case("zip: a link to the parent, and a file in it", zip_of(to_parent, Entry(b"a/outside.txt")), MALICIOUS)
    symlink = partial(header, "a", tarfile.SYMTYPE)
    yield case("tar.zst: a link to ../../outside", zstd(tar_of(symlink(link="../../outside"))), MALICIOUS)
    for what, parts in {
        "a link to ../../outside": symlink(link="../../outside"),
        "a link to /etc/passwd": symlink(link="/etc/passwd"),
        "a link to a member": member("b.txt") + symlink(link="b.txt"),
        "a link to itself": symlink(link="a"),
        "a link to the parent, and a file in it": symlink(link="..") + member("a/outside.txt"),
        "a link that leads where attributes (PAX) say": pax({"linkpath": "../outside"}) + symlink(),
        "a link that leads to a long name (GNU)": record(b"K", b"../" * 60 + b"outside\0") + symlink(),
        "a hard link to a member": member("b.txt") + header("a", tarfile.LNKTYPE, link="b.txt"),
        "a hard link to ../outside": header("a", tarfile.LNKTYPE, link="../outside"),
        "a hard link with content": member("a", b"content", tarfile.LNKTYPE, "../../../archive"),
        "a pipe": header("a", tarfile.FIFOTYPE),
        "a character device": header("a", tarfile.CHRTYPE),
        "a block device": header("a", tarfile.BLKTYPE),
    }.items():
        yield case(f"tar: {what}", tar_of(member("ok.txt"), parts), MALICIOUS)
    for what, kind in {
        "a volume's label": "V",
        "the rest of a file that begins in another volume": "M",
        "a list of a folder's files": "D",
        "an access list": "A",
        "something unheard of": "~",
    }.items():
        yield case(f"tar: {what}", tar_of(member(kind=kind.encode())), MALICIOUS)


def holes() -> Iterator[Hostile]:
    """Files that are larger than what the archive holds of them."""
    old = partial(header, "a.txt", kind=tarfile.GNUTYPE_SPARSE)
    yield case("tar: a file with holes (GNU)", tar_of(old(holes=b"%011o\0%011o\0" % (0, 0))), MALICIOUS)
    yield case("tar: a file with holes (GNU), their list is missing", old(holes=bytes(96) + b"\1"), DAMAGED)
    for version, fields in {
        "0.0": {"GNU.sparse.size": "1099511627776", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "1"},
        "0.1": {"GNU.sparse.size": "1099511627776", "GNU.sparse.map": "0,1"},
        "1.0": {"GNU.sparse.realsize": "1099511627776", "GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
    }.items():
        parts = pax(fields), member(content=b"999999999\n0\n1\n")
        yield case(f"tar: a file with holes (PAX {version})", tar_of(*parts), MALICIOUS)
    all_files = tar_of(pax({"GNU.sparse.map": "0,1"}, b"g"), member())
    yield case("tar: all files have holes (PAX)", all_files, MALICIOUS)


def zip_headers() -> Iterator[Hostile]:
    """Members whose header says another thing than the directory, or what is not read here."""
    yield case("zip: header and directory differ in the name", zip_of(Entry(own=Said(name=b"b.txt"))), DAMAGED)
    yield case("zip: encrypted", zip_of(Entry(flags=1)), UNSUPPORTED)
    yield case("zip: encrypted, as the directory says", zip_of(Entry(listed=Said(flags=1))), UNSUPPORTED)
    yield case("zip: strongly encrypted", zip_of(Entry(flags=0x40)), UNSUPPORTED)
    yield case("zip: with an encrypted header", zip_of(Entry(flags=0x2000)), UNSUPPORTED)
    for what, method in {
        "shrink": 1,
        "deflate64": 9,
        "bzip2": BZIP2,
        "LZMA": LZMA,
        "Zstandard": 93,
        "PPMd": 98,
        "AES": 99,
        "a stranger": 471,
    }.items():
        yield case(f"zip: compressed with {what}", zip_of(Entry(method=method)), UNSUPPORTED)
    yield case("zip: a patch for another file", zip_of(Entry(flags=0x20)), UNSUPPORTED)
    yield case("zip: a folder with content", zip_of(Entry(b"a/")), MALICIOUS)


def zip_contents() -> Iterator[Hostile]:
    """Contents that are not what they should be."""
    zeros = bytes(2**20)
    packed, noise = deflated(zeros), deflated(NOISE)
    for how, content, in_archive in (
        ("becomes larger than it says", bytes(9), packed),
        ("becomes larger than it says by a byte", zeros[1:], packed),
        ("becomes smaller than it says", zeros + b"0", packed),
        ("becomes something else", b"9" * 2**20, packed),
        ("is cut", NOISE, noise[: len(noise) // 2]),
        ("is none", b"content", b"\xff" * 90),
    ):
        yield case(f"zip: deflate that {how}", zip_of(Entry(b"a.txt", content, DEFLATE, in_archive)), DAMAGED)
    yield case("zip: stored content that is too long", zip_of(Entry(packed=b"content and more")), DAMAGED)
    yield case("zip: stored content that is too short", zip_of(Entry(packed=b"cont")), DAMAGED)
    yield case("zip: stored content with a flipped bit", zip_of(Entry(packed=b"bontent")), DAMAGED)
    bomb = partial(Entry, b"a.txt", bytes(9), BZIP2)
    yield case("zip: bzip2 of 5 GB, declared as 9 bytes", lambda: zip_of(bomb(bzip2_bomb(1000))), UNSUPPORTED)
    yield case("zip: 64 MiB of zeros", zip_bomb, TOO_LARGE)
    parts = [Entry(b"%d.txt" % number, zeros, DEFLATE, deflated(zeros)) for number in range(70)]
    yield case("zip: 70 times a MiB of zeros", partial(zip_of, *parts), TOO_LARGE)


def zip_places() -> Iterator[Hostile]:
    """Members that share bytes, or lie where there are none."""
    entry, other = Entry(), Entry(b"b.txt")
    yield case("zip: two members are the same bytes", with_directory(entry.data(), [entry.line(0)] * 2), MALICIOUS)
    yield case("zip: 300 members are the same bytes (300 MiB)", zip_full_overlap, MALICIOUS)
    yield case("zip: members quote each other's headers (31 MiB)", zip_quoted_overlap, MALICIOUS)
    yield case("zip: a member within another", zip_nested(), MALICIOUS)
    long = Said(packed=80)
    long_entry = Entry(own=long, listed=long)
    yield case("zip: a content reaches into the directory", zip_of(long_entry), MALICIOUS)
    yield case("zip: a content reaches into the next member", zip_of(long_entry, other, Entry(b"c.txt")), MALICIOUS)
    for what, numbers, code in (
        ("of 8 EiB in the archive", (7, 2**63), MALICIOUS),
        ("of 8 EiB unpacked", (2**63, 7), TOO_LARGE),
    ):
        huge = Said(size=LARGE, packed=LARGE, extra=zip64_extra(*numbers))
        yield case(f"zip: a content {what} (zip64)", zip_of(Entry(own=huge, listed=huge)), code)
    for what, listed, code in (
        ("behind the file", Said(offset=2**31), DAMAGED),
        ("8 EiB behind the file (zip64)", Said(offset=LARGE, extra=zip64_extra(2**63 + 1)), DAMAGED),
        ("in the directory", Said(offset=90), DAMAGED),
        ("in another member", Said(offset=20), MALICIOUS),
        ("in other data", Said(offset=50), DAMAGED),
    ):
        data = other.data() + bytes(20)
        lines = [other.line(0), Entry(listed=listed).line(0)]
        yield case(f"zip: a member lies {what}", with_directory(data, lines), code)
    yield case("zip: a member lies in front of the file", zip_of(entry, end={"offset": len(entry.data()) + 1}), DAMAGED)
    yield case("zip: a header has another mark", b"PK\3\4" + zip_of(entry).replace(b"PK\3\4", b"PK\3\5"), DAMAGED)


def zip_ends() -> Iterator[Hostile]:
    """Directories and ends that are not what they should be."""
    entries = Entry(b"b.txt"), Entry()
    data, lines = len(entries[0].data() + entries[1].data()), len(entries[0].line(0) + entries[1].line(0))
    for what, end in (
        ("of fewer members", {"here": 1, "all": 1}),
        ("of more members", {"here": 9, "all": 9}),
        ("of members in other parts", {"all": 9}),
        ("of half a directory", {"size": lines // 2}),
        ("of a directory that begins in a name", {"size": lines - 48}),
        ("of a directory that begins too early", {"size": lines + 9}),
        ("of a directory larger than the file", {"size": 2**31}),
        ("of a directory somewhere else", {"offset": 3}),
    ):
        yield case(f"zip: its end tells {what}", zip_of(*entries, end=end), DAMAGED)
    yield case("zip: its end tells that it is the third part", zip_of(*entries, end={"disk": 2}), UNSUPPORTED)
    yield case("zip: its directory is in another part", zip_of(*entries, end={"first": 1}), UNSUPPORTED)
    yield case("zip: the first part of several", b"PK\x07\x08" + zip_of(*entries), UNSUPPORTED)
    one_of_three = zip64_end(2, lines, data, disks=3)
    yield case("zip: one of three parts (zip64)", zip_of(*entries, before_end=one_of_three), DAMAGED)
    hidden = zip_of(Entry(b"hidden.txt"))
    yield case("zip: a comment with a zip in it", zip_of(*entries, comment=hidden + b"!"), DAMAGED)
    yield case("zip: bytes behind its end", zip_of(*entries) + b"more", DAMAGED)
    for what, listed in {
        "of a later version": Said(version=99),
        "with a broken extra field": Said(extra=b"\1\0\xff\0"),
        "without a size that it says it has (zip64)": Said(size=LARGE, extra=zip64_extra()),
    }.items():
        yield case(f"zip: a directory {what}", zip_of(Entry(listed=listed)), DAMAGED)
    whole = partial(zip_of, Entry(b"b.txt", NOISE), Entry())
    yield case("zip: a directory with another mark", replaced(whole, b"PK\1\2", b"PK\1\3"), DAMAGED)
    yield case("zip: cut", cut(whole), DAMAGED)
    yield case("zip: cut in the record of its end", lambda: whole()[:-5], DAMAGED)
    yield case("zip: its beginning is missing", lambda: whole()[900:], DAMAGED)


def tar_sizes() -> Iterator[Hostile]:
    """Sizes that no file has."""
    for what, parts, code in (
        ("negative", header(size=-512), MALICIOUS),
        ("negative, in digits", header(digits=b"-0000001000"), MALICIOUS),
        ("negative in attributes (PAX)", pax({"size": "-512"}) + member(), MALICIOUS),
        ("8 EiB", header(size=2**63), TOO_LARGE),
        ("8 EiB in attributes (PAX)", pax({"size": str(2**63)}) + member(), TOO_LARGE),
        ("no number", member("b.txt") + header(digits=b"many"), DAMAGED),
        ("no number in attributes (PAX)", pax({"size": "7e3"}) + member(), DAMAGED),
        ("5,000 digits in attributes (PAX)", pax({"size": "9" * 5000}) + member(), DAMAGED),
        ("another in attributes (PAX)", pax({"size": "0"}) + member(), DAMAGED),
        ("that of all members (PAX)", pax({"size": "9"}, b"g") + member(), DAMAGED),
        ("more than there is", header(size=2**20), DAMAGED),
        ("8 GiB, of attributes (PAX)", header(kind=b"x", size=2**33 - 1), DAMAGED),
        ("8 GiB, of attributes for all (PAX)", header(kind=b"g", size=2**33 - 1), DAMAGED),
        ("8 GiB, of a name (GNU)", header(kind=b"L", size=2**33 - 1), DAMAGED),
        ("negative, of attributes (PAX)", header(kind=b"x", size=-512), DAMAGED),
    ):
        yield case(f"tar: a size is {what}", tar_of(parts), code)


def tar_records() -> Iterator[Hostile]:
    """Long names and attributes that are none."""
    for what, data in {
        "without a length": b"path=b.txt\n",
        "of length 0": b"0 path=b.txt\n",
        "longer than what holds them": b"999 path=b.txt\n",
        "without a line's end": b"14 path=b.txt\0",
        "without a name": b"10 =b.txt\n",
        "that are a MiB of digits": b"1" * 2**20,
    }.items():
        yield case(f"tar: attributes (PAX) {what}", tar_of(record(b"x", data), member()), DAMAGED)
    for_all = tar_of(record(b"g", b"1" * 2**20), member())
    yield case("tar: attributes for all (PAX) that are a MiB of digits", for_all, DAMAGED)
    yield case("tar: attributes (PAX) that are cut", pax({"comment": "x" * 9000})[:2048], DAMAGED)
    yield case("tar: attributes (PAX) and no member", tar_of(member(), pax({"path": "b.txt"})), DAMAGED)
    yield case("tar: a long name (GNU) and no member", tar_of(member(), record(b"L", b"b.txt\0")), DAMAGED)
    hours = pax({"comment": "1" * (2**20 - 600)})
    yield case("tar: attributes (PAX) of a MiB of digits that are well-formed", tar_of(hours, member()), DAMAGED)
    nested = record(b"x", b"2 " * 2**18 + b"=")
    yield case("tar: attributes (PAX) whose names would take 30 GB", tar_of(nested, member()), DAMAGED)
    for_all = tar_of(pax({f"comment{number}": "" for number in range(5000)}, b"g"), member())
    yield case("tar: 5,000 attributes for all (PAX)", for_all, DAMAGED)
    yield case("tar: 3,000 records before a member", tar_of(pax({"mtime": "1.5"}) * 3000, member()), DAMAGED)
    long = pax({"comment": "x" * 1_000_000})
    many = [part for number in range(20) for part in (long, member(f"{number}.txt"))]
    yield case("tar.gz: 20 MB of attributes (PAX)", lambda: gzip.compress(tar_of(*many), 1), DAMAGED)


def tar_ends() -> Iterator[Hostile]:
    """Tars that are cut, or go on."""
    one, two = member(), member("b.txt", NOISE)
    yield case("tar: cut in a content", tar_of(member(content=NOISE))[:9000], DAMAGED)
    yield case("tar: cut in a header", (one + two)[:1100], DAMAGED)
    yield case("tar: cut between members", one + two, DAMAGED)
    yield case("tar: cut in its first header", one[:300], NO_ARCHIVE)
    yield case("tar: a flipped bit in a header", flipped(partial(tar_of, one, two), 1030), DAMAGED)
    yield case("tar: no header where the second one should be", tar_of(one, NOISE, two), DAMAGED)
    yield case("tar: another tar behind it", tar_of(one) + tar_of(two), DAMAGED)
    yield case("tar: a zip behind it", tar_of(one) + zip_of(Entry()), DAMAGED)
    yield case("tar: bytes behind it", tar_of(one) + NOISE, DAMAGED)
    size = 70 * 2**20
    yield case("tar.gz: 70 MiB of nothing behind it", lambda: gzip.compress(one + bytes(size), 1), DAMAGED)


def packings() -> Iterator[Hostile]:
    """Tars whose packing is damaged, or hides how large they are."""
    whole = tar_of(member(content=NOISE), member("b.txt"))
    for kind, pack in PACKED.items():
        yield case(f"{kind}: cut", cut(partial(pack, whole)), DAMAGED)
        yield case(f"{kind}: a flipped bit in the middle", flipped(partial(pack, whole), 150_000), DAMAGED)
        yield case(f"{kind}: 64 MiB of zeros", partial(tar_bomb, pack), TOO_LARGE)
    gz, zst, small = gzip.compress(whole), zstd(whole), gzip.compress(tar_of(member("b.txt")))
    yield case("tar.gz: the check sum at its end is another", flipped(partial(bytes, gz), -8), DAMAGED)
    yield case("tar.gz: the length at its end is another", flipped(partial(bytes, gz), -4), DAMAGED)
    yield case("tar.gz: no more than its first bytes", gz[:5], DAMAGED)
    yield case("tar.gz: a method unheard of", flipped(partial(bytes, gz), 2), DAMAGED)
    yield case("tar.gz: bytes behind it", gz + b"more", DAMAGED)
    yield case("tar.gz: another tar.gz behind it", gz + small, DAMAGED)
    yield case("tar.zst: the check sum at its end is another", flipped(partial(bytes, zst), -1), DAMAGED)
    yield case("tar.zst: bytes behind it", zst + b"more", DAMAGED)
    yield case("tar.zst: its reader must keep 256 MiB", zstd_of_large_window, DAMAGED)


def beyond_limits() -> Iterator[Hostile]:
    """Harmless members, and more of them than is allowed."""
    several, deep, long = [f"{number}.txt" for number in range(4)], "a/b/c/d/e/f.txt", "n" * 250
    for kind, make in {"zip": named_zip, "tar": named_tar}.items():
        yield case(f"{kind}: more files than allowed", make(*several), TOO_LARGE, UnpackLimits(members=4))
        yield case(f"{kind}: more folders than allowed", make(deep), TOO_LARGE, UnpackLimits(members=4))
        yield case(f"{kind}: longer names than allowed", make(long, long + "2"), TOO_LARGE, UnpackLimits(members=3))
        yield case(f"{kind}: more bytes than allowed", make(*several), TOO_LARGE, UnpackLimits(total_bytes=34))


HOSTILE: tuple[Hostile, ...] = (
    *no_archives(), *names(), *links(), *holes(),
    *zip_headers(), *zip_contents(), *zip_places(), *zip_ends(),
    *tar_sizes(), *tar_records(), *tar_ends(),
    *packings(), *beyond_limits(),
)  # fmt: skip
