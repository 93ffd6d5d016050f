"""Fonts for names in any script: the one that matplotlib ships, then installed fonts for what it lacks."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache

from matplotlib.font_manager import findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font

from tlcli.reports.names import distinct_names

OWN = "DejaVu Sans"
_PREFERRED = (
    "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Devanagari", "Noto Sans Arabic", "Symbola",
    "Noto Emoji", "Microsoft YaHei", "Nirmala UI", "Segoe UI", "Segoe UI Emoji", "PingFang SC", "Hiragino Sans",
    "Arial Unicode MS",
)  # fmt: skip
"""Families that are tried first, as they have many characters; then all others."""
_CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")
"""How Unicode's names of Chinese, Japanese and Korean characters begin."""


def families(text: str) -> list[str]:
    """Font families that together cover a text, as far as installed fonts can. matplotlib takes each character from
    the first family that has it, and draws a box where none has."""
    return _covered(text)[0]


def lacking(text: str) -> frozenset[str]:
    """The characters of a text that no installed font has."""
    return _covered(text)[1]


def missing_font_note(labels: Sequence[str]) -> str:
    """Which classes have numbers in figures because no installed font has their characters, and what to install; empty
    where there are none."""
    missing = lacking("".join(labels))
    numbered = [(number, label) for number, label in enumerate(labels, 1) if not missing.isdisjoint(label)]
    if not numbered:
        return ""
    listed = ", ".join(f"{number} is '{label}'" for number, label in numbered[:5])
    more = " and so on" if len(numbered) > 5 else ""
    packages = " ".join(sorted({_package(character) for character in missing}))
    return (
        f"No installed font has the characters of {len(numbered):,} class names, which have their numbers in figures: "
        f"class {listed}{more}. Install one, for example with: apt install {packages}"
    )


def names_in_figures(labels: Sequence[str], length: int = 22) -> list[str]:
    """The names of all classes as figures show them, see :func:`~tlcli.reports.names.distinct_names`."""
    return distinct_names(labels, length, lacking("".join(labels)))


def escaped(text: str) -> str:
    """The text with the characters that no font has as ``\\u65e5``, so that no two of them look alike."""
    missing = lacking(text)
    return "".join(c.encode("ascii", "backslashreplace").decode() if c in missing else c for c in text)


def _covered(text: str) -> tuple[list[str], frozenset[str]]:
    """Families, and what none of them has."""
    left = {c for c in text if c.isprintable() and not c.isspace()} - _characters(_regular()[OWN])
    chosen = [OWN]
    for family, path in _candidates() if left else ():
        if left & _characters(path):
            chosen.append(family)
            left -= _characters(path)
        if not left:
            break
    return chosen, frozenset(left)


def _candidates() -> Iterator[tuple[str, str]]:
    """Families and their files: those that matplotlib knows, then those installed since it listed them."""
    known = _regular()
    yield from _preferred_first(known)
    if _add_new_fonts():
        _regular.cache_clear()
        yield from _preferred_first({family: path for family, path in _regular().items() if family not in known})


def _preferred_first(files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield from ((family, files[family]) for family in _PREFERRED if family in files)
    yield from files.items()


@cache
def _add_new_fonts() -> bool:
    """Whether there are fonts beside those that matplotlib knows: it keeps its list for good, so that a font installed
    on the advice of :func:`missing_font_note` would be missing."""
    known = {font.fname for font in fontManager.ttflist}
    new = [path for path in findSystemFonts() if path not in known]
    for path in new:
        with suppress(OSError, RuntimeError, ValueError, KeyError):  # of an unsupported kind
            fontManager.addfont(path)
    return bool(new)


@cache
def _regular() -> dict[str, str]:
    """The file of each family's upright font of normal weight, by the family's name."""
    upright = [
        f for f in fontManager.ttflist
        if f.style == "normal" and f.weight in (400, "normal", "regular") and not f.name.startswith("Last Resort")
    ]  # fmt: skip
    return {f.name: f.fname for f in sorted(upright, key=lambda f: (f.name, f.fname), reverse=True)}


@cache
def _characters(path: str) -> frozenset[str]:
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):  # removed since matplotlib listed it, or of an unsupported kind
        return frozenset()
    # Bitmap fonts of fixed size (coloured emoji) make matplotlib fail.
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()


def _package(character: str) -> str:
    """The Debian and Ubuntu package of a font that has a character."""
    if unicodedata.name(character, "").startswith(_CJK):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(character) == "So" else "fonts-noto-core"
