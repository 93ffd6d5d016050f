"""Reads a YAML config: every mistake at once, each with its place, what was received and what is allowed."""

import difflib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from tlcli.config.schema import Config
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


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and booleans: ``1e-3`` is a number, ``no`` is a word, a key stands once."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "float")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)  # fmt: skip


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
    path = Path(given).expanduser()
    if path.is_file():
        return path
    shipped = shipped_configs()
    if given in shipped:
        return shipped[given]
    near = difflib.get_close_matches(path.stem, [*shipped, *(p.stem for p in path.parent.glob("*.y*ml"))], 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
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
        config = Config.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        places = _Places(str(path), tree, origins)
        mistakes += [mistake for problem in error.errors() for mistake in _mistakes(problem, places)]
    if mistakes:
        raise ConfigError(sorted(mistakes, key=_line))
    return Loaded(config, path.stem, path)


def _line(mistake: Mistake) -> int:
    """For the order of the file; mistakes in options come last."""
    line = mistake.where.rpartition(":")[2]
    return int(line) if line.isdigit() else sys.maxsize


def dump_config(config: Config) -> str:
    """The config as YAML, every default written out."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def _compose(text: str, file: str) -> tuple[yaml.Node | None, list[Mistake]]:
    try:
        tree = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise ConfigError([Mistake(where, "", f"not valid YAML: {error.problem or error.context}")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Mistake(file, "", f"not valid YAML: {' '.join(str(error).split())}")]) from error
    return tree, list(_doubled(tree, file)) if tree else []


def _constructed(tree: yaml.Node | None, mistakes: list[Mistake], file: str) -> dict[str, Any]:
    loader = _Loader("")
    try:
        raw = loader.construct_document(tree) if tree else {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([*mistakes, Mistake(file, "", f"not valid YAML: {' '.join(str(error).split())}")]) from error
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


def _override(raw: dict[str, Any], override: str, origins: dict[Location, str], mistakes: list[Mistake]) -> None:
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    parts = key.strip().split(".")
    if not equals or not all(parts) or len(parts) < 2:
        mistakes.append(Mistake(where, "", "write --set section.key=value"))
        return
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError:
        mistakes.append(Mistake(where, key, "the value is not valid YAML"))
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
    """Finds the line, or the --set, that a value came from."""

    def __init__(self, file: str, tree: yaml.Node | None, origins: dict[Location, str]) -> None:
        self._file, self._tree, self._origins = file, tree, origins

    def __call__(self, location: Location) -> str:
        for origin, where in self._origins.items():
            if location[: len(origin)] == origin:
                return where
        node, line = self._tree, 1
        for part in location:
            found = _child(node, part)
            if found is not None:
                line, node = found
        return f"{self._file}:{line}"


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """Line and value below a node; None for parts of a location that are not in the file (union tags, missing keys)."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _mistakes(problem: Any, places: _Places) -> Iterator[Mistake]:
    location: Location = problem["loc"]
    where, key = places(location), _dotted(location)
    if problem["type"] == "extra_forbidden":
        allowed = sorted(_properties(Config.model_json_schema(), location[:-1]))
        message = f"unknown key{_near(str(location[-1]), allowed)}; allowed here: {', '.join(allowed)}"
    elif problem["type"] == "missing":
        message = "this key is required"
    else:
        message = problem["msg"][0].lower() + problem["msg"][1:]
        received = problem.get("input")
        message, listed, allowed = message.partition("; allowed: ")
        if isinstance(received, str):
            message += _near(received, allowed.split(", ") if listed else re.findall(r"'([^']+)'", message))
        if not isinstance(received, dict):
            message += f" (received: {received!r:.80})"
        message += listed + allowed
    yield Mistake(where, key, message)


def _dotted(location: Location) -> str:
    """The key as the user writes it: union tags left out."""
    tags = {"kaggle", "url", "archive", "folder", "package"}
    parts = [str(p) for i, p in enumerate(location) if not (p in tags and i and isinstance(location[i - 1], int))]
    return ".".join(parts)


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
