"""The extras of the package: what ``pip install tlcli`` leaves out, and the error of a command that needs it.

Importing this module is cheap, and none of the packages is imported to find out whether it is installed.
"""

import importlib.util
from collections.abc import Sequence

from tlcli.errors import UsageError

EXTRAS = {
    "train": ("cleanlab", "jinja2", "matplotlib", "scipy", "sklearn", "threadpoolctl", "tensorflow", "zstandard"),
    "serve": ("fastapi", "httptools", "prometheus_client", "python_multipart", "uvicorn"),
    "export": ("ai_edge_litert", "ai_edge_quantizer", "nncf", "onnx", "onnxruntime", "tf2onnx"),
    "tune": ("optuna",),
    "remote": ("fsspec", "s3fs", "gcsfs", "adlfs", "aiohttp", "pyarrow"),
    "ray": ("ray",),
}
"""The modules that an extra of pyproject.toml brings; each belongs to one."""
TRAINING = ("cleanlab", "jinja2", "matplotlib", "scipy", "sklearn", "threadpoolctl")
"""What training and measuring always need; of the others, few configs do."""


def require(extra: str, doing: str, modules: tuple[str, ...] = ()) -> None:
    """Checks that the packages of an extra are installed, before anything is computed.

    Args:
        extra: a key of :data:`EXTRAS`.
        doing: what needs them, for the message: ``tlcli serve``.
        modules: those of the extra that are needed, where it is not all.

    Raises:
        UsageError: one is missing.
    """
    if missing := [name for name in modules or EXTRAS[extra] if importlib.util.find_spec(name) is None]:
        raise extra_error(extra, doing, missing)


def missing_extra(error: BaseException) -> UsageError | None:
    """The error to report for an import that failed; None where no extra has the package, which is a bug."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    return extra_error(extra, "This", [module]) if extra else None


def extra_error(extra: str, doing: str, modules: Sequence[str]) -> UsageError:
    """The error where modules of an extra are missing; ``doing`` needs them, for the message."""
    return UsageError(
        "usage.extra_missing",
        f"{doing} needs packages that are not installed: {', '.join(modules)}.",
        f"Run: pip install 'tlcli[{extra}]'",
    )
