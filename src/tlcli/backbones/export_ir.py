"""Converts a backbone to OpenVINO's IR once, in a process on Keras's OpenVINO backend, and keeps it by digest.

A process of its own because Keras fixes its backend at import. Importing this module is cheap; only its ``main``
imports Keras.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from tlcli.backbones.catalog import CATALOG, Backbone
from tlcli.backbones.weights import RANDOM_SEED, Weights
from tlcli.disk import cache_folder, sha256_file, sync_folder, write_text
from tlcli.errors import ModelError
from tlcli.progress import SILENT, Progress

EXPORT_VERSION = 1
"""Part of the digest: raise it when the graph that is written changes."""

_FILES = ("model.xml", "model.bin")


@dataclass(frozen=True)
class Exported:
    """A backbone in OpenVINO's format: uint8 [1, S, S, 3] in, float32 [1, D] out."""

    folder: Path

    @property
    def xml(self) -> Path:
        """The graph; the weights lie beside it."""
        return self.folder / "model.xml"


def exported(row: Backbone, size: int, pooling: str, weights: Weights, progress: Progress = SILENT) -> Exported:
    """The converted backbone, from the cache or made now (2 to 20 s).

    Raises:
        ModelError: the weights do not fit, or the conversion failed.
    """
    if found := cached_export(row, size, pooling, weights.sha256):
        return found
    folder = _folder(row, size, pooling, weights.sha256)
    with progress.stage(f"Converting {row.name} for OpenVINO (once)"):
        staging = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            request = {"job": "export", "name": row.name, "size": size, "pooling": pooling}
            _run({**request, "weights": str(weights.path), "out": str(staging)}, row.name)
            digests = {name: sha256_file(staging / name) for name in _FILES}
            write_text(staging / "digests.json", json.dumps(digests))
            if folder.exists():  # damaged
                shutil.rmtree(folder)
            try:
                staging.replace(folder)
            except OSError:  # another process was first
                if not _is_whole(folder):
                    raise
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return Exported(folder)


def cached_export(row: Backbone, size: int, pooling: str, weights_sha256: str) -> Exported | None:
    """The converted backbone if it lies whole in the cache; the weights' own file is not needed for it."""
    folder = _folder(row, size, pooling, weights_sha256)
    return Exported(folder) if _is_whole(folder) else None


def _folder(row: Backbone, size: int, pooling: str, weights_sha256: str) -> Path:
    """Its place in the cache, named by all that the converted graph depends on."""
    versions = [metadata.version("keras"), metadata.version("openvino")]
    depends = [EXPORT_VERSION, row.name, row.builder, asdict(row.scaling), size, pooling, weights_sha256, versions]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    return cache_folder() / "backbones" / f"{row.name}-{digest[:16]}"


def _is_whole(folder: Path) -> bool:
    try:
        digests = json.loads((folder / "digests.json").read_text())
        return all(sha256_file(folder / name) == digests[name] for name in _FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_random_weights(name: str, path: Path) -> None:
    """Writes the random network's weights as safetensors.

    Raises:
        ModelError: the process failed.
    """
    _run({"job": "random", "name": name, "out": str(path)}, name)


def _run(request: dict[str, object], name: str) -> None:
    environment = {**os.environ, "KERAS_BACKEND": "openvino", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # -P: a keras.py or json.py in the user's current folder is not ours to run
    command = [sys.executable, "-P", "-m", "tlcli.backbones.export_ir", json.dumps(request)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == ModelError.exit_code:
        raise ModelError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise ModelError(f"Converting {name} failed (exit {done.returncode}):\n{done.stderr.strip()[-2000:]}")


def main() -> None:
    """The converting process: does the one job that its argument describes."""
    request = json.loads(sys.argv[1])
    from tlcli.backbones import build  # noqa: PLC0415 - imports Keras

    row = CATALOG[request["name"]]
    if request["job"] == "random":
        build.save_random_weights(row, Path(request["out"]), RANDOM_SEED)
        return
    try:
        model = build.build(row, request["size"], request["pooling"], Path(request["weights"]))
    except ModelError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201 - the parent process reads it
        sys.exit(error.exit_code)
    _write_ir(model, Path(request["out"]), request["size"])


def _write_ir(model: object, out: Path, size: int) -> None:
    """Bytes in and one picture at a time, fixed in the graph, so that a compiled graph can be cached by its file."""
    import openvino

    raw = out / "raw.xml"
    model.export(str(raw), format="openvino", verbose=False)  # type: ignore[attr-defined]
    graph = openvino.Core().read_model(raw)
    graph.reshape([1, size, size, 3])
    steps = openvino.preprocess.PrePostProcessor(graph)
    steps.input().tensor().set_element_type(openvino.Type.u8)
    openvino.save_model(steps.build(), out / "model.xml", compress_to_fp16=False)
    for suffix in (".xml", ".bin"):
        raw.with_suffix(suffix).unlink()


if __name__ == "__main__":
    main()
