"""Names in an archive that does not say how they are encoded: valid UTF-8, else a guess at the maker's code page.

A few short names are all there is to judge by, for which ``charset-normalizer`` is no help: it takes the Chinese names
of three animals for Korean ones. Here every code page has a rough model of its languages: the probability of a
character outside ASCII, by classes such as "kana" or "accented letter". A code page is taken if what it gives is at
least ten times as likely as all else that the bytes could mean, and nothing in it looks wrong; else people are asked.
"""

import math
import re
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tlcli.errors import DataError

_SAMPLE = 2000
"""Distinct parts of names that are judged."""
_NO_LETTERS = re.compile(rb"[\x00-\x3f]+")
"""What is between the parts: digits, dots, slashes, which are no second byte either; 1.png to 999.png count once."""
_CLEAR = math.log(10)
_ASCII = 1 / 80
"""Probability of any character of ASCII, in every language."""
_WRONG = 1e-6
"""That of a sign that no name has, such as a part of a frame."""
_ODD, _UNUSUAL = 0.01, 0.1
"""Factors for a capital after a small letter or a mixture of alphabets, and for an ideograph after a letter."""
_WESTERN = "äöüßéèêëàáâåæøçñíîïóôúûÄÖÜÉÅÆØ"
_CENTRAL = "ąćęłńóśźżáčďéěíňřšťúůýžőűöüäŁŚŻŹĆČŘŠŽÁÉÓÖÜ"
_TURKISH = "çğıöşüÇİÖŞÜ"
_RUSSIAN = {"оеаинтсрвл": 0.062, "кмдпуяыьгзб": 0.027, "чйхжшюцщэфъ": 0.0075, "ёіїєґ": 0.001}
_GREEK = {"αεηιοςστνρκ": 0.06, "βγδζθλμξπυφχψω": 0.02, "άέήίόύώϊϋ": 0.01}
_HEBREW = {"אבגדהוזחטיכלמנסעפצקרשתךםןףץ": 1 / 27}
_HANGUL = frozenset(
    "가각간갈감갑강개객거건걸검것게격견결경계고곡곤골공과관광괴교구국군굴권귀규그극근글금급기긴길김까깨꺼꼬꽃꾸끄끼나난날남납내냄"
    "너널네녀년념노녹논놀농누눈는능니다단달담답당대더덕던덜데도독돈돌동되두둑둔들등디따때또라락란람랑래량러런레려력련렬령로록론"
    "료루류륜률르름리린립마막만말망매머먹멀메며면명모목몰무문물미민밀바박반발방배백버번벌범법벽변별병보복본봉부북분불비빈빛빠"
    "사산살삼상새색생서석선설섬성세소속손송쇠수숙순술스습승시식신실심십싸쓰씨아악안알암압앙애야약양어억언얼엄업에여역연열염영예오"
    "옥온올와완왕외요욕용우운울원월위유육윤은을음응의이인일임입자작잔장재저적전절점접정제조족존종주죽준줄중즈증지직진질집짜쪽차"
    "찬찰참창채처척천철청체초촌총최추축출충치칠카코크키타탁탄탈탐태택터테토통투트특파판패퍼편평포표푸품풍프피필하학한할함합항"
    "해행향허헌험혁현혈협형혜호혼홍화확환활황회획효후훈흑흥희히"
)
"""The syllables that make up most of Korean."""


def _latin(common: str, character: str) -> float:
    if character in common:
        return 0.09 / len(common)
    return 0.01 / 60 if character.isalpha() and character.upper() != character.lower() else _WRONG


def _alphabet(shares: Mapping[str, float], character: str) -> float:
    share = next((share for letters, share in shares.items() if character.lower() in letters), 0.0)
    return 0.5 * share * (0.1 if character.isupper() else 0.9) or _WRONG


def _japanese(character: str) -> float:
    if "\u3041" <= character <= "\u30fe":  # hiragana, katakana
        return 0.25 / 180
    lead, double = _bytes(character, "cp932")
    if not character.isprintable():
        return _WRONG
    if double and 0x88 <= lead <= 0x98:
        return 0.22 / 2965
    return 0.005 / 4000 if double else _WRONG  # single bytes are katakana of half the width


def _chinese(character: str) -> float:
    lead, trail = _bytes(character, "gbk")
    if trail >= 0xA1 and 0xB0 <= lead <= 0xF7:
        return 0.49 / 3755 if lead <= 0xD7 else 0.008 / 3008
    return 0.002 / 15_000


def _traditional(character: str) -> float:
    lead, _ = _bytes(character, "big5")
    if 0xA4 <= lead <= 0xC6:
        return 0.49 / 5401
    return 0.008 / 7652 if lead >= 0xC9 else 0.002 / 500


def _korean(character: str) -> float:
    if character in _HANGUL:
        return 0.47 / len(_HANGUL)
    lead, trail = _bytes(character, "cp949")
    return 0.02 / 1900 if trail >= 0xA1 and 0xB0 <= lead <= 0xC8 else 0.001 / 14_000


def _bytes(character: str, encoding: str) -> tuple[int, int]:
    """Both bytes of a character; the second is 0 where there is one."""
    coded = character.encode(encoding)
    return coded[0], coded[1] if len(coded) > 1 else 0


@dataclass(frozen=True)
class _CodePage:
    encoding: str
    probability: Callable[[str], float]
    """Of a character outside ASCII."""
    prior: float = 1.0
    is_of_windows: bool = False
    """Programs of Windows write code pages of DOS instead."""
    beside_latin: float = 1.0
    """1, or a factor for one of its letters that stands beside a letter of ASCII."""

    def fits(self, before: str, character: str, after: str) -> float:
        """1, or a factor for a character that does not belong between the two others."""
        if before.isascii() and character.isascii():
            return 1.0
        if before.isalpha() and character.isupper() and (before.islower() or after.islower()):
            return _ODD
        letters = before.isalpha() and character.isalpha()
        return self.beside_latin if letters and before.isascii() != character.isascii() else 1.0


_CODE_PAGES = (
    _CodePage("cp437", partial(_latin, _WESTERN)),
    _CodePage("cp850", partial(_latin, _WESTERN)),
    _CodePage("cp1252", partial(_latin, _WESTERN), 1, True),
    _CodePage("cp852", partial(_latin, _CENTRAL), 0.3),
    _CodePage("cp1250", partial(_latin, _CENTRAL), 0.3, True),
    _CodePage("cp857", partial(_latin, _TURKISH), 0.1),
    _CodePage("cp1254", partial(_latin, _TURKISH), 0.1, True),
    _CodePage("cp866", partial(_alphabet, _RUSSIAN), 1, False, _ODD),
    _CodePage("cp1251", partial(_alphabet, _RUSSIAN), 1, True, _ODD),
    _CodePage("cp737", partial(_alphabet, _GREEK), 0.1, False, _ODD),
    _CodePage("cp1253", partial(_alphabet, _GREEK), 0.1, True, _ODD),
    _CodePage("cp862", partial(_alphabet, _HEBREW), 0.02, False, _ODD),
    _CodePage("cp1255", partial(_alphabet, _HEBREW), 0.02, True, _ODD),
    _CodePage("cp932", _japanese, 1, False, _UNUSUAL),
    _CodePage("gbk", _chinese, 1, False, _UNUSUAL),
    _CodePage("big5", _traditional, 0.3, False, _UNUSUAL),
    _CodePage("cp949", _korean, 1, False, _UNUSUAL),
)


@dataclass(frozen=True)
class _Reading:
    encoding: str
    first: str
    score: float
    """Logarithm of the likelihood."""
    is_sound: bool


def find_encoding(names: Collection[bytes], on_windows: bool) -> str:
    """The encoding of names that are not marked as UTF-8.

    Args:
        names: those that are not ASCII; at least one.
        on_windows: whether a program of Windows or DOS wrote them.

    Raises:
        DataError: they could be in several encodings.
    """
    if all(map(_is_utf8, names)):
        return "utf-8"
    parts = sorted({part for name in names for part in _NO_LETTERS.split(name) if not part.isascii()})[:_SAMPLE]
    readings: dict[str, _Reading] = {}
    for page in _CODE_PAGES:
        if (text := _decoded(parts, page.encoding)) is not None:
            reading = _read(text, page, on_windows)
            readings.setdefault("/".join(text), reading)  # cp437 and cp850 have most letters in common
    ranked = sorted(readings.values(), key=lambda reading: -reading.score)
    sound = [reading for reading in ranked if reading.is_sound]
    if sound and sound[0] is ranked[0] and (len(ranked) == 1 or ranked[0].score - ranked[1].score >= _CLEAR):
        return sound[0].encoding
    shown = ", ".join(f"{one.first!r} in {one.encoding}" for one in (sound or ranked)[:4])
    likely = (sound or ranked)[0].encoding if ranked else "cp1253"
    raise DataError(
        "data.archive_encoding_unclear",
        f"Its names are not in UTF-8, and the archive does not say how they are encoded. One of them is {shown}.",
        f"Write the right one into the source, for example encoding: {likely}.",
    )


def wrong_encoding(name: bytes, encoding: str) -> DataError:
    """The error for a name that is not in the encoding that the source gives."""
    return DataError(
        "data.archive_encoding_wrong",
        f"The name {name!r:.200} in it is not {encoding}.",
        "Correct the encoding of the source, or leave it out.",
    )


def encoding_note(encoding: str, is_guess: bool) -> str:
    """Says how names are read, where that is not the usual way."""
    how = "a guess; another one is given by the key encoding of the source" if is_guess else "as the source says"
    return f"names in it are read as {encoding} ({how})"


def unicode_path(extra: bytes, name: bytes) -> str | None:
    """The name in UTF-8 that many programs add (Info-ZIP's extra field 0x7075); None where there is none for this name.

    Args:
        extra: the extra fields of a member.
        name: the member's name as it is; a field that was made for another one does not count.
    """
    while len(extra) >= 4:
        kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 0x7075 and field[:1] == b"\1" and int.from_bytes(field[1:5], "little") == zlib.crc32(name):
            return field[5:].decode() if _is_utf8(field[5:]) else None
    return None


def _read(parts: Sequence[str], page: _CodePage, on_windows: bool) -> _Reading:
    prior = page.prior * (0.2 if on_windows and page.is_of_windows else 1)
    score, is_sound = math.log(prior), True
    for part in parts:
        for before, character, after in zip(f" {part}", part, f"{part} "[1:], strict=False):
            probability = _ASCII if character.isascii() else page.probability(character)
            factor = page.fits(before, character, after)
            is_sound = is_sound and probability > _WRONG and factor > _ODD
            score += math.log(probability * factor)
    return _Reading(page.encoding, parts[0], score, is_sound)


def _decoded(parts: Sequence[bytes], encoding: str) -> list[str] | None:
    try:
        return [part.decode(encoding) for part in parts]
    except UnicodeDecodeError:
        return None


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
