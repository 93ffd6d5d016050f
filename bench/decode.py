"""Pictures a second from files to features: thumbnails, camera pictures, JPEG, PNG and WebP; and of the decoder alone.

python bench/decode.py [--backbones densenet201 efficientnet_lite0] [--pictures 200] [--precision auto] [--runs 3]

What `tlcli train` does with files: read, check the digest, decode and bring to size in threads, run the network, write
the features to a new store. The pictures are made: 250-pixel ones, 2 megapixels, and 12 megapixels as a camera gives
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

from engine import opened, to_be_had
from measure import in_turn, introduce, note, ratio, save, spread, table, values
from pictures import THUMBNAIL, camera_picture, encoded, numbered
from tlcli.backbones.catalog import CATALOG
from tlcli.data.augment import PLAIN, Augmentation
from tlcli.data.decode import picture
from tlcli.data.index import Picture
from tlcli.data.sizing import Preparation
from tlcli.features.engines import Engine
from tlcli.features.extract import extract
from tlcli.features.store import Store

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


def make(folder: Path, kind: str, count: int) -> list[Picture]:
    """Files of one kind."""
    form, width, height, options = KINDS[kind]
    random = np.random.default_rng(0)
    drawn = [encoded(camera_picture(random, width, height), form, **options) for _ in range(_DRAWN)]
    folder.mkdir()
    pictures = []
    for number, data in enumerate(islice(cycle(drawn), count)):
        path, own = folder / f"{number:06d}", numbered(data, number)
        path.write_bytes(own)
        sha256 = hashlib.sha256(own).hexdigest()
        pictures.append(Picture(path, path.name, sha256, "any", "train", sha256))
    return pictures


def preparation(name: str) -> Preparation:
    """The backbone's own."""
    row = CATALOG[name]
    return Preparation(row.size, row.resize, row.crop_fraction)


def through(pictures: list[Picture], name: str, engine: Engine) -> float:
    """Pictures a second from files to a store that is new."""
    store = Store(hashlib.sha256(os.urandom(16)).hexdigest(), CATALOG[name].features)
    started = perf_counter()
    done = extract([(pictures, [PLAIN])], preparation(name), Augmentation(), store, lambda: engine)
    elapsed = perf_counter() - started
    if done.computed != len(pictures):
        raise SystemExit(f"{done.computed} of {len(pictures)} pictures were computed: {done.bad}")
    return len(pictures) / elapsed


def decoder(pictures: list[Picture], name: str, seconds: float = 0.5) -> float:
    """Milliseconds a picture, decoded and brought to size in one thread, from bytes in memory."""
    files = [picture.path.read_bytes() for picture in pictures[:_DRAWN]]
    prepared = preparation(name)
    count, started = 0, perf_counter()
    while count < _DRAWN or perf_counter() - started < seconds:
        picture(files[count % _DRAWN], prepared)
        count += 1
    return (perf_counter() - started) / count * 1000


def measured(name: str, precision: str, files: dict[str, list[Picture]], runs: int) -> dict[str, Any]:
    """Rates and milliseconds by kind."""
    engine, chosen = opened(name, precision)
    through(files[THUMBNAILS][:16], name, engine)

    def turn(made: list[Picture]) -> tuple[float, float]:
        return through(made, name, engine), decoder(made, name)

    turns = {kind: partial(turn, made) for kind, made in files.items()}
    note(f"{name}, {chosen}: {runs} turns")
    found = {}
    for kind, pairs in in_turn(turns, runs).items():
        rates, decoding = zip(*pairs, strict=True)
        found[kind] = {"pictures_a_second": values(rates), "decoder_ms_a_picture_a_core": values(decoding)}
    return {"precision": chosen, "kinds": found}


def show(name: str, results: dict[str, Any], megabytes: dict[str, float]) -> None:
    """The table of one backbone."""
    kinds = results["kinds"]
    against = kinds[THUMBNAILS]["pictures_a_second"]
    rows = [
        [
            kind,
            f"{megabytes[kind]:.2f}",
            spread(row["decoder_ms_a_picture_a_core"], 1),
            spread(row["pictures_a_second"], 1),
            f"{ratio(row['pictures_a_second'], against):.0%}",
        ]
        for kind, row in kinds.items()
    ]
    columns = ("files", "MB/file", "decoder, ms a core", "pictures/s, files to features", "of thumbnails")
    print(f"\n{name}, {results['precision']}\n{table(columns, rows)}", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--backbones", nargs="+", default=["densenet201", "efficientnet_lite0"], choices=list(CATALOG), metavar="NAME"
    )
    parser.add_argument("--pictures", type=int, default=200, help="of each kind (12 megapixels take 4 MB each)")
    parser.add_argument("--precision", default="auto", choices=["auto", "f32", "bf16", "int8"])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    introduce()
    if not to_be_had([options.precision]):
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TLCLI_CACHE"] = str(folder / "cache")
        note("Making the pictures")
        files = {kind: make(folder / str(place), kind, options.pictures) for place, kind in enumerate(KINDS)}
        megabytes = {kind: made[0].path.stat().st_size / 1e6 for kind, made in files.items()}
        results = {}
        for backbone in options.backbones:
            results[backbone] = measured(backbone, options.precision, files, options.runs)
            show(backbone, results[backbone], megabytes)
    print(f"Medians of {options.runs} turns of {options.pictures} pictures (least to most).")
    save("decode", settings=vars(options), megabytes_a_file=megabytes, results=results)


if __name__ == "__main__":
    main()
