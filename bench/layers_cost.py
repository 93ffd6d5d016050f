"""What it costs that one pass gives all layers: the pass, the store, the fit, predict.

python bench/layers_cost.py [--images 300] [--turns 9] [--rows 60000] [--predictions 9]

The pass: images per second of efficientnet_lite0 (weights from pip) and DenseNet201 (random ones), as the engine runs
them, decoding included, with all blocks of features, beside the same graph with the last layer's average as its only
output; in float32 and, where the processor has it, in bfloat16; and whether that average is the same bit for bit. The
fit: logistic regression on made features of all its layers in 10 classes, read from a store, as a process of its own.
Predict: whole processes, a model that takes all layers beside one that takes the last. Competitors take turns.
Writes bench/results/layers_cost.json.
"""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
from openvino import opset13 as ops

from images import make_tree
from measure import in_turn, introduce, process, ratio, save, settings, spread, table, tlcli, values
from tlcli.backbones.catalog import CATALOG, Backbone
from tlcli.backbones.conversion import convert
from tlcli.backbones.spec import BackboneSpec
from tlcli.backbones.weights import find_weights
from tlcli.config.build_features import layer_candidates
from tlcli.config.schema import BackboneSection
from tlcli.engines.choice import choose_engine
from tlcli.engines.interface import Runner, open_engine
from tlcli.engines.openvino import has_bf16, open_graph
from tlcli.features.rows import Rows
from tlcli.features.store import Store
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.system.prefetch import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW = CATALOG["efficientnet_lite0"]
PASSES = {"efficientnet_lite0": ("imagenet", 1), "densenet201": ("random", 6)}
"""Weights, and by how much fewer images a turn has."""
CLASSES = 10
SHARD = 512
EACH = ("densenet201", "resnet50", "efficientnet_lite0", "efficientnet_v2_s", "convnext_tiny", "inception_v3")


def rate(engine: "Runner[NDArray[np.float32]]", items: list[Item]) -> float:
    """Images per second."""
    started = perf_counter()
    for _, future in in_order(engine.submit, items, engine.window):
        future.result()
    return len(items) / (perf_counter() - started)


def measure_pass(folder: Path, row: Backbone, weights: str, precision: str, images: int, turns: int) -> dict[str, Any]:
    """Images per second with all blocks and with one, and whether that one is equal."""
    items = [Item(path) for path in sorted(folder.rglob("*.jpg"))[:images]]
    spec = BackboneSpec(row, row.input_size, find_weights(row, weights), choose_engine("openvino", precision))  # type: ignore[arg-type]
    decoder = Decoder(Preparation(spec.size, row.resize, row.crop_fraction))
    graph = openvino.Core().read_model(convert(spec).xml)
    last = openvino.Model([ops.result(graph.output("last.avg").get_node().input_value(0))], graph.get_parameters())
    with (
        closing(open_engine(spec, decoder)) as everything,
        closing(open_graph(last, spec.engine.precision, decoder)) as alone,
    ):
        rate(everything, items), rate(alone, items)  # warms both up
        found = in_turn({"all": lambda: rate(everything, items), "last": lambda: rate(alone, items)}, turns)
        pairs = [(everything.submit(item).result()[0], alone.submit(item).result()[0]) for item in items[:50]]
    equal = all(np.array_equal(row.blocks.take(one, row.blocks.last), other) for one, other in pairs)
    ratios = [last / every for every, last in zip(found["all"], found["last"], strict=True)]
    return {
        "backbone": row.name, "precision": precision, "all": values(found["all"]), "last": values(found["last"]),
        "time": values(ratios), "equal": equal,
    }  # fmt: skip


def measure_passes(folder: Path, images: int, turns: int) -> list[dict[str, Any]]:
    """Of each network and precision."""
    make_tree(folder, {"": images}, ("a", "b"))
    precisions = ("f32", "bf16") if has_bf16() else ("f32",)
    return [
        measure_pass(folder, CATALOG[name], weights, precision, images // fewer, turns)
        for name, (weights, fewer) in PASSES.items() for precision in precisions
    ]  # fmt: skip


def fit(rows: int) -> None:
    """A process of its own: makes a store of features, fits on it, and prints the seconds of the fit."""
    store, blocks = Store("ab" * 32, ROW.blocks), ROW.blocks
    labels = np.arange(rows, dtype=np.int64) % CLASSES
    centres = np.random.default_rng(1).normal(0, 0.12, (CLASSES, blocks.width)).astype(np.float32)
    keys = [number.to_bytes(32, "little") for number in range(rows)]
    for start in range(0, rows, SHARD):
        part = slice(start, start + SHARD)
        noise = np.random.default_rng(start).normal(0, 1, (len(labels[part]), blocks.width)).astype(np.float32)
        store.append(keys[part], np.abs(noise) + centres[labels[part]])
    read = store.reader(keys)
    candidates = layer_candidates(BackboneSection(name=ROW.name), blocks)
    started = perf_counter()
    found = fit_logistic_regression(
        Rows(labels, np.arange(rows), blocks.widths, read), [1e-3, 1e-2, 1e-1], 5, True, "none", 0,
        candidates=candidates,
    )  # fmt: skip
    print(perf_counter() - started, found.best.C, found.best.val_accuracy)


def measure_fit(folder: Path, rows: int) -> dict[str, object]:
    """Seconds and memory of the fit."""
    done = process([sys.executable, __file__, "--fit", str(rows)], folder, TLCLI_CACHE=str(folder / "store"))
    seconds, C, accuracy = (float(word) for word in done.output.split())
    size = sum(path.stat().st_size for path in (folder / "store").rglob("*.safetensors"))
    return {"seconds": seconds, "memory_mb": done.memory_mb, "C": C, "accuracy": accuracy, "store_mb": size / 1e6}


def measure_predict(folder: Path, predictions: int) -> dict[str, dict[str, object]]:
    """Seconds of whole predict processes, second time, with a model of all layers and of the last."""
    make_tree(folder / "images", {"": 60}, ("a", "b"))
    kinds: dict[str, dict[str, object]] = {"all": {}, "last": {"backbone__layers": "last", "backbone__pooling": "avg"}}
    for name, changed in kinds.items():
        options = settings(
            dataset__path=folder / "images", backbone__name=ROW.name, evaluate__figures="false", **changed
        )
        tlcli(folder, folder / "cache", "train", "--config", "my_images", "--name", name, *options)
    image = next((folder / "images").rglob("*.jpg"))

    def predict(name: str) -> float:
        return tlcli(folder, folder / "cache", "predict", "--run", name, image).seconds

    for name in kinds:
        predict(name)  # compiles the graph for latency
    found = in_turn({name: (lambda name=name: predict(name)) for name in kinds}, predictions)  # type: ignore[misc]
    return {name: values(seconds) for name, seconds in found.items()}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300, help="of a turn of the pass")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--predictions", type=int, default=9)
    parser.add_argument("--fit", type=int, metavar="ROWS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit(options.fit)
        return
    introduce()
    with TemporaryDirectory() as folder:
        passes = measure_passes(Path(folder) / "pass", options.images, options.turns)
        fitted = measure_fit(Path(folder), options.rows)
        predicted = measure_predict(Path(folder) / "predict", options.predictions)
    print(table(
        ("the pass, images/s", "all layers", "last layer, average", "time, all / last", "last average equal"), [
            (f"{one['backbone']}, {one['precision']}", spread(one["all"], 0), spread(one["last"], 0),
             spread(one["time"], 3), "bit for bit" if one["equal"] else "to rounding") for one in passes
        ]
    ))  # fmt: skip
    print()
    print(table(("", "all layers", "last layer, average", "all / last"), [
        ("predict, seconds", spread(predicted["all"]), spread(predicted["last"]),
         f"{ratio(predicted['all'], predicted['last']):.3f}"),
    ]))  # fmt: skip
    print()
    print(table(("fit", "width", "store, MB", "seconds", "memory, MB"), [
        (f"{options.rows:,} images, {CLASSES} classes", ROW.blocks.width, f"{fitted['store_mb']:,.0f}",
         f"{fitted['seconds']:,.0f}", f"{fitted['memory_mb']:,.0f}"),
    ]))  # fmt: skip
    print()
    print(table(("backbone", "layers", "width", "last average alone, bytes", "all, bytes an image"), [
        (name, len(CATALOG[name].blocks.layers), CATALOG[name].blocks.width, 4 * CATALOG[name].features,
         CATALOG[name].blocks.stored_bytes) for name in EACH
    ]))  # fmt: skip
    save("layers_cost", passes=passes, fit=fitted, predict=predicted)


if __name__ == "__main__":
    main()
