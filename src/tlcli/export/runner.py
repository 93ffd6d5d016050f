"""A process that runs one artefact in its own runtime, as another program would: only what check.py imports.

Importing this module is cheap.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.own_process import run_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
_BATCH = 7
"""Images at a time: a batch that divides few counts, so that the last one has another size."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one image at a time."""

    p50: float
    p95: float


def run_artefact(kind: str, path: Path, images: Path, work: Path) -> "dict[str, NDArray[np.float32]]":
    """Runs an artefact on images.

    Args:
        kind: its format.
        path: its file or folder.
        images: an .npy file, uint8 [N, H, W, 3], or several [1, H, W, 3] in an .npz.
        work: an existing folder for what it writes.

    Returns:
        Its outputs by their names.
    """
    out = work / "outputs.npz"
    _run({"format": kind, "path": str(path), "images": str(images), "out": str(out)}, {})
    with np.load(out) as found:
        return {name: found[name] for name in found.files}


def time_artefact(kind: str, path: Path, image: Path, work: Path, seconds: float) -> "dict[str, Latency]":
    """Latencies of an artefact with one core and with all: ``1`` and ``all``; only ``all`` where a process cannot be
    held on one core.

    Args:
        kind: its format.
        path: its file or folder.
        image: an .npy file, uint8 [1, H, W, 3].
        work: an existing folder for what it writes.
        seconds: how long each is measured, after the first passes.
    """
    found, out = {}, work / "seconds.json"
    for cores in (["1"] if hasattr(os, "sched_setaffinity") else []) + ["all"]:
        request = {"format": kind, "path": str(path), "images": str(image), "out": str(out), "seconds": seconds,
                   "cores": cores}  # fmt: skip
        _run(request, {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"} if cores == "1" else {})
        p50, p95 = np.percentile(1000 * np.array(json.loads(out.read_text())), [50, 95])
        found[cores] = Latency(round(float(p50), 3), round(float(p95), 3))
    return found


def _run(request: Mapping[str, object], environment: Mapping[str, str]) -> None:
    run_module(
        "tlcli.export.runner",
        request,
        {**_QUIET, **environment},
        f"Running the {request['format']} artefact",
    )


def main() -> None:
    """The separate process: runs the artefact as its argument says."""
    request = json.loads(sys.argv[1])
    if request.get("cores") == "1":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from tlcli.export.check import open_artefact  # noqa: PLC0415 - the runtime counts the cores when it starts

    run = open_artefact(request["format"], request["path"])
    batches = _batches(Path(request["images"]))
    if "seconds" in request:
        Path(request["out"]).write_text(json.dumps(_times(run, batches[0][:1], request["seconds"])))
        return
    outputs = [run(batch) for batch in batches]
    joined = {name: np.concatenate([one[name] for one in outputs]) for name in outputs[0]}
    np.savez(request["out"], **joined)  # type: ignore[arg-type]


def _batches(images: Path) -> "list[NDArray[np.uint8]]":
    loaded = np.load(images)
    if images.suffix == ".npz":  # of different sizes
        return [loaded[name] for name in loaded.files]
    return [loaded[start : start + _BATCH] for start in range(0, len(loaded), _BATCH)]


def _times(
    run: "Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]", image: "NDArray[np.uint8]", seconds: float
) -> list[float]:  # fmt: skip
    for _ in range(3):
        run(image)
    found: list[float] = []
    while len(found) < 5 or (sum(found) < seconds and len(found) < 1000):
        started = time.perf_counter()
        run(image)
        found.append(time.perf_counter() - started)
    return found


if __name__ == "__main__":
    main()
