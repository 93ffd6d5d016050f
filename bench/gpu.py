"""Images a second on a GPU, end to end from JPEG, and the share that is of the GPU's own speed.

python bench/gpu.py [--backbones densenet201 efficientnet_v2_s] [--images 20000] [--seconds 10] [--cpu]

The whole pass is what `tlcli train` does: read, check the digest, decode and resize ahead of the GPU, compute batches,
write the features to a new store. The files are drawn JPEGs of 500 x 375 pixels, as ImageNet's are on average, each
with bytes of its own. The GPU's own speed is the same network in the same precision and batch size on images that lie
in the GPU's memory already. The decoders alone are measured as well: threads, and processes. Without a GPU it says so;
--cpu measures the same on the CPU, to test this program. Writes bench/results/gpu.json.
"""

import argparse
import hashlib
import os
import tempfile
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from decode import StaysOpen
from engine import available_weights, preparation_of
from images import camera_image, encoded, numbered
from measure import introduce, note, save, table
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import find_weights
from tlcli.datasets.index import LabelledImage
from tlcli.engines.choice import choose_engine
from tlcli.engines.gpu import find_gpu
from tlcli.engines.interface import Engine, open_engine
from tlcli.features.pipeline import extract
from tlcli.features.store import Store
from tlcli.images.augmentation import PLAIN
from tlcli.images.decode_pool import DecodePool, Kind
from tlcli.images.items import Decoder, Item
from tlcli.progress import Progress
from tlcli.system.prefetch import in_order

_DRAWN = 16
"""Images; the other files have the same pixels in other bytes."""


class Notes(Progress):
    """Prints what the engine chose."""

    def note(self, message: str) -> None:
        """See :class:`tlcli.progress.Progress`."""
        note(message)


def make(folder: Path, count: int) -> list[LabelledImage]:
    """JPEGs of 500 x 375 pixels."""
    random = np.random.default_rng(0)
    drawn = [encoded(camera_image(random, 500, 375), "JPEG", quality=90) for _ in range(_DRAWN)]
    images = []
    for number, data in enumerate(islice(cycle(drawn), count)):
        path, own = folder / f"{number:07d}.jpg", numbered(data, number)
        path.write_bytes(own)
        sha256 = hashlib.sha256(own).hexdigest()
        images.append(LabelledImage(path, path.name, sha256, "any", "train", sha256))
    return images


def end_to_end(images: list[LabelledImage], name: str, engine: Engine) -> float:
    """Images a second from files to a store that is new."""
    store = Store(hashlib.sha256(os.urandom(16)).hexdigest(), CATALOG[name].blocks)
    started = perf_counter()
    done = extract([(images, [PLAIN])], Decoder(preparation_of(name)), store, lambda: StaysOpen(engine))
    elapsed = perf_counter() - started
    if done.computed != len(images):
        raise SystemExit(f"{done.computed} of {len(images)} images were computed: {done.bad}")
    return len(images) / elapsed


def alone(engine: Any, size: int, seconds: float) -> float:
    """Images a second of the network on one batch that lies in the GPU's memory."""
    import keras

    random = np.random.default_rng(0)
    batch = keras.ops.convert_to_tensor(random.integers(0, 256, (engine.batch_size, size, size, 3)).astype(np.uint8))
    predict = engine.network_model.predict_on_batch
    predict(batch)
    count, started = 0, perf_counter()
    while perf_counter() - started < seconds:
        predict(batch)
        count += 1
    return float(count * engine.batch_size / (perf_counter() - started))


def decoding(images: list[LabelledImage], name: str, kind: Kind, seconds: float) -> float:
    """Images a second that are decoded ahead, with nothing behind."""
    items = cycle([Item(image.path, image.sha256) for image in images])
    with closing(DecodePool(Decoder(preparation_of(name)), kind=kind)) as pool:
        window = 8 * pool.workers
        for _, future in in_order(pool.submit, islice(items, window), window):
            future.result()
        count, started = 0, perf_counter()
        for _, future in in_order(pool.submit, items, window):
            future.result()
            count += 1
            if perf_counter() - started >= seconds:
                break
        return count / (perf_counter() - started)


def measured(name: str, choice: EngineChoice, images: list[LabelledImage], seconds: float) -> dict[str, Any]:
    """The figures of a backbone."""
    row = CATALOG[name]
    weights = available_weights(name)
    spec = BackboneSpec(row, row.input_size, find_weights(row, weights), choice)
    note(f"{name}, {weights} weights")
    with closing(open_engine(spec, Decoder(preparation_of(name)), Notes())) as engine:
        own: Any = engine
        end_to_end(images[: 2 * own.batch_size], name, engine)
        whole, device = end_to_end(images, name, engine), alone(own, row.size, seconds)
        kinds: tuple[Kind, Kind] = ("threads", "processes")
        decoders = {kind: decoding(images, name, kind, seconds) for kind in kinds}
        return {
            "weights": weights, "precision": choice.precision, "batch": own.batch_size,
            "decoded_by": f"{own.decoding.workers} {own.decoding.kind}", "images_a_second": round(whole, 1),
            "gpu_alone_images_a_second": round(device, 1), "share": round(whole / device, 3),
            "decoders_images_a_second": {kind: round(rate, 1) for kind, rate in decoders.items()},
        }  # fmt: skip


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--backbones", nargs="+", default=["densenet201", "efficientnet_v2_s"], choices=list(CATALOG), metavar="NAME"
    )
    parser.add_argument("--images", type=int, default=20_000, help="files (60 KB each)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the GPU alone, and of the decoders alone")
    parser.add_argument("--cpu", action="store_true", help="measure on the CPU where there is no GPU")
    options = parser.parse_args()
    gpu = find_gpu()
    if gpu is None and not options.cpu:
        print("No installed backend of Keras sees a GPU here; --cpu tests this program on the CPU.")
        return
    introduce()
    choice = choose_engine("keras", "auto")
    card = gpu.name if gpu else "no GPU: the CPU"
    with tempfile.TemporaryDirectory() as name:
        os.environ["TLCLI_CACHE"] = str(Path(name) / "cache")
        (Path(name) / "images").mkdir()
        note(f"Drawing {options.images:,} images")
        images = make(Path(name) / "images", options.images)
        results = {backbone: measured(backbone, choice, images, options.seconds) for backbone in options.backbones}
    rows = [
        [
            backbone, row["precision"], row["batch"], f"{row['images_a_second']:,.0f}",
            f"{row['gpu_alone_images_a_second']:,.0f}", f"{row['share']:.0%}",
            *(f"{rate:,.0f}" for rate in row["decoders_images_a_second"].values()),
        ]
        for backbone, row in results.items()
    ]  # fmt: skip
    columns = (
        "backbone",
        "precision",
        "batch",
        "images/s",
        "device alone",
        "share",
        "decoded by threads",
        "by processes",
    )
    print(f"\n{card}\n{table(columns, rows)}")
    save("gpu", card=card, gpu=vars(gpu) if gpu else None, settings=vars(options), results=results)


if __name__ == "__main__":
    main()
