"""Decoder libraries' own messages: what an image has is said by tlcli, once, and never by them on the terminal."""

import ctypes
import functools
import logging

from PIL import _imaging


@functools.cache
def silence_decoders() -> None:
    """Stops libtiff and Pillow from writing to stderr about each damaged image; both still report errors as errors.

    Once in a process, for all threads: libtiff's message handlers are removed in the copy of libtiff that Pillow
    loaded. Redirecting the file descriptor around each image would cost a lock, and hide what other threads write.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # without any handler, Python prints to stderr
    try:
        loaded = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            remove = loaded[name]
            remove.argtypes, remove.restype = [ctypes.c_void_p], ctypes.c_void_p
            remove(None)
    except (AttributeError, OSError):  # linked into Pillow without its names, or absent
        pass
