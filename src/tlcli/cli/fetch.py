"""tlcli fetch."""

from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import Screen, counts_table

if TYPE_CHECKING:
    from tlcli.workflows.fetch import Fetched


def fetch(
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SOURCE", help="Use this archive, folder or address instead of the config's sources."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Fetch again; what was fetched before stays until the new data set is complete."),
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not use the network.")] = False,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Download the data set of a config, unpack it and count its images.

    Sources are tried in the config's order. A download that breaks off is continued, also by the next fetch. A data set
    that is installed already is used as it is.
    """
    from tlcli.config.load import config_options  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.fetch import fetch as run  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    loaded = options.load_chosen(config, set_, screen.progress)
    fetched = run(loaded, origin, force, offline, screen.progress)
    options.remember(loaded)
    _show(screen, fetched)
    in_place = [f"dataset.path={fetched.root}"] if origin and fetched.root != loaded.config.dataset.path else []
    given = config_options(config, [*(set_ or ()), *in_place])
    if fetched.bad_share is None:
        screen.next_command("tlcli", "train", *given)
    else:
        keys = "dataset.max_bad_fraction and dataset.on_bad_image"
        screen.line(f"{fetched.bad_share:.1%} of the images are unreadable, more than train accepts ({keys}).")
        screen.next_command("tlcli", "inspect", *given, "--write-exclude", "exclude.txt")
    failures = [{"code": error.code, "message": error.message, "hint": error.hint} for error in fetched.failures]
    document = {"root": str(fetched.root), "reused": fetched.reused, "failures": failures}
    screen.document(document | fetched.manifest.model_dump(mode="json"))


def _show(screen: Screen, fetched: "Fetched") -> None:
    manifest = fetched.manifest
    for failure in fetched.failures:
        screen.line(f"A source failed: {failure}")
    for note in manifest.notes:
        screen.line(note)
    screen.some([f"Unreadable: {name}: {reason}" for name, reason in manifest.unreadable.items()])
    screen.table(counts_table(manifest.images))
    version = f", version {manifest.version}" if manifest.version else ""
    origin = f"from {manifest.source}{version}" if manifest.archives or manifest.version else "used in place"
    when = f", already fetched on {manifest.fetched[:10]}" if fetched.reused and manifest.archives else ""
    screen.line(f"Images: {fetched.root} ({origin}{when})")
    if not fetched.reused or not manifest.archives:
        for title, text in (("Licence", manifest.licence), ("Please cite", manifest.citation)):
            if text:
                screen.line(f"{title}: {text}")
