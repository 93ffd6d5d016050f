"""Keras `predict` on a frozen network, images in memory, batches of 32: what `bench/extract.py` holds tlcli against.

python bench/plain/features.py NETWORK [--weights random]

Writes a line when it is ready, then for each number of images read from stdin the seconds that `predict` took, so
that another program can time it and itself in turn, in processes of their own.
"""

import argparse
import sys
from time import perf_counter

import keras
import numpy as np

from tlcli.backbones.build import build
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.weights import find_weights

BATCH = 32


def main() -> None:
    """Answers until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", metavar="NETWORK", help=", ".join(CATALOG))
    parser.add_argument("--weights", default="random")
    options = parser.parse_args()
    row = CATALOG[options.network]
    model: keras.Model = build(row, row.input_size, find_weights(row, options.weights).file).features()
    batch = np.random.default_rng(0).integers(0, 256, (BATCH, row.size, row.size, 3), np.uint8).astype(np.float32)
    model.predict(batch, batch_size=BATCH, verbose=0)  # traces the graph
    print("ready", flush=True)
    for line in sys.stdin:
        images = np.concatenate([batch] * max(1, int(line) // BATCH))
        started = perf_counter()
        model.predict(images, batch_size=BATCH, verbose=0)
        print(len(images), perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
