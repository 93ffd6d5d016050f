"""Options that several commands share, each written once."""

from pathlib import Path
from typing import Annotated

import typer

from tlcli.errors import UsageError
from tlcli.system.cpu import use_threads


def _home(path: Path | None) -> Path | None:
    """``~`` in a path that no shell has expanded."""
    try:
        return path and path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"There is no home folder for '{path}'; write the whole path.") from error


def _threads(count: int | None) -> int | None:
    """Before any library that counts cores is imported."""
    use_threads(count)
    return count


ConfigOption = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", help="YAML config, or the name of a shipped one (solar_cells)."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set one value of the config; repeatable."),
]
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", metavar="DIR", callback=_home, help="Where runs lie.")]
RunOption = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", callback=_home, help="A run's folder instead of the latest.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document; all else goes to stderr.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors (and --json).")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, metavar="N", callback=_threads, is_eager=True, help="Cores to use; without it, all."
    ),
]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Read every image again, also those that look as they did before.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")]

RUNS_DIR = Path("runs")


def again(option: str, value: object, default: object = None) -> list[str]:
    """An option for the next command, where this one was given something else than the default."""
    return [] if value in (None, default) else [option, str(value)]


def refuse_options(context: typer.Context, example: str) -> None:
    """Options before a command of a group would be passed over in silence.

    Raises:
        UsageError: there are some.
    """
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"Options of {context.invoked_subcommand} stand behind it: {example}")
