"""tlcli config show, check and schema."""

import json
from typing import Annotated

import typer

from tlcli.cli import console as render
from tlcli.cli.options import ConfigOption, DebugOption, SetOption

app = typer.Typer(help="Look at configs before anything runs.", no_args_is_help=True)


@app.command()
def show(
    config: ConfigOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Print a config with every default written out, paths expanded and --set applied."""
    from tlcli.config.load import dump_config, find_config, load_config  # noqa: PLC0415 - keeps --help fast

    loaded = load_config(find_config(config), set_ or ())
    render.write_out(dump_config(loaded.config.with_backbone_defaults()))


@app.command()
def check(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Configs to check. Without one, the default.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Check configs; all mistakes are shown, each with its file and line."""
    from tlcli.config.load import find_config, load_config  # noqa: PLC0415 - keeps --help fast
    from tlcli.errors import UsageError  # noqa: PLC0415

    screen, problems = render.Screen(), []
    for file in [*(files or ()), *([config] if config is not None or not files else ())]:
        try:
            path = find_config(file)
            backbone = load_config(path, set_ or ()).config.backbone.name
            screen.line(f"{file or path}: good (backbone {backbone})")
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))


@app.command()
def schema(
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Print the JSON Schema of configs, for editors."""
    from tlcli.config.schema import Config  # noqa: PLC0415 - keeps --help fast

    render.write_out(json.dumps(Config.model_json_schema(), indent=2) + "\n")
