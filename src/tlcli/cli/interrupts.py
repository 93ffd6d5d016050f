"""Ctrl-C and SIGTERM: one line and an exit code at any moment, and what was computed is kept.

Imports nothing that takes time, since signals are handled from the first line of tlcli on: see :mod:`tlcli.__main__`.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from types import FrameType

from tlcli.errors import InterruptError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE_SECONDS = 1.0
"""A second signal within this time counts as the first, as of two quick presses; a later one ends the process."""


@dataclass
class _State:
    """What was received, and what a signal may do now."""

    working: bool = False
    """A command runs and has to clean up: the signal raises an exception."""
    begun: bool = False
    """A command has run, and may have written to stdout."""
    received: int = 0
    since: float = 0.0
    lost: bool = False
    """Python had to drop the exception (in a destructor or a callback), and it must be raised again."""


_state = _State()


def watch() -> None:
    """From now on signals end the process at once, or within :func:`working` by an exception.

    A signal that is ignored, as with nohup or in the background of a script, stays ignored.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    sys.unraisablehook = _dropped


@contextmanager
def working() -> Iterator[None]:
    """While the body runs, the first signal raises KeyboardInterrupt, so that the command can clean up."""
    _state.working, _state.begun, _state.received = True, True, 0
    try:
        yield
    finally:
        _state.working = False


def received() -> InterruptError | None:
    """The error of the signal that was received, if any; whatever exception libraries have made of it."""
    return InterruptError(_state.received) if _state.received else None


def _handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    if not _state.working:
        if not _state.received:  # else the process is ending
            _exit_at_once(number)
        return
    if _state.received and not _state.lost:
        if monotonic() - _state.since > _GRACE_SECONDS:
            _exit_at_once(_state.received)
        return
    _state.received = _state.received or number
    _state.since, _state.lost = monotonic(), False
    raise KeyboardInterrupt


def _exit_at_once(number: int) -> None:
    """Ends the process; with ``--json`` by a document where no command can have printed one."""
    error = InterruptError(number)
    with suppress(OSError):
        os.write(2, f"Error [{error.code}]: {error.message}\nHint: {error.hint}\n".encode())
        if "--json" in sys.argv and not _state.begun:
            import json  # noqa: PLC0415 - takes time

            os.write(1, f"{json.dumps({'error': error.document()}, indent=2)}\n".encode())
    os._exit(error.exit_code)


def _dropped(dropped: "sys.UnraisableHookArgs") -> None:
    if issubclass(dropped.exc_type, KeyboardInterrupt) and _state.received and hasattr(signal, "pthread_kill"):
        _state.lost = True
        main = threading.main_thread().ident or 0
        threading.Timer(0.01, signal.pthread_kill, [main, _state.received]).start()  # also ends a long system call
    else:
        sys.__unraisablehook__(dropped)
