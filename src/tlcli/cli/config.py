"""tlcli config show, check and schema."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tlcli.cli import completion, console, options

app = typer.Typer(help="Inspect configs before anything runs.", no_args_is_help=True)


@app.command()
def show(
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Print a config with all defaults, paths expanded and --set applied."""
    from tlcli.config.load import dump_config, load_config  # noqa: PLC0415 - keeps --help fast

    screen = console.Screen(as_json)
    complete = load_config(options.chosen_config(config, screen.progress), set_ or ()).config.with_backbone_defaults()
    if as_json:
        screen.document(complete.model_dump(mode="json"))
    else:
        console.write_out(dump_config(complete))


@app.command()
def check(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]...",
            autocompletion=completion.configs,
            help="Configs to check. Default: as of --config.",
        ),
    ] = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Validate configs, and report all problems, each with its file and line.

    Settings that have no effect together with others are warnings, with what to set instead.
    """
    from tlcli.config.load import load_config  # noqa: PLC0415 - keeps --help fast
    from tlcli.config.problems import ConfigError, Place, Problem  # noqa: PLC0415
    from tlcli.errors import UsageError  # noqa: PLC0415

    screen, valid, problems = console.Screen(as_json), list[dict[str, object]](), list[Problem]()
    for file in [*(files or ()), *([config] if config is not None or not files else ())]:
        path = Path(file or "")
        try:
            path = options.chosen_config(file, screen.progress)
            loaded = load_config(path, set_ or ())
            backbone, warnings = loaded.config.backbone.label, [one.document() for one in loaded.without_effect]
            screen.line(f"{file or path}: valid (backbone {backbone})")
            for one in loaded.without_effect:
                screen.line(f"Warning: {one}")
            valid.append({"config": file or str(path), "backbone": backbone, "warnings": warnings})
        except ConfigError as error:
            problems += error.problems
        except UsageError as error:
            problems.append(Problem(error.code, Place(file or str(path)), "", str(error)))
    if problems:
        raise ConfigError(problems)
    screen.document({"valid": valid})


@app.command()
def schema(
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Print the JSON Schema of configs, for editors."""
    from tlcli.config.schema import Config  # noqa: PLC0415 - keeps --help fast

    console.write_out(json.dumps(Config.model_json_schema(), indent=2) + "\n")
