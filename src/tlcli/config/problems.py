"""What is wrong in a config, told so that it can be put right: place, key, what was received, what is allowed."""

import difflib
import functools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from tlcli.config.schema import Config
from tlcli.config.sources import KINDS
from tlcli.errors import UsageError

Location = tuple[str | int, ...]
_USER = re.compile(r"//[^/@\s]+@")
"""User and password in an address, which are nobody's business."""
SET = "--set "
"""How the place of a value that was set by an option begins."""
_SHOWN = 100
"""Mistakes that are told at once; a file with more is no config with mistakes."""


class Mistake(NamedTuple):
    """One thing that is wrong in a config."""

    where: str
    """file:line, or the option."""
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key + ': ' if self.key else ''}{self.message}"


class ConfigError(UsageError):
    """All mistakes of a config."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        lines = [str(mistake) for mistake in mistakes[:_SHOWN]]
        if (more := len(mistakes) - _SHOWN) > 0:
            lines.append(f"and {more:,} more mistakes")
        super().__init__("\n".join(lines))


def mistakes_of(
    error: ValidationError, file: str, tree: yaml.Node | None, origins: Mapping[Location, str]
) -> list[Mistake]:
    """Every mistake that the schema found, each with the line or the option that its value came from.

    Args:
        error: what pydantic found.
        file: the config's path.
        tree: its YAML.
        origins: for each key that was set by an option, the option.
    """
    places = _Places(file, tree, origins)
    return [_mistake(problem, places) for problem in _causes(error.errors())]


def line_order(mistake: Mistake) -> int:
    """For the order of the file; mistakes in options come last."""
    line = mistake.where.rpartition(":")[2]
    return int(line) if line.isdigit() and not mistake.where.startswith(SET) else sys.maxsize


class _Places:
    """Finds the line, or the --set, that a value came from; locations are without union tags."""

    def __init__(self, file: str, tree: yaml.Node | None, origins: Mapping[Location, str]) -> None:
        self._file, self._tree, self._origins = file, tree, origins

    def __call__(self, location: Location) -> str:
        for origin, where in self._origins.items():
            if location[: len(origin)] == origin:
                return where
        node, line = self._tree, 1
        for depth, part in enumerate(location, 1):
            found = _child(node, part)
            if found is None:  # only --set has it, or it is missing
                return self._below(location[:depth]) or f"{self._file}:{line}"
            line, node = found
        return f"{self._file}:{line}"

    def _below(self, location: Location) -> str | None:
        return next((where for origin, where in self._origins.items() if origin[: len(location)] == location), None)


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """Line and value below a node; None where the file has none."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _causes(problems: Sequence[Any]) -> Iterator[Any]:
    """Without what only follows: a list is called too short when one of its values is wrong."""
    above = {problem["loc"][:-1] for problem in problems}
    return (problem for problem in problems if problem["type"] != "too_short" or problem["loc"] not in above)


def _mistake(problem: Any, places: _Places) -> Mistake:
    location: Location = problem["loc"] or tuple(problem["ctx"]["key"].split("."))
    plain = _untagged(location)
    where, key = places(plain), ".".join(map(str, plain))
    if problem["type"] == "extra_forbidden":
        allowed = sorted(_properties(_schema(), location[:-1]))
        name = str(location[-1])
        hint = _near(name, allowed) or _elsewhere(name)
        message = f"unknown key{hint}; allowed here: {', '.join(allowed)}"
    elif problem["type"] == "missing":
        message = "this key is required" if isinstance(location[-1], str) else "a value is missing here"
    else:
        wording = _WORDING.get(problem["type"])
        message = wording.format_map(problem.get("ctx", {})) if wording else _lower(problem["msg"])
        received = problem.get("input")
        message, listed, names = message.partition("; allowed: ")
        words = [received] if isinstance(received, str) else received if isinstance(received, dict) else ()
        choices = names.split(", ") if listed else re.findall(r"'([^']+)'", message)
        message += next(filter(None, (_near(word, choices) for word in words)), "")
        if not isinstance(received, dict):
            message += f" (received: {_USER.sub('//***@', repr(received)):.80})"
        message += listed + names
    return Mistake(where, key, message)


_WORDING = {
    "model_type": "input should be a mapping of keys to values",
    "dict_type": "input should be a mapping of keys to values",
    "tuple_type": "input should be a list",
    "too_short": "input should have {min_length} values or more",
    "too_long": "input should have {max_length} values or fewer",
}
"""Where JSON's words are not YAML's."""


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


@functools.cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()


def _untagged(location: Location) -> Location:
    """The location as the user writes it: without the kind of source that follows its number."""
    return tuple(p for i, p in enumerate(location) if not (p in KINDS and i and isinstance(location[i - 1], int)))


def _near(word: str, allowed: Sequence[str]) -> str:
    by_fold = {name.casefold(): name for name in allowed}
    near = difflib.get_close_matches(word.casefold(), by_fold, 1)
    return f", did you mean '{by_fold[near[0]]}'?" if near else ""


def _elsewhere(name: str) -> str:
    """Where else in a config the key stands: it may only be in the wrong section."""
    places = [".".join(path) for path in _paths(_schema(), ()) if path[-1] == name]
    return f", is {' or '.join(places)} meant?" if places else ""


def _paths(node: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every key of the sections, and of what is in them."""
    for one in _expanded([node], _schema()):
        for name, below in one.get("properties", {}).items():
            yield (*above, name)
            yield from _paths(below, (*above, name))


def _properties(schema: dict[str, Any], location: Location) -> set[str]:
    """Keys that the JSON Schema allows at a location."""
    nodes = [schema]
    for part in location:
        nodes = list(_expanded(nodes, schema))
        below = [node["properties"][part] for node in nodes if part in node.get("properties", {})]
        below += [node["items"] for node in nodes if "items" in node and isinstance(part, int)]
        below += [node["additionalProperties"] for node in nodes if isinstance(node.get("additionalProperties"), dict)]
        tagged = [node for node in nodes if part in node.get("properties", {})]  # a union's tag is one of its keys
        is_tag = isinstance(part, str) and len(nodes) > 2 and tagged
        nodes = tagged if is_tag else below
    return {key for node in _expanded(nodes, schema) for key in node.get("properties", {})}


def _expanded(nodes: Sequence[dict[str, Any]], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        if "$ref" in node:
            yield from _expanded([schema["$defs"][node["$ref"].rsplit("/", 1)[1]]], schema)
        elif choices := [*node.get("anyOf", []), *node.get("oneOf", [])]:
            yield from _expanded(choices, schema)
        else:
            yield node
