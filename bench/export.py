"""How exports agree with the trained model, in each format in its own runtime: on solar cells, with several networks.

python bench/export.py [--networks efficientnet_lite0:imagenet densenet201:random] [--formats openvino onnx saved_model
keras tflite] [--precision f32] [--cells 160] [--images 100]

For each network a head is trained on as many cells of both classes (from pip), and `tlcli export` compares the
artefacts with the trained model on some of them: images of equal class, differences of a probability, sizes, latencies
(medians). Random weights cost no accuracy here: the same arithmetic is done with them. An export that does not agree
well enough ends the program. Writes bench/results/export.json and prints a Markdown table.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measure import introduce, note, save, settings, tlcli
from tlcli.config.build_dataset import dataset_index
from tlcli.config.load import find_config, load_config
from tlcli.workflows.fetch import fetch

FORMATS = ("openvino", "onnx", "saved_model", "keras", "tflite")


@dataclass(frozen=True)
class Row:
    """An artefact."""

    network: str
    weights: str
    artefact: str
    images: int
    same_class: int
    max_difference: float
    mean_difference: float
    mb: float
    one_core_ms: float | None
    """None where a process cannot be held on one core."""
    all_cores_ms: float


def row_of(network: str, weights: str, artefact: dict[str, Any]) -> Row:
    """The row of one of the artefacts of export.json."""
    (parity,) = artefact["parity"].values()
    latency = artefact["latency_ms"]
    return Row(
        network, weights, artefact["folder"], parity["images"], parity["same_class"], parity["max_difference"],
        parity["mean_difference"], artefact["bytes"] / 1e6, latency.get("1", {}).get("p50"), latency["all"]["p50"],
    )  # fmt: skip


def copy_cells(folder: Path, count: int) -> None:
    """``folder/CLASS/``, as many of each class."""
    loaded = load_config(find_config("solar_cells"))
    fetch(loaded)
    images = dataset_index(loaded.config.dataset, loaded.options).images
    for label in sorted({image.label for image in images}):
        (folder / label).mkdir(parents=True)
        paths = sorted(image.path for image in images if image.label == label)
        step = max(1, 2 * len(paths) // count)
        for path in paths[::step][: count // 2]:
            shutil.copy(path, folder / label)


def exported(folder: Path, network: str, weights: str, options: argparse.Namespace) -> list[Row]:
    """Trains and exports; a row for each artefact."""
    given = settings(
        dataset__path=folder / "cells", backbone__name=network, backbone__weights=weights, evaluate__figures="false",
        evaluate__report="false", evaluate__cross_validation="null",
    )  # fmt: skip
    note(f"Training on {network}, {weights} weights")
    tlcli(folder, folder / "cache", "train", "--config", "my_images", "--name", network, *given)
    note(f"Exporting {network}")
    done = tlcli(
        folder, folder / "cache", "export", "--run", network, "--format", ",".join(options.formats), "--precision",
        ",".join(options.precision), "--parity", str(options.images), "--output", f"{network}-exported", "--json",
    )  # fmt: skip
    return [row_of(network, weights, one) for one in done.document()["artefacts"]]


def markdown(rows: Iterable[Row]) -> str:
    """The table."""
    lines = [
        "| network | artefact | same class | largest, mean difference of a probability | MB | ms, 1 core | ms, all |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in rows:
        single = "-" if one.one_core_ms is None else f"{one.one_core_ms:.0f}"
        lines.append(
            f"| `{one.network}`, {one.weights} | {one.artefact} | {one.same_class} of {one.images} | "
            f"{one.max_difference:.1e}, {one.mean_difference:.1e} | {one.mb:.1f} | {single} | {one.all_cores_ms:.0f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", nargs="+", metavar="NAME:WEIGHTS", default=["efficientnet_lite0:imagenet", "densenet201:random"]
    )
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--precision", nargs="+", choices=("f32", "f16", "int8"), default=["f32"])
    parser.add_argument("--cells", type=int, default=160, help="images of both classes (default: 160)")
    parser.add_argument("--images", type=int, default=100, help="images compared (default: 100)")
    options = parser.parse_args(arguments)
    introduce()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_cells(folder / "cells", options.cells)
        for given in options.networks:
            network, _, weights = given.partition(":")
            rows += exported(folder, network, weights or "imagenet", options)
    print(markdown(rows))
    save("export", settings=vars(options), artefacts=[asdict(one) for one in rows])


if __name__ == "__main__":
    main()
