"""The Typer application, and main(), the only place where errors end."""

import errno
import gc
import io
import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import tlcli
from tlcli.cli import cache, config, doctor, evaluate, fetch, inspect, interrupts, predict, runs, train
from tlcli.cli import console as render
from tlcli.errors import ResourceError, TlcliError
from tlcli.system.cache.fallback import remove_fallback
from tlcli.system.cpu import use_threads
from tlcli.system.files import FAILED, FULL

app = typer.Typer(
    name="tlcli",
    help="From a folder of labelled images to a trained, honestly measured image classifier.\n\n"
    "Start with: tlcli fetch, tlcli train, tlcli evaluate, tlcli predict IMAGE.",
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
app.command("inspect")(inspect.inspect)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.add_typer(runs.app, name="runs")
app.add_typer(cache.app, name="cache")
app.add_typer(config.app, name="config")
app.command("doctor")(doctor.doctor)


def run() -> NoReturn:
    """:func:`main`, and then the process is gone at once: taking large libraries apart would cost 0.1 s a command."""
    gc.set_threshold(100_000)  # else a tenth of a short command is looking through what its imports have made
    code: object = 1
    try:
        main()
    except SystemExit as ending:
        code = ending.code
    except BaseException:  # noqa: BLE001 - main() ends them all; if it breaks itself, the process must not end silently
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        remove_fallback()
        os._exit(code if isinstance(code, int) else int(code is not None))


def main() -> None:
    """Runs the command line; SystemExit carries its exit code."""
    _open_closed_streams()
    use_threads()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name that the terminal's encoding lacks is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    debug = "--debug" in sys.argv
    if not debug:
        warnings.simplefilter("ignore")  # libraries' warnings; what a user must know is said in words
    try:
        with interrupts.working():
            code = app(standalone_mode=False, prog_name="tlcli") or 0
            sys.stdout.flush()  # where a reader that went away still ends below
        code, message = interrupts.received() or (code, _INTERRUPTED if code == 130 else "")  # Typer's, of Ctrl-C
    except BaseException as error:  # noqa: BLE001 - the boundary
        code, message = _ending(error)
        if debug:
            traceback.print_exception(error)
        _drop_what_cannot_be_written()
    if message:
        with suppress(OSError):  # stderr may be what cannot be written
            render.print_error(message)
    sys.exit(code)


def _open_closed_streams() -> None:
    """A shell's ``>&-`` leaves no stream to write to, and the next file that is opened in its place."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
            stream = open(os.devnull, "w" if descriptor else "r", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open
            setattr(sys, name, stream)


_INTERRUPTED = interrupts.MESSAGES[signal.SIGINT]
_DISK = FULL | FAILED | {errno.EACCES, errno.EPERM, errno.ENOMEM, errno.ENOTDIR}


def _ending(error: BaseException) -> tuple[int, str]:
    """The exit code, and what there is to say."""
    if interrupted := interrupts.received():
        return interrupted
    if isinstance(error, TlcliError):
        return error.exit_code, str(error)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return 130, _INTERRUPTED
    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        return 141, ""  # the reader went away, as with | head; Typer and Rich have made an exit of it
    if isinstance(error, SystemExit):
        raise error
    return _unexpected(error)


def _drop_what_cannot_be_written() -> None:
    """Python would try once more at its very end, and make 120 of the exit code."""
    if sys.__stdout__ is not None:
        try:
            sys.__stdout__.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def _unexpected(error: BaseException) -> tuple[int, str]:
    if isinstance(error, MemoryError):
        return ResourceError.exit_code, "Out of memory; close other programs or use a machine with more."
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # a wrong option, as Typer tells it
        hint = getattr(getattr(error, "ctx", None), "command_path", "tlcli")
        told = error.format_message()  # empty where there was no argument at all: the help is shown already
        return int(error.exit_code), told and f"{told} (see: {hint} --help)"
    if isinstance(error, OSError) and error.errno in _DISK:
        return ResourceError.exit_code, ": ".join(str(part) for part in (error.strerror, error.filename) if part)
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        return (
            ResourceError.exit_code,
            "The current folder was removed; go to one that is there (cd), and run it again.",
        )
    return 1, (
        f"This is a bug in tlcli {tlcli.__version__}: {type(error).__name__}: {error}\n"
        "Please report it with the command you ran and what it prints with --debug."
    )


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
