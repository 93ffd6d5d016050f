"""Images a second from files to features: thumbnails, camera images, JPEG, PNG and WebP; and of the decoder alone.

python bench/decode.py [--backbones densenet201 efficientnet_lite0] [--images 200] [--precision auto] [--runs 3]

What `tlcli train` does with files: read, check the digest, decode and resize in threads, run the network, write
the features to a new store. The images are drawn: 250-pixel ones, 2 megapixels, and 12 megapixels as a camera gives
them (smooth structure and sensor noise, JPEG quality 90). Every file has bytes of its own. The engine is open and warm.
All kinds take turns, --runs times. Writes bench/results/decode.json.
"""

import argparse
import hashlib
import os
import tempfile
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from engine import available, opened, preparation_of
from images import THUMBNAIL, camera_image, encoded, numbered
from measure import in_turn, introduce, note, ratio, save, spread, table, values
from tlcli.backbones.catalog import CATALOG
from tlcli.datasets.index import LabelledImage
from tlcli.engines.interface import Engine
from tlcli.features.pipeline import extract
from tlcli.features.store import Store
from tlcli.images.augmentation import PLAIN
from tlcli.images.items import Decoder, Item

THUMBNAILS = "JPEG, 250 px"
KINDS: dict[str, tuple[str, int, int, dict[str, int]]] = {
    THUMBNAILS: ("JPEG", THUMBNAIL, THUMBNAIL, {"quality": 85}),
    "PNG, 250 px": ("PNG", THUMBNAIL, THUMBNAIL, {}),
    "WebP, 250 px": ("WEBP", THUMBNAIL, THUMBNAIL, {"quality": 85}),
    "PNG, 2 megapixels": ("PNG", 1600, 1200, {}),
    "WebP, 2 megapixels": ("WEBP", 1600, 1200, {"quality": 85}),
    "JPEG, 12 megapixels": ("JPEG", 4000, 3000, {"quality": 90}),
}
_DRAWN = 4
"""Of each kind; the other files have the same pixels in other bytes."""


def make(folder: Path, kind: str, count: int) -> list[LabelledImage]:
    """Files of one kind."""
    form, width, height, options = KINDS[kind]
    random = np.random.default_rng(0)
    drawn = [encoded(camera_image(random, width, height), form, **options) for _ in range(_DRAWN)]
    folder.mkdir()
    images = []
    for number, data in enumerate(islice(cycle(drawn), count)):
        path, own = folder / f"{number:06d}", numbered(data, number)
        path.write_bytes(own)
        sha256 = hashlib.sha256(own).hexdigest()
        images.append(LabelledImage(path, path.name, sha256, "any", "train", sha256))
    return images


class StaysOpen:
    """An engine that :func:`extract` does not close at its end."""

    def __init__(self, engine: Engine) -> None:
        self.window, self.submit, self.maps = engine.window, engine.submit, engine.maps

    def close(self) -> None:
        """Leaves it open."""


def through(images: list[LabelledImage], name: str, engine: Engine) -> float:
    """Images a second from files to a store that is new."""
    store = Store(hashlib.sha256(os.urandom(16)).hexdigest(), CATALOG[name].blocks)
    started = perf_counter()
    done = extract([(images, [PLAIN])], Decoder(preparation_of(name)), store, lambda: StaysOpen(engine))
    elapsed = perf_counter() - started
    if done.computed != len(images):
        raise SystemExit(f"{done.computed} of {len(images)} images were computed: {done.bad}")
    return len(images) / elapsed


def decoding(images: list[LabelledImage], name: str, seconds: float = 0.5) -> float:
    """Milliseconds an image, decoded and resized in one thread, from bytes in memory."""
    items = [Item(image.path.read_bytes()) for image in images[:_DRAWN]]
    decoder = Decoder(preparation_of(name))
    count, started = 0, perf_counter()
    while count < _DRAWN or perf_counter() - started < seconds:
        decoder.views(items[count % _DRAWN])
        count += 1
    return (perf_counter() - started) / count * 1000


def measured(name: str, precision: str, files: dict[str, list[LabelledImage]], runs: int) -> dict[str, Any]:
    """Rates and milliseconds by kind."""
    engine, chosen = opened(name, precision)
    through(files[THUMBNAILS][:16], name, engine)

    def turn(made: list[LabelledImage]) -> tuple[float, float]:
        return through(made, name, engine), decoding(made, name)

    turns = {kind: partial(turn, made) for kind, made in files.items()}
    note(f"{name}, {chosen}: {runs} turns")
    found = {}
    for kind, pairs in in_turn(turns, runs).items():
        rates, milliseconds = zip(*pairs, strict=True)
        found[kind] = {"images_a_second": values(rates), "decoder_ms_a_image_a_core": values(milliseconds)}
    return {"precision": chosen, "kinds": found}


def show(name: str, results: dict[str, Any], megabytes: dict[str, float]) -> None:
    """The table of one backbone."""
    kinds = results["kinds"]
    against = kinds[THUMBNAILS]["images_a_second"]
    rows = [
        [
            kind,
            f"{megabytes[kind]:.2f}",
            spread(row["decoder_ms_a_image_a_core"], 1),
            spread(row["images_a_second"], 1),
            f"{ratio(row['images_a_second'], against):.0%}",
        ]
        for kind, row in kinds.items()
    ]
    columns = ("files", "MB/file", "decoder, ms a core", "images/s, files to features", "of thumbnails")
    print(f"\n{name}, {results['precision']}\n{table(columns, rows)}", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--backbones", nargs="+", default=["densenet201", "efficientnet_lite0"], choices=list(CATALOG), metavar="NAME"
    )
    parser.add_argument("--images", type=int, default=200, help="of each kind (12 megapixels take 4 MB each)")
    parser.add_argument("--precision", default="auto", choices=["auto", "f32", "bf16", "int8"])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    introduce()
    if not available([options.precision]):
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TLCLI_CACHE"] = str(folder / "cache")
        note("Making the images")
        files = {kind: make(folder / str(number), kind, options.images) for number, kind in enumerate(KINDS)}
        megabytes = {kind: made[0].path.stat().st_size / 1e6 for kind, made in files.items()}
        results = {}
        for backbone in options.backbones:
            results[backbone] = measured(backbone, options.precision, files, options.runs)
            show(backbone, results[backbone], megabytes)
    print(f"Medians of {options.runs} turns of {options.images} images (least to most).")
    save("decode", settings=vars(options), megabytes_a_file=megabytes, results=results)


if __name__ == "__main__":
    main()
