"""Odd things in an image's place: no regular files, links, files that change while they are read."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tests.torture.image_bytes import SIDE, encode, plain
from tests.torture.mutations import ALL

from tlcli.images.decode import BadImageError, prepare, read


@dataclass(frozen=True)
class Odd:
    """A thing at a path."""

    name: str
    put: Callable[[Path], object]
    reason: str | None
    """A regular expression; None where it is a good image."""


def _good(path: Path) -> Path:
    path.write_bytes(encode(plain()))
    return path


def _link_to_good(path: Path) -> None:
    path.symlink_to(_good(path.with_suffix(".target")).name)


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe").name)


def _unreadable(path: Path) -> None:
    _good(path).chmod(0)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 40)


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the name of a socket takes 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


ODD = (
    Odd("a folder", Path.mkdir, "^the folder holds no image"),
    Odd("a named pipe (FIFO)", os.mkfifo, "^not a regular file"),
    Odd("a link to a named pipe", _link_to_pipe, "^not a regular file"),
    Odd("a socket", _socket, "^not a regular file"),
    Odd("a link to /dev/zero", lambda path: path.symlink_to("/dev/zero"), "^not a regular file"),
    Odd("a link to /dev/null", lambda path: path.symlink_to("/dev/null"), "^not a regular file"),
    Odd("a link to nothing", lambda path: path.symlink_to("nothing"), "^cannot be read"),
    Odd("a link to itself", lambda path: path.symlink_to(path.name), "^cannot be read"),
    Odd("a link to an image", _link_to_good, None),
    Odd("nothing", lambda _path: None, "^cannot be read"),
    Odd("a file of 10 TiB, all of it a hole", _sparse, "MiB, more than 64 MiB"),
    *([] if os.geteuid() == 0 else [Odd("a file that must not be read", _unreadable, "^cannot be read: Permission")]),
)  # fmt: skip


def decoded(path: Path) -> str | None:
    """Why the image at a path is refused, or None."""
    try:
        assert prepare(read(path, ALL), ALL).shape == (SIDE, SIDE, 3)
    except BadImageError as error:
        return str(error)
    return None


def while_it_changes(folder: Path, rounds: int) -> int:
    """Reads an image while a thread cuts it, lengthens it, replaces it by a pipe, and removes it.

    Returns:
        how often it was read: pixels or a reason each time.

    Raises:
        AssertionError: another error.
    """
    path, ended = folder / "changing.jpg", threading.Event()
    data = encode(Image.effect_noise((200, 200), 50), "JPEG")

    def change() -> None:
        while not ended.is_set():
            path.write_bytes(data)
            with path.open("ab") as file:
                file.write(b"more" * 100_000)
            os.truncate(path, len(data) // 2)
            path.unlink()
            os.mkfifo(path)
            path.unlink()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        return sum(decoded(path) != "" for _ in range(rounds))
    finally:
        ended.set()
        with suppress(OSError):  # what waits in the pipe for a reader goes on
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        thread.join()
