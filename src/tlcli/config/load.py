"""Reads a YAML config: every mistake at once, each with its place, what was received and what is allowed."""

import difflib
import functools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError
from yaml.reader import ReaderError

from tlcli.config.schema import Config
from tlcli.config.sources import KINDS
from tlcli.config.yaml_core import Dumper, Loader
from tlcli.errors import UsageError

DEFAULT_CONFIG = "alien_predator"
"""The shipped config that fetch and train use when none is named."""

Location = tuple[str | int, ...]


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
        super().__init__("\n".join(str(mistake) for mistake in mistakes))


@dataclass(frozen=True)
class Loaded:
    """A valid config and where it came from."""

    config: Config
    name: str
    """The file's name without its ending: the folder of its runs."""
    path: Path


def shipped_configs() -> dict[str, Path]:
    """The configs that come with tlcli, by name."""
    installed = Path(__file__).parents[1] / "configs"
    folder = installed if installed.is_dir() else Path(__file__).parents[3] / "configs"  # a checkout
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(given: str | None) -> Path:
    """The config's path: the one given, or by the name of a shipped one; by default configs/alien_predator.yaml.

    Raises:
        UsageError: there is no such file.
    """
    if given is None:
        local = Path("configs", f"{DEFAULT_CONFIG}.yaml")
        return local if local.is_file() else shipped_configs()[DEFAULT_CONFIG]
    path = Path(given)
    with suppress(OSError, RuntimeError):  # a name of 5,000 letters; ~ of somebody who is not known here
        path = path.expanduser()
        if path.is_file():
            return path
    shipped = shipped_configs()
    if given in shipped:
        return shipped[given]
    there = {**{name: name for name in shipped}, **{p.stem: str(p) for p in path.parent.glob("*.y*ml")}}
    near = difflib.get_close_matches(path.stem, there, 1)
    hint = f"; did you mean '{there[near[0]]}'?" if near else ""
    raise UsageError(f"There is no config '{given}'; give the path of a YAML file or one of {', '.join(shipped)}{hint}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Reads and checks a config.

    Args:
        path: the YAML file.
        overrides: ``section.key=value`` each, parsed as YAML, applied in order.

    Raises:
        ConfigError: with every mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The config {path} cannot be read: {error}.") from error
    tree, mistakes = _compose(text, str(path))
    raw = _constructed(tree, mistakes, str(path))
    origins: dict[Location, str] = {}
    for override in overrides:
        _override(raw, override, origins, mistakes)
    try:
        # JSON's strictness is the one meant: a list is a tuple, a text is a path, but "3" is no number.
        config = Config.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        places = _Places(str(path), tree, origins)
        mistakes += [_mistake(problem, places) for problem in _causes(error.errors())]
    if mistakes:
        raise ConfigError(sorted(mistakes, key=_line))
    return Loaded(config, path.stem, path)


def _line(mistake: Mistake) -> int:
    """For the order of the file; mistakes in options come last."""
    line = mistake.where.rpartition(":")[2]
    return int(line) if line.isdigit() and not mistake.where.startswith(_SET) else sys.maxsize


def dump_config(config: Config) -> str:
    """The config as YAML, every default written out."""
    tree = config.model_dump(mode="json")
    return yaml.dump(tree, None, Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _compose(text: str, file: str) -> tuple[yaml.Node | None, list[Mistake]]:
    try:
        tree = yaml.compose(text, Loader)
    except yaml.YAMLError as error:
        raise ConfigError([_not_yaml(error, text, file)]) from error
    return tree, list(_doubled(tree, file)) if tree else []


def _not_yaml(error: yaml.YAMLError, text: str, file: str) -> Mistake:
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Mistake(f"{file}:{line}", "", f"not valid YAML: the character U+{error.character:04X} is not allowed")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return Mistake(f"{file}:{mark.line + 1}" if mark else file, "", f"not valid YAML: {_problem(error)}")


def _problem(error: yaml.YAMLError) -> str:
    """What the parser was doing, and what came in between."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    begun, came = error.context_mark, error.problem_mark
    since = f" begun in line {begun.line + 1}" if begun and came and begun.line != came.line else ""
    doing = f"{error.context}{since}: " if error.context else ""
    return f"{doing}{error.problem}"


def _constructed(tree: yaml.Node | None, mistakes: list[Mistake], file: str) -> dict[str, Any]:
    loader = Loader("")
    try:
        raw = loader.construct_document(tree) if tree else {}
    except yaml.YAMLError as error:
        raise ConfigError(sorted([*mistakes, _not_yaml(error, "", file)], key=_line)) from error
    finally:
        loader.dispose()
    if not isinstance(raw, dict):
        raise ConfigError([Mistake(f"{file}:1", "", f"a config is a mapping of sections; received: {raw!r:.60}")])
    return raw


def _doubled(tree: yaml.Node, file: str, above: str = "") -> Iterator[Mistake]:
    """Keys that stand twice in one mapping; YAML would silently take the last."""
    if isinstance(tree, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in tree.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in first:
                yield Mistake(f"{file}:{line}", f"{above}{name}", f"this key stands twice, first in line {first[name]}")
            first.setdefault(name, line)
            yield from _doubled(value, file, f"{above}{name}.")
    elif isinstance(tree, yaml.SequenceNode):
        for number, value in enumerate(tree.value):
            yield from _doubled(value, file, f"{above}{number}.")


_SET = "--set "


def _override(raw: dict[str, Any], override: str, origins: dict[Location, str], mistakes: list[Mistake]) -> None:
    key, equals, text = override.partition("=")
    where = f"{_SET}{override:.100}"
    parts = key.strip().split(".")
    if not equals or not all(parts) or len(parts) < 2:
        mistakes.append(Mistake(where, "", "write --set section.key=value"))
        return
    try:
        value = yaml.load(text, Loader)  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        mistakes.append(Mistake(where, key, f"the value is not valid YAML: {_problem(error)}"))
        return
    target: Any = raw
    for part in parts[:-1]:
        inner = target.setdefault(part, {})
        if inner is None:
            inner = target[part] = {}
        if not isinstance(inner, dict):
            mistakes.append(Mistake(where, key, f"'{part}' is no mapping here; set it whole"))
            return
        target = inner
    target[parts[-1]] = value
    origins[tuple(parts)] = where


class _Places:
    """Finds the line, or the --set, that a value came from; locations are without union tags."""

    def __init__(self, file: str, tree: yaml.Node | None, origins: dict[Location, str]) -> None:
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
        message = f"unknown key{_near(str(location[-1]), allowed)}; allowed here: {', '.join(allowed)}"
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
            message += f" (received: {received!r:.80})"
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
