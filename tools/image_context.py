"""Copies what the container image of a run needs into a folder: the run without its reports, its converted backbone.

python tools/image_context.py [RUN] [FOLDER]    (runs/latest, build/image; make image calls it)

FOLDER/runs/NAME/RUN has config, records and model; FOLDER/cache has the graph, under the name that it has in the cache
of any machine with the versions of constraints.txt. So the server in the image converts, downloads and writes nothing.
"""

import argparse
import shutil
import sys
from pathlib import Path

from tlcli.backbones.graph import ConvertedGraph
from tlcli.backbones.quantization import find_quantized_graph
from tlcli.errors import ModelError, TlcliError, UsageError
from tlcli.model.backbone import converted_backbone
from tlcli.model.bundle import load_bundle
from tlcli.model.manifest import BundleManifest
from tlcli.progress import SILENT
from tlcli.runs.folders import find_run

MARK = ".tlcli-image"
"""A file that says that a folder was written here."""
FILES = ("config.yaml", "run.json", "metrics.json")


def graph_of(run: Path, manifest: BundleManifest) -> ConvertedGraph:
    """The graph that the run's predictions come from: quantised where it was trained so.

    Raises:
        ModelError: the quantised graph is not in the cache, or the weights are missing.
        NetworkError: the weights cannot be downloaded.
    """
    record = manifest.backbone
    if record.quantized is None:
        return converted_backbone(run / "model", manifest, SILENT)
    found = find_quantized_graph(manifest.row, record.quantized.graph_sha256)
    if found is None:
        raise ModelError(
            "model.graph_not_cached", "The quantised backbone of this run is not in the cache of this machine.",
            "Run tlcli evaluate where the training images are, then make image.",
        )  # fmt: skip
    return found.graph


def write_context(run: Path, folder: Path) -> list[Path]:
    """Makes the folder hold this run and no other; the folders of the run and of the graph in it. The folder itself
    stays, as it may be mounted in a container.

    Raises:
        UsageError: the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UsageError(
            "usage.output_occupied", f"{folder} was not written by this program, and is not replaced.",
            "Give a new or an empty folder.",
        )  # fmt: skip
    bundle = load_bundle(run / "model")  # checks every digest
    graph = graph_of(run, bundle.manifest)
    for name in ("runs", "cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    copied = folder / "runs" / run.parent.name / run.name
    shutil.copytree(run / "model", copied / "model")
    for name in FILES:
        shutil.copy2(run / name, copied / name)
    cached = folder / "cache" / "backbones" / graph.folder.name
    shutil.copytree(graph.folder, cached)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # readable by the user of the image
    return [copied, cached]


def main() -> int:
    """Writes the folder, and prints what is in it; 0, or the exit code of the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/latest", type=Path, metavar="RUN")
    parser.add_argument("folder", nargs="?", default=Path("build/image"), type=Path, metavar="FOLDER")
    options = parser.parse_args()
    try:
        written = write_context(find_run(Path("runs"), run=options.run), options.folder)
    except TlcliError as error:
        print(f"Error [{error.code}]: {error.message}\nHint: {error.hint}", file=sys.stderr)
        return error.exit_code
    for path in written:
        size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        print(f"{path}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
