"""Options whose value is missing: the parser takes the next word for it, or does not say whose option it is."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from tlcli.errors import UsageError

_PATHS = ("DIR", "FILE")


def check_values(app: typer.Typer, words: Sequence[str]) -> None:
    """Refuses an option whose value is another option of the command, or an empty path.

    Args:
        app: the application.
        words: what follows the program's name.

    Raises:
        UsageError: with the command's help as hint.
    """
    is_odd = any(one.startswith("--") and (two.startswith("-") or not two) for one, two in pairwise(words))
    if not is_odd and not any(one.startswith("--") and one.endswith("=") for one in words):
        return  # without building the commands a second time
    command, path = _command(app, words)
    names = {name for option in command.params if option.param_type_name == "option" for name in option.opts}
    for option, name, value in _given(command, words):
        if value is None or value in names or (not value and option.metavar in _PATHS):
            raise _missing(option, name, path)


def missing_value(app: typer.Typer, words: Sequence[str]) -> UsageError | None:
    """The error of a last option without a value; None where there is none."""
    command, path = _command(app, words)
    return next((_missing(option, name, path) for option, name, value in _given(command, words) if value is None), None)


def taken_files(app: typer.Typer, words: Sequence[str]) -> str:
    """That options have taken files for their directories, as a sentence; empty where none has."""
    command, _ = _command(app, words)
    return "".join(
        f" {name} took '{value}' for its {option.metavar}: write {name} {option.metavar} before it."
        for option, name, value in _given(command, words)
        if option.metavar == "DIR" and value and Path(value).is_file()
    )


def _missing(option: Any, name: str, path: str) -> UsageError:
    value = option.metavar or "VALUE"
    return UsageError("usage.invalid_value", f"'{name}' needs a value: {name} {value}.", f"Run: {path} --help")


def _command(app: typer.Typer, words: Sequence[str]) -> tuple[Any, str]:
    """The command that the words name, and how it is called."""
    command, path = typer.main.get_command(app), "tlcli"
    for word in words:
        if word == "--":
            break
        if word in (below := getattr(command, "commands", {})):
            command, path = below[word], f"{path} {word}"
    return command, path


def _options(command: Any) -> list[Any]:
    """Those that take a value."""
    return [one for one in command.params if one.param_type_name == "option" and not one.is_flag]


def _given(command: Any, words: Sequence[str]) -> Iterator[tuple[Any, str, str | None]]:
    """Each option that takes a value, as it was written, and the value; None where no word follows."""
    options = {name: option for option in _options(command) for name in option.opts}
    end = words.index("--") if "--" in words else len(words)
    number = 0
    while number < end:
        name, equals, value = words[number].partition("=")
        number += 1
        if name in options:
            yield options[name], name, value if equals else words[number] if number < end else None
            number += not equals
