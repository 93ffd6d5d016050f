"""Fonts for names in any script: the one that matplotlib ships, then installed fonts for what it lacks."""

from functools import cache

from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"


def families(text: str) -> list[str]:
    """Font families that together cover a text, as far as installed fonts can. matplotlib takes each character from
    the first family that has it, and draws a box where none has."""
    lacking = {c for c in text if c.isprintable()} - _characters(_regular()[OWN])
    chosen = [OWN]
    for family, path in _regular().items() if lacking else ():
        if lacking & _characters(path):
            chosen.append(family)
            lacking -= _characters(path)
        if not lacking:
            break
    return chosen


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
