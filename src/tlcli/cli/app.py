"""The Typer application, and main(), the only place where errors end."""

import errno
import os
import sys
import warnings
from typing import Annotated

import typer

import tlcli
from tlcli.cli import config, evaluate, fetch, predict, render, train
from tlcli.errors import ResourceError, TlcliError

app = typer.Typer(
    name="tlcli",
    help="From a folder of labelled pictures to a trained, honestly measured image classifier.\n\n"
    "Start with: tlcli fetch, tlcli train, tlcli evaluate, tlcli predict PICTURE.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        render.write_out(f"tlcli {tlcli.__version__}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("fetch")(fetch.fetch)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.add_typer(config.app, name="config")


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    if "--debug" not in sys.argv:
        warnings.simplefilter("ignore")  # libraries' warnings; what a user must know is said in words
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except TlcliError as error:
        code, message = error.exit_code, str(error)
    except (KeyboardInterrupt, typer.Abort):
        code, message = 130, "Interrupted. What was computed is kept; the same command goes on from there."
    except BrokenPipeError:  # the reader went away, as with | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except MemoryError:
        code, message = ResourceError.exit_code, "Out of memory; close other programs or use a machine with more."
    except Exception as error:  # noqa: BLE001 - the boundary
        code, message = _unexpected(error)
    if "--debug" in sys.argv:
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    render.print_error(message)
    sys.exit(code)


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def _unexpected(error: Exception) -> tuple[int, str]:
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # a wrong option, as Typer tells it
        hint = getattr(getattr(error, "ctx", None), "command_path", "tlcli")
        return int(error.exit_code), f"{error.format_message()} (see: {hint} --help)"
    if isinstance(error, OSError) and error.errno in _DISK:
        return ResourceError.exit_code, f"{error.strerror}: {error.filename}"
    return 1, (
        f"This is a bug in tlcli {tlcli.__version__}: {type(error).__name__}: {error}\n"
        "Please report it with the command you ran and what it prints with --debug."
    )
