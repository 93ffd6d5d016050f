"""Reads a YAML config: every mistake at once, each with its place, what was received and what is allowed."""

import difflib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.reader import ReaderError

from tlcli.config.problems import SET, ConfigError, Location, Mistake, line_order, mistakes_of
from tlcli.config.schema import Config
from tlcli.config.yaml_core import Dumper, Loader
from tlcli.errors import UsageError
from tlcli.system.files import open_regular

DEFAULT_CONFIG = "alien_predator"
"""The shipped config that fetch and train use when none is named."""
MOST_BYTES = 1_000_000
"""Bytes of a config; the largest in use has some thousands, and 10 MB would be read for seconds."""


@dataclass(frozen=True)
class Loaded:
    """A valid config and where it came from."""

    config: Config
    name: str
    """The file's name without its ending: the folder of its runs."""
    path: Path
    overrides: tuple[str, ...] = ()
    """What --set was given."""

    @property
    def given(self) -> str:
        """What --config takes to name it: a shipped config's name, else the path."""
        return self.name if shipped_configs().get(self.name) == self.path else str(self.path)

    @property
    def options(self) -> list[str]:
        """The options that give the same config to another command."""
        return options_of(self.given, self.overrides)


def options_of(given: str, overrides: Sequence[str]) -> list[str]:
    """``--config`` and ``--set`` with their values."""
    return ["--config", given, *(word for override in overrides for word in ("--set", override))]


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
    path, shipped = Path(given), shipped_configs()
    with suppress(OSError, RuntimeError):  # a name of 5,000 letters; ~ of somebody who is not known here
        path = path.expanduser()
        if path.is_file():
            return path
        if given in shipped:  # also where the folder of its images has the same name
            return shipped[given]
        if path.exists() and given:
            what = "a folder" if path.is_dir() else "a pipe or a device"
            raise UsageError(f"'{given}' is {what}, and a config is a YAML file; write it to one, and give its path")
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
    text = _read(path)
    tree, mistakes = _compose(text, str(path))
    raw = _constructed(tree, mistakes, str(path))
    origins: dict[Location, str] = {}
    for override in overrides:
        _override(raw, override, origins, mistakes)
    try:
        # JSON's strictness is the one meant: a list is a tuple, a text is a path, but "3" is no number.
        config = Config.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        mistakes += mistakes_of(error, str(path), tree, origins)
    if mistakes:
        raise ConfigError(sorted(mistakes, key=line_order))
    return Loaded(config, path.stem, path, tuple(overrides))


def _read(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ConfigError([Mistake(f"{path}:1", "", "larger than 1 MB; a config has some lines of settings")])
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 text (byte {data[error.start]:#04x}); save the file as UTF-8"
        raise ConfigError([Mistake(f"{path}:{line}", "", what)]) from error
    except OSError as error:
        raise UsageError(f"The config {path} cannot be read: {error.strerror}.") from error


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
        raise ConfigError(sorted([*mistakes, _not_yaml(error, "", file)], key=line_order)) from error
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
    where = f"{SET}{override:.100}"
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
