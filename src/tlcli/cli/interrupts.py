"""Ctrl-C and SIGTERM: at any moment one line and an exit code, and what was computed is kept.

Imports nothing that takes time, since Ctrl-C is watched from the first line of tlcli on: see :mod:`tlcli.__main__`.
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

_KEPT = "What was computed is kept; the same command goes on from there."
MESSAGES = {signal.SIGINT: f"Interrupted. {_KEPT}", signal.SIGTERM: f"Terminated (SIGTERM). {_KEPT}"}
_PATIENCE = 1.0
"""Seconds in which a second signal is taken for the first, as of two quick presses; later it ends all at once."""


@dataclass
class _State:
    """What has come in, and what a signal may do now."""

    working: bool = False
    """A command runs, which has things to put away: the signal is an exception there."""
    received: int = 0
    since: float = 0.0
    lost: bool = False
    """Python had to drop the exception (in a destructor or a callback), and it must be raised again."""


_state = _State()


def watch() -> None:
    """From now on the signals end the process at once, or within :func:`working` by an exception.

    A signal that is ignored, as with nohup or in the background of a script, stays so.
    """
    for number in MESSAGES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    sys.unraisablehook = _dropped


@contextmanager
def working() -> Iterator[None]:
    """While the body runs, the first signal is a KeyboardInterrupt, so that it can put away what it has."""
    _state.working, _state.received = True, 0
    try:
        yield
    finally:
        _state.working = False


def received() -> tuple[int, str] | None:
    """Exit code and message, if a signal has come in; whatever exception libraries have made of it."""
    return (128 + _state.received, MESSAGES[signal.Signals(_state.received)]) if _state.received else None


def _handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal wants it
    if not _state.working:
        if not _state.received:  # else it is just ending
            _at_once(number)
        return
    if _state.received and not _state.lost:
        if monotonic() - _state.since > _PATIENCE:
            _at_once(_state.received)
        return
    _state.received = _state.received or number
    _state.since, _state.lost = monotonic(), False
    raise KeyboardInterrupt


def _at_once(number: int) -> None:
    with suppress(OSError):
        os.write(2, f"Error: {MESSAGES[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def _dropped(what: "sys.UnraisableHookArgs") -> None:
    if issubclass(what.exc_type, KeyboardInterrupt) and _state.received and hasattr(signal, "pthread_kill"):
        _state.lost = True
        main = threading.main_thread().ident or 0
        threading.Timer(0.01, signal.pthread_kill, [main, _state.received]).start()  # wakes it from a long call, too
    else:
        sys.__unraisablehook__(what)
