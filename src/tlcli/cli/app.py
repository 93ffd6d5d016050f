"""The Typer application, and main(), the only error boundary."""

import errno
import gc
import io
import os
import pkgutil
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import tlcli
from tlcli.cli import console, interrupts
from tlcli.cli.usage import check_values, missing_value, taken_files
from tlcli.errors import InterruptError, ResourceError, TlcliError, UsageError
from tlcli.system.cache.fallback import remove_fallback
from tlcli.system.cpu import use_threads
from tlcli.system.files import FAILED, FULL

app = typer.Typer(
    name="tlcli",
    help="Train an image classifier on a folder of labelled images, and measure it honestly.\n\n"
    "Start with: tlcli fetch, tlcli train, tlcli evaluate, tlcli predict IMAGE.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.write_out(f"tlcli {tlcli.__version__}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


COMMANDS = (
    "fetch", "inspect", "features", "train", "evaluate", "predict", "export", "serve", "tune", "runs", "backbones",
    "cache", "config", "doctor",
)  # fmt: skip
"""Each is a module of tlcli.cli that has a function of its name, or a Typer application ``app`` with subcommands."""
for _name in COMMANDS:
    _module = pkgutil.resolve_name(f"tlcli.cli.{_name}")
    if hasattr(_module, "app"):
        app.add_typer(_module.app, name=_name)
    else:
        app.command(_name)(getattr(_module, _name))


def run() -> NoReturn:
    """:func:`main`, then an immediate exit: the cleanup of large libraries would cost 0.1 s per command."""
    gc.set_threshold(100_000)  # else a tenth of a short command is garbage collection of what its imports create
    code: object = 1
    try:
        main()
    except SystemExit as ending:
        code = ending.code
    except BaseException:  # noqa: BLE001 - a fault of main() itself must not end the process in silence
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        remove_fallback()
        os._exit(code if isinstance(code, int) else int(code is not None))


def main() -> None:
    """Runs the command line, and raises SystemExit with its exit code.

    A failure prints ``Error [code]: message`` and ``Hint: ...`` on stderr, and with ``--json`` one document on stdout,
    ``{"error": {"code", "message", "hint", "exit_code"}}``, unless the command has already printed its own.
    """
    _open_closed_streams()
    use_threads()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name that the terminal's encoding lacks is no failure
        sys.stdout.reconfigure(errors="backslashreplace")
    options = sys.argv[: sys.argv.index("--")] if "--" in sys.argv else sys.argv
    console.Screen.has_printed_document = False
    if "--debug" not in options:
        warnings.simplefilter("ignore")  # those of libraries; what a user must know is a note
    error: TlcliError | None
    try:
        with interrupts.working():
            check_values(app, sys.argv[1:])
            code = app(standalone_mode=False, prog_name="tlcli") or 0
            sys.stdout.flush()  # here a reader that is gone still raises
        error = interrupts.received() or (InterruptError(signal.SIGINT) if code == 130 else None)  # Typer's, of Ctrl-C
    except BaseException as raised:  # noqa: BLE001 - the boundary
        if "--debug" in options:
            traceback.print_exception(raised)
        code, error = _ending(raised)
    if error is not None:
        code = error.exit_code
        _print_failure(error, as_json="--json" in options)
    _drop_unwritable_output()
    sys.exit(code)


def _print_failure(error: TlcliError, as_json: bool) -> None:
    with suppress(OSError):  # stderr may be what is not writable
        console.print_error(error.message, error.hint, error.code)
    with suppress(OSError):
        console.Screen(as_json).document({"error": error.document()})


def _open_closed_streams() -> None:
    """Opens the streams that a shell's ``>&-`` has closed; else the next file that is opened would take their place."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
            stream = open(os.devnull, "w" if descriptor else "r", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open
            setattr(sys, name, stream)


def _drop_unwritable_output() -> None:
    """Python would flush once more at its very end, and change the exit code to 120."""
    if sys.__stdout__ is not None:
        try:
            sys.__stdout__.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def _ending(error: BaseException) -> tuple[int, TlcliError | None]:
    """The exit code, and the error to print, if any."""
    if interrupted := interrupts.received():
        return interrupted.exit_code, interrupted
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return 130, InterruptError(signal.SIGINT)
    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        return 141, None  # the reader is gone, as with | head; Typer and Rich have turned it into an exit
    if isinstance(error, SystemExit):
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed already
        return UsageError.exit_code, None
    if not isinstance(error, TlcliError):
        error = _wrong_usage(error) or _out_of_resources(error) or _bug(error)
    return error.exit_code, error


def _wrong_usage(error: BaseException) -> UsageError | None:
    """What is wrong in the command line, as Typer found it; its exceptions have no public module, only names."""
    if not hasattr(error, "format_message"):
        return None
    command = getattr(getattr(error, "ctx", None), "command_path", "tlcli")
    problem = error.format_message().rstrip(".")
    message, hint = f"{problem}.", f"Run: {command} --help"
    match type(error).__name__:
        case "NoSuchOption":
            return UsageError("usage.unknown_option", message, hint)
        case "MissingParameter":
            taken = taken_files(app, sys.argv[1:])
            return UsageError("usage.missing_argument", f"{message}{taken}", hint)
        case "BadOptionUsage" if (missing := missing_value(app, sys.argv[1:])) is not None:
            return missing
        case "BadParameter" | "BadOptionUsage":
            return UsageError("usage.invalid_value", message, hint)
        case _:
            return UsageError("usage.invalid_command", message, hint)


def _out_of_resources(error: BaseException) -> ResourceError | None:
    """Memory and disk, and a working directory that is gone."""
    if isinstance(error, MemoryError):
        return ResourceError(
            "resource.out_of_memory", "Out of memory.", "Close other programs, or use a machine with more memory."
        )
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        return ResourceError(
            "resource.no_working_directory", "The working directory was removed.", "Change to another directory."
        )
    if not isinstance(error, OSError):
        return None
    reason = ": ".join(str(part) for part in (error.strerror, error.filename) if part)
    if error.errno in FULL:
        return ResourceError("resource.disk_full", f"{reason}.", "Free some space on the disk.")
    if error.errno in FAILED | {errno.EACCES, errno.EPERM, errno.ENOMEM, errno.ENOTDIR}:
        return ResourceError("resource.system_error", f"{reason}.")
    return None


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _bug(error: BaseException) -> TlcliError:
    return TlcliError(
        "internal.bug",
        f"This is a bug in tlcli {tlcli.__version__}: {type(error).__name__}: {error}.",
        "Please report it with your command and its output with --debug.",
    )
