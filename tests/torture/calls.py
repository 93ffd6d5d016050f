"""Makes a process fail, or die, at its n-th call that changes files: SQLite's way of testing all of them.

Counted are opening for writing, every write, fsync, rename, mkdir, rmdir, unlink and symlink below one folder, as
Python code makes them; calls that libraries make outside Python (SQLite's own file) are not seen.
"""

import builtins
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHANGES = {
    "os.rename": "rename", "os.remove": "unlink", "os.mkdir": "mkdir", "os.rmdir": "rmdir", "os.symlink": "symlink",
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Calls:
    """Counts the calls of this process from :meth:`watch` on; that cannot be stopped, so use a short-lived process."""

    def __init__(self, folder: Path, at: int, act: Callable[[str, str], None], excluded: tuple[Path, ...] = ()) -> None:
        """Calls ``act(kind, path)`` at call number ``at`` (0: never) below ``folder``, except on the excluded files."""
        self._folder, self._excluded = f"{folder}{os.sep}", frozenset(map(str, excluded))
        self._at, self._act = at, act
        self.count = 0

    def watch(self) -> None:
        """Starts counting."""
        sys.addaudithook(self._on_event)
        real_fsync, real_open = os.fsync, io.open

        def fsync(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            self._count("fsync", str(Path(f"/proc/self/fd/{number}").readlink()))
            real_fsync(descriptor)

        def opening(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            if isinstance(file, int) or not self._is_watched(os.fspath(file)) or not set(mode) & set("wax+"):
                return real_open(file, mode, buffering, *rest, **named)
            raw = _Raw(file, mode.replace("b", "").replace("t", ""))
            raw.before_write = lambda: self._count("write", os.fspath(file))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            names = dict(zip(("encoding", "errors", "newline"), rest, strict=False)) | named
            return io.TextIOWrapper(buffered, **names)

        os.fsync = fsync  # type: ignore[assignment]
        io.open = builtins.open = opening

    def _is_watched(self, path: str | bytes) -> bool:
        return os.fsdecode(path).startswith(self._folder) and os.fsdecode(path) not in self._excluded

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and flags & _WRITING:
                self._count("open", os.fsdecode(path))
        elif event in _CHANGES and isinstance(arguments[0], (str, bytes, os.PathLike)):
            position = 1 if event in ("os.rename", "os.symlink") else 0
            self._count(_CHANGES[event], os.fsdecode(arguments[position]))

    def _count(self, kind: str, path: str) -> None:
        if self._is_watched(path):
            self.count += 1
            if self.count == self._at:
                self._act(kind, path)


class _Raw(io.FileIO):
    """A file that reports each write before it is made."""

    before_write: Callable[[], None]

    def write(self, data: Any) -> int:
        self.before_write()
        return super().write(data)


def die(_kind: str, _path: str) -> None:
    """kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def failing(number: int) -> Callable[[str, str], None]:
    """Returns what raises this error of the system; one of write or fsync names no file, as the system's does not."""

    def act(kind: str, path: str) -> None:
        raise OSError(number, os.strerror(number), *([] if kind in ("write", "fsync") else [path]))

    return act
