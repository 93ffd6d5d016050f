"""Imports heavy libraries the quick way: TensorFlow without lines about itself, OpenVINO without its converter."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tlcli.errors import ModelError


def start_tensorflow() -> None:
    """Makes Keras run on TensorFlow in this process; 2 to 5 s the first time."""
    if "tensorflow" in sys.modules:
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    collecting = gc.isenabled()
    gc.disable()  # it would look through two million new objects again and again: a fifth of the time
    try:
        with _quiet_libraries(), _hidden("matplotlib.pyplot"):  # 0.7 s, for images that nobody asks Keras for
            import keras  # noqa: F401
            import tensorflow  # noqa: F401, ICN001
    finally:
        if collecting:
            gc.enable()


def start_openvino() -> Any:
    """OpenVINO, imported without what converts models for it: 0.06 s instead of 0.2, of predict's one second.

    Raises:
        ModelError: it is not installed, or its libraries cannot be loaded.
    """
    try:
        with _hidden("openvino.tools.ovc"):
            import openvino
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"OpenVINO cannot be imported ({reason}); run: pip install --force-reinstall openvino, or train with "
            "backbone.engine=keras."
        ) from error
    return openvino


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Lets other libraries take the module for not installed, unless it is imported already."""
    hidden = sys.modules.setdefault(module, None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[module]


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
