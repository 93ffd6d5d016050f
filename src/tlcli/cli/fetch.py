"""tlcli fetch."""

from pathlib import Path
from typing import Annotated

import typer

from tlcli.cli.options import ConfigOption, DebugOption, JsonOption, QuietOption, SetOption, again
from tlcli.cli.render import Screen, counts_table


def fetch(
    config: ConfigOption = None,
    set_: SetOption = None,
    origin: Annotated[
        str | None,
        typer.Option("--from", metavar="PLACE", help="An archive, folder or address instead of the config's sources."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Bring the pictures of a config to their folder, and count them.

    Sources are tried in the config's order; what is there already stays as it is.
    """
    from tlcli.config.load import find_config, load_config  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.fetch import fetch as run  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    loaded = load_config(find_config(config), set_ or ())
    fetched = run(loaded, origin, screen.progress)
    for failure in fetched.failures:
        screen.line(f"A source did not work: {failure}")
    for note in fetched.index.notes:
        screen.line(note)
    for name, reason in fetched.index.bad.items():
        screen.line(f"Unreadable: {name}: {reason}")
    screen.table(counts_table(fetched.index.counts()))
    how = f"from {fetched.source}" if fetched.source else "already there, nothing was done"
    screen.line(f"Pictures: {fetched.index.root} ({how})")
    in_place = [f"dataset.path={origin}"] if origin and Path(origin).expanduser().is_dir() else []
    overrides = [word for override in [*(set_ or ()), *in_place] for word in ("--set", override)]
    screen.next_command("tlcli", "train", *again("--config", config), *overrides)
    screen.document(
        {
            "root": str(fetched.index.root),
            "source": fetched.source,
            "failures": list(fetched.failures),
            "pictures": fetched.index.counts(),
            "unreadable": dict(fetched.index.bad),
        }
    )
