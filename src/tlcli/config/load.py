"""Reads a YAML config: all problems at once, each with its place, what was received and what is allowed."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.reader import ReaderError
from yaml.scanner import ScannerError

from tlcli.config.no_effect import NoEffect, settings_without_effect
from tlcli.config.problems import ConfigError, Location, Place, Problem, by_line, problems_of, without_secrets
from tlcli.config.schema import Config
from tlcli.config.shipped import shipped_configs
from tlcli.config.yaml_core import Dumper, Loader
from tlcli.errors import UsageError
from tlcli.system.files import open_regular

DEFAULT_CONFIG = "alien_predator"
"""The shipped config that fetch and train use when none is named."""
MAX_BYTES = 1_000_000
"""Size limit of a config; the largest in use has some thousand bytes, and 10 MB would take seconds to parse."""


@dataclass(frozen=True)
class LoadedConfig:
    """A valid config and where it comes from."""

    config: Config
    name: str
    """The file's name without its extension: the directory of its runs."""
    path: Path
    overrides: tuple[str, ...] = ()
    """The values of ``--set``."""
    sha256: str = ""
    """See :func:`text_digest`."""
    without_effect: tuple[NoEffect, ...] = ()
    """Settings that have no effect together with others."""

    @property
    def argument(self) -> str:
        """What ``--config`` takes to load it again: a shipped config's name, else the path."""
        return self.name if shipped_configs().get(self.name) == self.path else str(self.path)

    @property
    def file(self) -> Path | None:
        """See :func:`own_file`."""
        return own_file(self.path)

    @property
    def options(self) -> list[str]:
        """The options that give the same config to another command."""
        return config_options(self.argument, self.overrides)


def config_options(argument: str | None, overrides: Sequence[str]) -> list[str]:
    """``--config``, where it is given, and ``--set`` with their values."""
    config = [] if argument is None else ["--config", argument]
    return [*config, *(word for override in overrides for word in ("--set", override))]


def own_file(path: Path) -> Path | None:
    """The file of a config, absolute and without links; None for a config that comes with tlcli, which its name tells.

    Two configs of one name, in two folders, are two configs.
    """
    file = path.resolve()
    return None if any(file == shipped.resolve() for shipped in shipped_configs().values()) else file


def find_config(argument: str | None) -> Path:
    """The path of a config: a file's path, the name of a shipped config, or by default configs/alien_predator.yaml.

    Raises:
        UsageError: there is no such file.
    """
    if argument is None:
        local = Path("configs", f"{DEFAULT_CONFIG}.yaml")
        return local if local.is_file() else shipped_configs()[DEFAULT_CONFIG]
    path, shipped = Path(argument), shipped_configs()
    with suppress(OSError, RuntimeError):  # a name of 5,000 letters; ~ of an unknown user
        path = path.expanduser()
        if path.is_file():
            return path
        if argument in shipped:  # also where the directory of its images has the same name
            return shipped[argument]
        if path.exists() and argument:
            kind = "a directory" if path.is_dir() else "a pipe or a device"
            raise UsageError("config.not_a_file", f"'{argument}' is {kind}.", "Give the path of a YAML file.")
    names = {**{name: name for name in shipped}, **{p.stem: str(p) for p in path.parent.glob("*.y*ml")}}
    near = difflib.get_close_matches(path.stem, names, 1)
    suggestion = f" Did you mean '{names[near[0]]}'?" if near else ""
    raise UsageError(
        "config.not_found",
        f"There is no config '{argument}'.{suggestion}",
        f"Give the path of a YAML file, or a name: {', '.join(shipped)}.",
    )


def load_config(path: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Reads and validates a config.

    Args:
        path: the YAML file.
        overrides: ``section.key=value`` each, parsed as YAML, applied in order.

    Raises:
        ConfigError: with every problem.
        UsageError: the file is unreadable.
    """
    text = _read(path)
    raw, places, problems = _parse(text, str(path))
    for override in overrides:
        problems += _override(raw, override, places)
    try:
        # JSON's strictness is the one meant: a list is a tuple, a text is a path, but "3" is no number.
        config = Config.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        problems += problems_of(error, places, raw)
    if problems:
        raise ConfigError(sorted(problems, key=by_line))
    without_effect = settings_without_effect(config, places)
    return LoadedConfig(config, path.stem, path, tuple(overrides), _sha256(text), without_effect)


def text_digest(path: Path) -> str:
    """Hex sha256 of a config's text: equal if and only if the text is, whatever its line ends.

    Raises:
        UsageError: the file is unreadable.
    """
    return _sha256(_read(path))


def dump_config(config: Config) -> str:
    """The config as YAML, every default written out."""
    return dump_yaml(config.model_dump(mode="json"))


def dump_yaml(tree: Mapping[str, Any]) -> str:
    """Sections of a config as YAML, in their order."""
    return yaml.dump(tree, None, Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


OF_NO_RUN = ("evaluate.", "dataset.licence", "dataset.citation", "dataset.limits.", "dataset.sources")
"""Settings that decide nothing about a trained run: what evaluate does, and how fetch gets the images."""


def flat_settings(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested sections by their dotted keys."""
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from flat_settings(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError([Problem("config.too_large", Place(str(path), 1), "", "The file is larger than 1 MB.")])
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        place = Place(str(path), data.count(b"\n", 0, error.start) + 1)
        message = f"The file is not UTF-8 text (byte {data[error.start]:#04x}). Save it as UTF-8."
        raise ConfigError([Problem("config.not_utf8", place, "", message)]) from error
    except OSError as error:
        raise UsageError("config.unreadable", f"The config {path} is unreadable: {error.strerror}.") from error


def _parse(text: str, file: str) -> tuple[dict[str, Any], dict[Location, Place], list[Problem]]:
    """The mapping in a YAML file, the line of each of its values, and the keys that are in it twice.

    Raises:
        ConfigError: the file is not YAML, or something else than a mapping.
    """
    problems: list[Problem] = []
    loader = Loader("")
    try:
        tree = yaml.compose(text, Loader)
        problems += _duplicate_keys(tree, file)
        raw = loader.construct_document(tree) if tree else {}
    except yaml.YAMLError as error:
        raise ConfigError(sorted([*problems, _not_yaml(error, text, file)], key=by_line)) from error
    finally:
        loader.dispose()
    if not isinstance(raw, dict):
        message = f"A config is a mapping of sections. Received: {raw!r:.60}."
        raise ConfigError([Problem("config.not_a_mapping", Place(file, 1), "", message)])
    # after the construction, which replaces merge keys (<<) by what they stand for
    return raw, {(): Place(file, 1), **{key: Place(file, line) for key, line in _lines(tree)}}, problems


def _lines(node: yaml.Node | None, above: Location = ()) -> Iterator[tuple[Location, int]]:
    """Every key and list item below a node, with its line."""
    children: list[tuple[str | int, yaml.Node, yaml.Node]]
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    else:
        items = node.value if isinstance(node, yaml.SequenceNode) else ()
        children = [(number, value, value) for number, value in enumerate(items)]
    for part, begin, value in children:
        yield (*above, part), begin.start_mark.line + 1
        yield from _lines(value, (*above, part))


def _duplicate_keys(tree: yaml.Node | None, file: str) -> Iterator[Problem]:
    """Keys that are twice in one mapping; YAML would silently take the last."""
    first: dict[Location, int] = {}
    duplicates: set[Location] = set()
    for location, line in _lines(tree):
        if location in first and location[:-1] not in duplicates:
            message = f"This key is in the mapping twice, first in line {first[location]}."
            yield Problem("config.duplicate_key", Place(file, line), ".".join(map(str, location)), message)
        if location in first:
            duplicates.add(location)
        first.setdefault(location, line)


def _not_yaml(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        message = f"Not valid YAML: the character U+{error.character:04X} is not allowed."
        return Problem("config.not_yaml", Place(file, line), "", message)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(file, mark.line + 1 if mark else 1)
    return Problem("config.not_yaml", place, "", f"Not valid YAML: {_reason(error)}.")


def _reason(error: yaml.YAMLError) -> str:
    """What the parser was reading, where that began, and what it found."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    if isinstance(error, ScannerError) and "double-quoted" in f"{error.context}" and "escape" in f"{error.problem}":
        return "a backslash in double quotes begins an escape; write paths of Windows in single quotes or with /"
    began = f" (line {error.context_mark.line + 1})" if error.context_mark else ""
    return f"{error.context}{began}: {error.problem}" if error.context else str(error.problem)


def _override(raw: dict[str, Any], override: str, places: dict[Location, Place]) -> list[Problem]:
    """Sets one value of the raw config and its place; the problems of the override, at most one."""
    key, equals, text = override.partition("=")
    place, parts = Place(f"--set {without_secrets(override):.100}"), tuple(key.strip().split("."))
    if not equals or not all(parts) or len(parts) < 2:
        return [Problem("config.wrong_override", place, "", "Write it as --set section.key=value.")]
    try:
        value = yaml.load(text, Loader)  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        return [Problem("config.not_yaml", place, key, f"The value is not valid YAML: {_reason(error)}.")]
    target: Any = raw
    for depth, part in enumerate(parts[:-1], 1):
        if target.get(part) is None:
            target[part] = {}
            places.setdefault(parts[:depth], place)
        target = target[part]
        if not isinstance(target, dict):
            message = f"'{part}' is not a mapping here; set its whole value."
            return [Problem("config.not_a_mapping", place, key, message)]
    target[parts[-1]] = value
    for location in [location for location in places if location[: len(parts)] == parts]:
        del places[location]
    places[parts] = place
    return []
