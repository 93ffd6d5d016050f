"""tlcli serve."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import Screen

if TYPE_CHECKING:
    from tlcli.workflows.serve import Serving


def serve(
    run: options.RunsOption = None,
    config: options.ConfigOption = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address to listen on; any but a loopback address needs --token-file."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="File with the token that clients must send (Bearer)."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another name under which clients reach it; repeatable."),
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, metavar="PROBABILITY", help='Answer "unsure" where the probability is lower.')
    ] = 0.0,
    corrections: Annotated[
        Path | None,
        typer.Option("--corrections", metavar="DIR", help="Store images that users correct, in class folders."),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, metavar="N", help="Images that may wait; more are refused (503).")] = 64,
    deadline: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Until an answer, else it is refused.")
    ] = 10,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Serve models over HTTP: a page for people, POST /predict, Open Inference Protocol V2, TensorFlow Serving.

    curl -T image.jpg http://127.0.0.1:8000/predict answers as predict --json does. /docs lists everything, /metrics is
    for Prometheus. Runs with the same backbone and image size share it: an image passes it once.

    Ctrl-C and SIGTERM stop it when the requests at work have their answers; SIGHUP loads the newest run.
    """
    from tlcli.serving.limits import Limits  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.serve import Address  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.serve import serve as answer  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    address = Address(host, port, token_file, tuple(allow_host or ()))
    answer(
        runs_dir, options.config_of_runs(config), run or (), address, min_confidence, corrections,
        Limits(queue=queue, deadline=deadline), screen.progress,
        lambda serving: _show(screen, serving),
    )  # fmt: skip
    screen.line("Stopped.")


def _show(screen: Screen, serving: "Serving") -> None:
    screen.bold(f"Serving on {serving.url}")
    for name, version in serving.models:
        screen.line(f"Model: {name} {version}")
    if serving.has_token:
        screen.line("Clients must send the header Authorization: Bearer TOKEN.")
    if serving.corrections is not None:
        screen.line(f"Corrections: {serving.corrections}")
    screen.line(f"Try: curl -T IMAGE {serving.url}/predict")
    screen.document({
        "url": serving.url,
        "models": [{"name": name, "version": version} for name, version in serving.models],
    })  # fmt: skip
