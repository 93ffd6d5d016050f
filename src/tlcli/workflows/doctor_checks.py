"""Versions, the machine, and the engine it makes tlcli choose, for doctor: a function a section.

Each may raise where the environment is broken; :mod:`tlcli.workflows.doctor` says so then.
"""

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata

import tlcli
from tlcli.errors import ModelError
from tlcli.system import machine
from tlcli.system.files import readable
from tlcli.workflows.doctor_section import Section

_DECISIVE = (
    "cleanlab", "filelock", "h5py", "kaggle", "kagglesdk", "keras", "nncf", "numpy", "openvino", "pillow", "pydantic",
    "safetensors", "scikit-learn", "scipy", "tensorflow", "threadpoolctl", "typer", "zstandard",
)  # fmt: skip
"""Packages whose version may decide what comes out."""
_OPTIONAL = {"nncf": "int8 needs it: pip install 'tlcli[int8]'"}


def versions() -> Section:
    """Of tlcli, Python, the system, and packages; nothing is imported."""
    found = Section("versions")
    packages = {name: _version(name) for name in _DECISIVE}
    found.facts = {
        "tlcli": tlcli.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "packages": packages,
        "settings": {name: os.environ[name] for name in sorted(os.environ) if name in _SETTINGS},
    }
    found.rows = [
        ("tlcli", tlcli.__version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", platform.platform()),
        ("packages", ", ".join(f"{name} {version}" for name, version in packages.items() if version)),
        *((name, f"not installed; {_OPTIONAL.get(name, 'it is needed')}") for name in packages if not packages[name]),
        *found.facts["settings"].items(),
    ]  # fmt: skip
    for name in [name for name, version in packages.items() if version is None and name not in _OPTIONAL]:
        found.fail(f"{name} is not installed; run: pip install {name}", ModelError.exit_code)
    for text in unmet():
        found.fail(text, ModelError.exit_code)
    return found


_SETTINGS = {
    "TLCLI_CACHE", "TLCLI_THREADS", "KERAS_HOME", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL", "TMPDIR",
}  # fmt: skip
"""Environment variables that are shown; none that may hold a secret."""


def unmet() -> Iterator[str]:
    """Installed packages of another version than tlcli needs."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - may be missing

    try:
        needed = [Requirement(text) for text in metadata.requires("tlcli") or ()]
    except metadata.PackageNotFoundError:  # run from its source
        return
    for one in needed:
        version = None if one.marker and not one.marker.evaluate({"extra": ""}) else _version(one.name)
        if version and not one.specifier.contains(version, prereleases=True):
            needs = f"{one.name}{one.specifier}"
            yield f"{one.name} {version} is installed, and tlcli needs {needs}; run: pip install '{needs}'"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package) or None
    except metadata.PackageNotFoundError:
        return None


def machine_seen() -> Section:
    """Cores, memory, processor."""
    cores, memory, processor = machine.cores_seen(), machine.memory(), machine.processor()
    found = Section("machine")
    found.facts = {"cores": asdict(cores), "memory": asdict(memory), "processor": asdict(processor)}
    bound = f", bound to {cores.bound}" if cores.bound else ""
    quota = f", control groups allow {cores.quota:g}" if cores.quota else ", no limit by control groups"
    limit = readable(memory.limit) if memory.limit else "none"
    has = [name for name, there in (processor.instructions or {}).items() if there]
    lacks = [name for name, there in (processor.instructions or {}).items() if not there]
    found.rows = [
        ("cores", f"{cores.machine or 'unknown'} there{bound}{quota}; tlcli uses {cores.used}"),
        ("memory", f"{_size(memory.total)}, {_size(memory.available)} available; limit by control groups: {limit}"),
        ("processor", f"{processor.name} ({processor.architecture})"),
        ("instructions", "not told by this system" if processor.instructions is None else " ".join(has) or "none of:"),
        *([("without", " ".join(lacks))] if lacks else []),
    ]
    room = min((value for value in (memory.available, memory.limit) if value is not None), default=None)
    if room is not None and room < _LEAST_MEMORY:
        found.warn(
            f"{readable(room)} of memory is little: converting a backbone takes 2 to 4 GB. Close other programs."
        )
    return found


_LEAST_MEMORY = 2 * 10**9


def _size(count: int | None) -> str:
    return "unknown" if count is None else readable(count)


def engine() -> Section:
    """What runs the backbone where a config says auto, and why."""
    from tlcli.engines.interface import choose_engine, explain_choice, int8_is_fast  # noqa: PLC0415 - may be broken

    found = Section("engine")
    try:
        choice = choose_engine("auto", "auto")
        reason = explain_choice(choice)
    except ModelError as error:
        found.rows = [("auto", "none can be chosen")]
        found.facts = {"chosen": None, "reason": str(error)}
        found.fail(str(error), error.exit_code)
        return found
    found.facts = {"chosen": asdict(choice), "reason": reason}
    found.rows = [("auto", f"{choice.name} {choice.version}, {choice.precision}"), ("because", reason)]
    if choice.name == "keras":
        found.fail("predict needs OpenVINO; run: pip install openvino", ModelError.exit_code)
        return found
    fast = int8_is_fast()
    found.facts["int8_is_fast"] = fast
    found.rows.append(("int8", "faster here, never chosen by auto" if fast else "not faster on this processor"))
    return found
