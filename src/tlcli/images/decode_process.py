"""A process that decodes items for an engine; :mod:`tlcli.images.decode_pool` starts several.

It reads pickled values on stdin, each behind its length (little-endian, 32 bits): first the decoder, then items. It
answers on stdout with a pickled head behind its length: the shape of the views, whose pixels follow, or the error.
"""

import os
import pickle
import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tlcli.images.items import Decoder, Item

_LENGTH = struct.Struct("<I")


def send(stream: BinaryIO, value: object) -> None:
    """Writes a value."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)) + data)


def receive(stream: BinaryIO) -> Any:
    """Reads a value that :func:`send` has written: the parent's and this process's own, nobody else's.

    Raises:
        EOFError: the other end was closed.
    """
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(_LENGTH.unpack(length)[0]))  # noqa: S301 - see above


def answer(stream: BinaryIO, decoder: "Decoder", item: "Item") -> None:
    """Decodes an item, and writes its views or its error, with the cause of it."""
    import numpy as np  # noqa: PLC0415 - the parent imports this module, too

    try:
        views = decoder.views(item)
    except Exception as error:  # noqa: BLE001 - belongs to whoever asked for this item
        send(stream, (error, error.__cause__))
        return
    send(stream, [one.shape for one in views])
    stream.writelines(np.ascontiguousarray(one).data.cast("B") for one in views)


def main() -> None:
    """The process: answers until its stdin ends."""
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", 1 << 18)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # a library that prints must not break an answer
        os.dup2(null, stream)
    try:
        decoder = receive(source)
        while True:
            answer(target, decoder, receive(source))
            target.flush()
    except (EOFError, BrokenPipeError):
        sys.exit(0)


if __name__ == "__main__":
    main()
