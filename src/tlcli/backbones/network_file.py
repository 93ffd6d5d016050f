"""Finds the files of a network that a user brings (``backbone.path``), and their digest: ONNX, or OpenVINO's format."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tlcli.backbones.onnx_file import external_locations
from tlcli.datasets.digests import digest_of
from tlcli.errors import ModelError

_SUFFIXES = (".onnx", ".xml")
_FOLDERS = (".", "onnx")
"""Where networks are in a folder: Hugging Face's have them in ``onnx``."""
_ALLOWED = "an .onnx file, an OpenVINO .xml file with its .bin beside it, or a folder with one of them"


@dataclass(frozen=True)
class NetworkFile:
    """A network's files, present and of allowed kinds."""

    path: Path
    """The .onnx or .xml file."""
    data: tuple[tuple[str, Path], ...]
    """Files with its tensors: the name it knows them by, and where they are."""

    @property
    def name(self) -> str:
        """What it is called: the stem of the file, or its folder's name where that says nothing."""
        folder = self.path.parent.parent if self.path.parent.name == "onnx" else self.path.parent
        generic = self.path.stem.lower() in ("model", "openvino_model")
        name = (folder.resolve().name if generic else self.path.stem) or self.path.stem
        return "".join(one if one.isascii() and (one.isalnum() or one in "._-") else "-" for one in name)[:60]

    @property
    def sha256(self) -> str:
        """Hex digest of the content of all files, the same under every name and in every folder."""
        digests = [digest_of(self.path), *([name, digest_of(path)] for name, path in self.data)]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def find_network(path: Path) -> NetworkFile:
    """The network at a path: of a file or a folder. Nothing but an ONNX file's list of its tensors is read.

    Raises:
        ModelError: there is none, or several; data are missing or outside the folder; the file is no ONNX file.
    """
    file = _in_folder(path) if path.is_dir() else path
    if not file.is_file():
        raise ModelError(
            "model.network_not_found", f"The network {path} does not exist.", f"Set backbone.path to {_ALLOWED}."
        )
    if file.suffix.lower() not in _SUFFIXES:
        raise ModelError(
            "model.network_format",
            f"{file} is no network that can be read. Allowed: {_ALLOWED}.",
            "Export the network to ONNX; docs/own_network.md has the commands.",
        )
    try:
        names = external_locations(file) if file.suffix.lower() == ".onnx" else ("",)
    except (ValueError, OSError) as error:
        raise ModelError(
            "model.network_unreadable", f"{file} is no readable ONNX file: {error}.", "Export or copy it again."
        ) from error
    return NetworkFile(file, tuple((name, _data(file, name)) for name in names))


def _in_folder(folder: Path) -> Path:
    for below in _FOLDERS:
        if (usual := folder / below / "model.onnx").is_file():
            return usual
    found = [
        path for below in _FOLDERS for path in sorted((folder / below).glob("*")) if path.suffix.lower() in _SUFFIXES
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelError(
            "model.network_ambiguous",
            f"{folder} has {len(found)} networks: {', '.join(path.name for path in found[:10])}.",
            f"Set backbone.path to one of the files, such as {found[0]}.",
        )
    raise ModelError("model.network_not_found", f"{folder} holds no network.", f"Set backbone.path to {_ALLOWED}.")


def _data(file: Path, name: str) -> Path:
    """A file with tensors: of an .xml file (an empty name) the .bin file."""
    folder = file.parent
    path = folder / name if name else file.with_suffix(".bin")
    is_inside = not Path(name).is_absolute() and ".." not in Path(name).parts and "\\" not in name and "\0" not in name
    if not is_inside or not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(
            "model.external_data_outside",
            f"{file} keeps its tensors in {name or path.name!r:.200}, outside its own folder, which is refused: a file "
            "from elsewhere could name any file of this machine.",
            "Put its data beside it, as files rather than links (cp -L).",
        )
    if not path.is_file():
        raise ModelError(
            "model.external_data_missing", f"{file} needs {path}, which is missing.", "Copy it there, and try again."
        )
    return path
