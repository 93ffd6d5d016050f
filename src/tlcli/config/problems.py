"""What is wrong in a config: place, key, stable code, and a message with what was received and what is allowed."""

import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from tlcli.config.schema import Config
from tlcli.config.section import Section
from tlcli.config.sources import KINDS
from tlcli.errors import UsageError

Location = tuple[str | int, ...]
"""Keys and positions in lists that lead to a value."""
_PASSWORD = re.compile(r"//[^/@\s]+@")
"""User and password in an address, which are never printed."""
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*")
"""What follows ? in an address, which may sign it."""
_PRINTED = 100
"""Problems in a message; a file with more is something other than a config."""


class Place(NamedTuple):
    """Where a value comes from: a line of a file, or an option as it was written (``--set section.key=value``)."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a config."""

    code: str
    place: Place
    key: str
    """Dotted, empty where it is about the whole file."""
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key + ': ' if self.key else ''}{self.message}"


class ConfigError(UsageError):
    """All problems of one or more configs; the message lists the first 100."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:_PRINTED]]
        if len(problems) > _PRINTED:
            lines.append(f"{len(problems) - _PRINTED:,} more problems are not shown.")
        all_problems = "\n".join(lines)
        super().__init__("config.invalid", all_problems)

    def document(self) -> dict[str, object]:
        """With all problems, each with its own code."""
        problems = [
            {"place": str(one.place), "key": one.key, "code": one.code, "message": one.message} for one in self.problems
        ]
        return {**super().document(), "problems": problems}


def by_line(problem: Problem) -> int:
    """Sorts the problems of a file by line, before those of ``--set``."""
    return problem.place.line or sys.maxsize


PYDANTIC_CODES = {
    "config.wrong_type": (
        "bool_type", "int_type", "int_from_float", "float_type", "string_type", "path_type", "tuple_type", "dict_type",
        "model_type",
    ),
    "config.out_of_range": (
        "greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number", "int_parsing_size",
    ),
    "config.wrong_length": ("too_short", "too_long", "string_too_short"),
    "config.wrong_format": ("string_pattern_mismatch",),
    "config.unknown_choice": ("literal_error",),
}  # fmt: skip
"""Codes of problems that pydantic itself finds, by its types; those of the schema's own rules are ``config.TYPE``."""
_CODES = {kind: code for code, kinds in PYDANTIC_CODES.items() for kind in kinds}
WORDING = {
    "bool_type": "Input should be true or false",
    "model_type": "Input should be a mapping of keys to values",
    "dict_type": "Input should be a mapping of keys to values",
    "tuple_type": "Input should be a list",
    "too_short": "Input should have {min_length} or more values",
    "too_long": "Input should have {max_length} or fewer values",
}
"""Where pydantic's words are those of Python or JSON, not of YAML."""


_FORMS = {
    "fail_under": ("number", "metrics"), "size": ("side", "sides"), "tiles": ("grid", "text", "word"),
    "layers": ("names", "word"), "blocks": ("number", "word"),
    "class_weight": ("word", "weights"),
}  # fmt: skip
"""Keys that take values of several forms, and the tags of these in the schema."""
_LISTS: dict[Location, str] = {
    ("image", "size"): " Write [height, width], or one side of a square.",
    ("image", "tiles"): " Write [rows, columns], or native.",
}
_OF_LISTS = ("missing", "too_short", "too_long", "int_type", "int_from_float")
"""Problems of a list's length or values."""


def problems_of(error: ValidationError, places: Mapping[Location, Place], raw: object) -> list[Problem]:
    """Every problem that the schema found.

    Args:
        error: what pydantic raised.
        places: where each value of the config comes from; the empty location is the config as a whole.
        raw: the config as it was read.
    """
    found: list[Any] = error.errors()
    parents = {one["loc"][:-1] for one in found}  # a list is also called too short when one of its values is wrong
    return [_problem(one, places, raw) for one in found if one["type"] != "too_short" or one["loc"] not in parents]


def _problem(found: Any, places: Mapping[Location, Place], raw: object) -> Problem:
    tagged: Location = found["loc"] or tuple(found["ctx"]["key"].split("."))
    location = tuple(part for above, part in zip(("", *tagged), tagged, strict=False) if not _is_tag(above, part))
    place = next(places[location[:n]] for n in range(len(location), -1, -1) if location[:n] in places)
    key = ".".join(map(str, location))
    if found["type"] == "extra_forbidden":
        allowed, name = _allowed_keys(tagged[:-1]), str(location[-1])
        suggestion = _did_you_mean([name], allowed or ()) or _elsewhere(name)
        return Problem(
            "config.unknown_key", place, key, f"Unknown key.{suggestion} Allowed here: {', '.join(allowed)}."
        )
    if found["type"] == "missing" and isinstance(location[-1], str):
        return Problem("config.missing_key", place, key, "This key is required.")
    form = _LISTS.get(location[:2], "") if found["type"] in _OF_LISTS else ""
    if found["type"] == "missing":
        return Problem("config.missing_value", place, key, f"A value is missing here.{form}")
    message = _wrong_value(found, _written(raw, location)) + form
    return Problem(_CODES.get(found["type"], f"config.{found['type']}"), place, key, message)


def _is_tag(above: str | int, part: str | int) -> bool:
    """Whether pydantic has inserted a part that is no key of the file: the kind of a source after its position, the
    form of fail_under, size, tiles, layers, blocks or class_weight after that."""
    return (isinstance(above, int) and part in KINDS) or part in _FORMS.get(str(above), ())


def _written(raw: Any, location: Location) -> str | None:
    """How the number at a location was written; None for other values."""
    for part in location:
        try:
            raw = raw[part]
        except (LookupError, TypeError):
            return None
    return getattr(raw, "written", None)


def _wrong_value(found: Any, written: str | None) -> str:
    """What is allowed, what may be meant, and what was received."""
    received, context = found.get("input"), found.get("ctx", {})
    message = WORDING[found["type"]].format_map(context) if found["type"] in WORDING else found["msg"]
    listed = context.get("allowed", "")
    choices = listed.split(", ") if listed else re.findall(r"'([^']+)'", context.get("expected", ""))
    words = [received] if isinstance(received, str) else list(received) if isinstance(received, dict) else []
    message = f"{message.removesuffix('.')}.{_did_you_mean(words, choices)}"
    if found["type"] == "string_type" and isinstance(received, int | float):
        written = written or str(received).lower()
        return f'{message} Received: {written}. Where it is meant as text, quote it: "{written}".'
    if not isinstance(received, dict):
        message += f" Received: {without_secrets(repr(received)):.80}."
    return message + (f" Allowed: {listed}." if listed else "")


def without_secrets(text: str) -> str:
    """The text, its addresses without user, password and what follows ``?``, in whose place there are stars."""
    return _QUERY.sub(r"\1?***", _PASSWORD.sub("//***@", text))


def _did_you_mean(words: Sequence[str], allowed: Sequence[str]) -> str:
    if len(allowed) < 2:
        return ""  # the only one has been named
    by_fold = {name.casefold(): name for name in allowed}
    for word in words:
        if near := difflib.get_close_matches(word.casefold(), by_fold, 1):
            return f" Did you mean '{by_fold[near[0]]}'?"
    return ""


def _elsewhere(name: str) -> str:
    """Where else in a config the key is allowed: it may only be in the wrong section."""
    paths = [path for path in _key_paths(Config) if f".{path}".endswith(f".{name}")]
    return f" Did you mean {' or '.join(paths)}?" if paths and name else ""


def _key_paths(section: type[Section], above: str = "") -> Iterator[str]:
    """Every key of a section and of the sections in it, dotted."""
    for name, field in section.model_fields.items():
        yield f"{above}{name}"
        for inner in _sections_in(field.annotation):
            yield from _key_paths(inner, f"{above}{name}.")


def _allowed_keys(location: Location) -> list[str]:
    """Keys of the section at a location, in which sources have their kind after their position, as in pydantic."""
    sections: list[type[Section]] = [Config]
    for part in location:
        matching = [section for section in sections if part in section.model_fields]
        below = [one for section in matching for one in _sections_in(section.model_fields[str(part)].annotation)]
        sections = below or matching or sections  # a section; the kind of a source; a position or the name of a class
    return sorted({name for section in sections for name in section.model_fields})


def _sections_in(annotation: object) -> list[type[Section]]:
    """The sections that a value of this type can be or hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections_in(inner)]
