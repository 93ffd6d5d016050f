"""Imports heavy libraries late and fast: Keras without the log lines of TensorFlow, OpenVINO without its model
converter, scikit-learn without pandas."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tlcli.errors import ModelError


def start_tensorflow() -> None:
    """Imports Keras on TensorFlow in this process; see :func:`start_keras`."""
    start_keras("tensorflow")


def start_keras(backend: str) -> None:
    """Imports Keras on a backend in this process; the first time takes 2 to 5 s.

    Args:
        backend: tensorflow, jax or torch.

    Raises:
        ModelError: Keras runs on another backend in this process already.
    """
    if "keras" in sys.modules:
        _check_backend(backend)
        return
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    was_enabled = gc.isenabled()
    gc.disable()  # it would scan two million new objects again and again: a fifth of the time
    try:
        with silent_stderr(), hidden("matplotlib.pyplot"):  # 0.7 s for Keras' own plots, which nothing here uses
            import keras  # noqa: F401 - imports its backend
    finally:
        if was_enabled:
            gc.enable()


def start_keras_on_openvino() -> None:
    """Imports Keras on OpenVINO, in a process of its own; without SciPy, of which Keras needs short-time Fourier
    transforms alone, and which predict's installation lacks."""
    os.environ["KERAS_BACKEND"] = "openvino"
    stubs = {name: ModuleType(name) for name in ("scipy", "scipy.signal")}
    before = {name: sys.modules[name] for name in stubs if name in sys.modules}
    sys.modules.update(stubs)
    stubs["scipy"].signal = stubs["scipy.signal"]  # type: ignore[attr-defined]
    try:
        import keras  # noqa: F401
    finally:
        for name in stubs:
            del sys.modules[name]
        sys.modules.update(before)


def _check_backend(backend: str) -> None:
    import keras

    if keras.backend.backend() != backend:
        raise ModelError(
            "model.other_keras_backend",
            f"Keras runs on {keras.backend.backend()} in this process, and {backend} is needed.",
            f"Set KERAS_BACKEND={backend} before Keras is imported, or run tlcli as a command.",
        )


def start_openvino() -> Any:
    """Returns the module ``openvino``, imported without its model converter: 0.06 s instead of 0.2 s of predict's 1 s.

    Raises:
        ModelError: it is not installed, or its libraries cannot be loaded.
    """
    try:
        with hidden("openvino.tools.ovc"):
            import openvino
    except ImportError as error:
        raise ModelError(
            "model.openvino_not_importable",
            f"OpenVINO cannot be imported ({' '.join(str(error).split())}).",
            "Run: pip install --force-reinstall openvino, or train with backbone.engine=keras.",
        ) from error
    return openvino


def start_scikit_learn() -> None:
    """Imports scikit-learn without pandas, a fifth of the 1 s that it takes: nothing here gives it data frames."""
    with hidden("pandas"):
        import sklearn.metrics
        import sklearn.model_selection  # noqa: F401


@contextmanager
def hidden(module: str) -> Iterator[None]:
    """Makes a module look as if it were not installed, unless it is imported already."""
    hidden = sys.modules.setdefault(module, None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[module]


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Discards what libraries write to file descriptor 2; Python's own stderr keeps working.

    TensorFlow 2.21 logs there before its log level is read.
    """
    own, real = sys.stderr, os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        with os.fdopen(os.dup(real), "w") as stderr:
            if own is sys.__stderr__:
                sys.stderr = stderr
            os.dup2(null, 2)
            yield
    finally:
        os.dup2(real, 2)
        sys.stderr = own
        os.close(real)
        os.close(null)
