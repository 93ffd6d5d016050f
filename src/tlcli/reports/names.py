"""Names of classes for tables and figures: on one line, not too long, and never two that look alike."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence


def one_line(name: str) -> str:
    """The name with runs of white space as single spaces, without format characters (direction marks), and with other
    characters that cannot be seen replaced."""
    text = "".join(c for c in " ".join(name.split()) if unicodedata.category(c) != "Cf")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def cut(text: str, length: int) -> str:
    """The text, or its start and an ellipsis where it is longer."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def distinct_names(names: Sequence[str], length: int, lacking: Collection[str] = ()) -> list[str]:
    """A form of each name of at most ``length`` characters; those that would look alike have their number, from 1.

    Args:
        names: all of them, so that numbers are those of the classes.
        length: of the longest form.
        lacking: characters that cannot be shown; a name that has one is numbered.
    """
    whole = [one_line("".join(c for c in name if c not in lacking)) for name in names]
    short = [cut(name, length) for name in whole]
    counted = Counter(short)
    shown = []
    for number, (name, text, form) in enumerate(zip(names, whole, short, strict=True), 1):
        is_partial, mark = any(c in lacking for c in name), f" (class {number})"
        if not text or (is_partial and not any(c.isalnum() for c in text)):
            shown.append(f"class {number}")
        elif is_partial or counted[form] > 1:
            shown.append(cut(text, max(1, length - len(mark))) + mark)
        else:
            shown.append(form)
    return shown
