"""Imports TensorFlow as Keras's backend, once, without the lines it writes about itself."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def start_tensorflow() -> None:
    """Makes Keras run on TensorFlow in this process; 2 to 5 s the first time."""
    if "tensorflow" in sys.modules:
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet_libraries():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401, ICN001


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """TensorFlow 2.21 logs to file descriptor 2 before its log level is read; Python's own stderr keeps working."""
    own, real = sys.stderr, os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with os.fdopen(os.dup(real), "w") as stderr:
            if own is sys.__stderr__:
                sys.stderr = stderr
            os.dup2(nowhere, 2)
            yield
    finally:
        os.dup2(real, 2)
        sys.stderr = own
        os.close(real)
        os.close(nowhere)
