"""Paths that are not ordinary image files: special files, links, and files that change while they are read."""

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
from tlcli.images.preparation import Preparation


@dataclass(frozen=True)
class Odd:
    """One way to fill a path."""

    name: str
    put: Callable[[Path], object]
    code: str | None
    """What it is refused with; None if it is a valid image."""


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


_SPECIAL, _UNREADABLE = "image.not_a_file", "image.unreadable"
ODD = (
    Odd("a folder", Path.mkdir, _SPECIAL),
    Odd("a named pipe (FIFO)", os.mkfifo, _SPECIAL),
    Odd("a link to a named pipe", _link_to_pipe, _SPECIAL),
    Odd("a socket", _socket, _SPECIAL),
    Odd("a link to /dev/zero", lambda path: path.symlink_to("/dev/zero"), _SPECIAL),
    Odd("a link to /dev/null", lambda path: path.symlink_to("/dev/null"), _SPECIAL),
    Odd("a link to nothing", lambda path: path.symlink_to("nothing"), _UNREADABLE),
    Odd("a link to itself", lambda path: path.symlink_to(path.name), _UNREADABLE),
    Odd("a link to an image", _link_to_good, None),
    Odd("nothing", lambda _path: None, _UNREADABLE),
    Odd("a sparse file of 10 TiB", _sparse, "image.file_too_large"),
    *([] if os.geteuid() == 0 else [Odd("a file without read permission", _unreadable, _UNREADABLE)]),
)  # fmt: skip


def refusal(path: Path, preparation: Preparation = ALL) -> BadImageError | None:
    """The error that the image at a path is refused with, or None."""
    try:
        assert prepare(read(path, preparation), preparation).shape == (SIDE, SIDE, 3)
    except BadImageError as error:
        return error
    return None


def while_it_changes(folder: Path, rounds: int) -> int:
    """Reads an image while a thread cuts it, lengthens it, replaces it by a pipe, and removes it.

    Returns:
        how often it was read: pixels or a code each time.

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
        for _ in range(rounds):
            refusal(path)
        return rounds
    finally:
        ended.set()
        with suppress(OSError):  # releases a writer that waits in the pipe
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        thread.join()
