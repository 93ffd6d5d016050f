"""Options that several commands have in common, each defined once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import completion
from tlcli.errors import UsageError
from tlcli.progress import Progress
from tlcli.system.cpu import use_threads

if TYPE_CHECKING:
    from tlcli.config.load import LoadedConfig
    from tlcli.runs.folders import RunConfig


def _home(path: Path | None) -> Path | None:
    """Expands ``~`` in a path, where no shell has done it."""
    try:
        return path and path.expanduser()
    except RuntimeError as error:
        raise UsageError(
            "usage.unknown_user", f"There is no home directory for '{path}'.", "Give the whole path."
        ) from error


def _homes(paths: list[Path] | None) -> list[Path] | None:
    return [_home(path) or path for path in paths] if paths else paths


def _threads(count: int | None) -> int | None:
    """Applied before any library that counts cores is imported."""
    use_threads(count)
    return count


ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        autocompletion=completion.configs,
        help="YAML config, or the name of a shipped config (solar_cells). Default of fetch, inspect, train and config: "
        "the one used last in this folder, else alien_predator.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        autocompletion=completion.settings,
        help="Set a value of the config; repeatable.",
    ),
]
A_RUN = "A run: its directory, NAME/TIME-xxxx, the end of that (94e2), its --name, latest, or latest~1."
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", metavar="DIR", callback=_home, help="Folder of the runs.")]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", metavar="RUN", callback=_home, autocompletion=completion.runs, help=f"{A_RUN} Default: the latest."
    ),
]
RunsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--run", metavar="RUN", callback=_homes, autocompletion=completion.runs,
        help=f"{A_RUN} Repeatable. Default: the latest.",
    ),
]  # fmt: skip
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors (and --json) only.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, metavar="N", callback=_threads, is_eager=True, help="CPU cores to use. Default: all."
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Compute the features on a Ray cluster: auto or HOST:PORT; local takes this machine. Needs the extra ray.",
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read every image again, also those whose size and time are unchanged; list remote ones again.",
    ),
]
CacheImagesOption = Annotated[
    bool,
    typer.Option("--cache-images", help="Keep the bytes of remote images in the cache, for later reads."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

RUNS_DIR = Path("runs")


def again(option: str, value: object, default: object = None) -> list[str]:
    """An option for the next command, where its value is not the default."""
    return [] if value in (None, default) else [option, str(value)]


def load_chosen(
    config: str | None, overrides: list[str] | None, progress: Progress, runs_dir: Path = RUNS_DIR
) -> "LoadedConfig":  # fmt: skip
    """Loads the config that is given, or :func:`chosen_config`, and notes where there are runs that it was used last.

    Raises:
        UsageError: there is no such config, or it is invalid.
    """
    from tlcli.config.load import load_config  # noqa: PLC0415 - keeps --help fast

    loaded = load_config(chosen_config(config, progress, runs_dir), overrides or ())
    for one in loaded.without_effect:
        progress.note(f"Warning: {one}")
    if runs_dir.is_dir():  # else a command that fails would leave a directory
        remember(loaded, runs_dir)
    return loaded


def remember(loaded: "LoadedConfig", runs_dir: Path = RUNS_DIR) -> None:
    """Notes that a config was used last, for commands to which none is given."""
    from tlcli.runs.last_config import remember_config  # noqa: PLC0415 - keeps --help fast

    remember_config(runs_dir, loaded.argument, loaded.path if loaded.file else None)


def chosen_config(config: str | None, progress: Progress, runs_dir: Path = RUNS_DIR) -> Path:
    """The config that is given; else the one used last in this folder, else the tutorial's, which is said.

    Raises:
        UsageError: there is no such config (any more).
    """
    from tlcli.config.load import DEFAULT_CONFIG, find_config  # noqa: PLC0415 - keeps --help fast
    from tlcli.runs.last_config import last_config  # noqa: PLC0415

    if config is not None:
        return find_config(config)
    last = last_config(runs_dir)
    if last is None:
        progress.note(f"Config: {DEFAULT_CONFIG}, the tutorial's, as none was used here yet; choose one with --config.")
        return find_config(None)
    try:
        path = find_config(last)
    except UsageError as error:
        raise UsageError(
            "config.last_used_missing", f"The config that was used last here, {last}, does not exist any more.",
            "Name one with --config.",
        ) from error  # fmt: skip
    progress.note(f"Config: {last}, the last one used here; choose another with --config.")
    return path


def config_of_runs(given: str | None) -> "RunConfig | None":
    """The config whose runs are asked for; None where none is given.

    Raises:
        UsageError: there is no such config.
    """
    if given is None:
        return None
    from tlcli.config.load import find_config, own_file, text_digest  # noqa: PLC0415 - keeps --help fast
    from tlcli.runs.folders import RunConfig  # noqa: PLC0415

    try:
        path = find_config(given)
    except UsageError as error:
        if error.code != "config.not_found":
            raise
        hint = f"{error.hint} A run whose config is gone is named with --run; tlcli runs lists them."
        raise UsageError("config.not_found", error.message, hint) from error
    return RunConfig(given, path.stem, own_file(path), text_digest(path))


def refuse_settings_alone(config: str | None, overrides: list[str] | None) -> None:
    """Refuses ``--set`` without ``--config`` for a command that takes a run.

    Raises:
        UsageError: there is one without the other.
    """
    if overrides and config is None:
        raise UsageError(
            "usage.set_without_config", "--set belongs to a config, and none is given.",
            "Add --config, to measure a run that has these settings.",
        )  # fmt: skip


def refuse_options(context: typer.Context, example: str) -> None:
    """Refuses options between a group and its command, which would be ignored in silence.

    Raises:
        UsageError: there is one.
    """
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                "usage.option_before_command", f"Options of {context.invoked_subcommand} follow it.", f"Run: {example}"
            )
