"""A network served by FastAPI and Keras alone, as tutorials have it: what `bench/serve.py` holds tlcli against.

python bench/plain/serve.py NETWORK PORT [--weights random]

POST /predict takes an image as its body: decoded by Pillow, resized, and classified by the network with a dense layer.
FastAPI runs each request in a thread of its pool.
"""

import argparse
import io

import keras
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image

from tlcli.backbones.build import build
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.weights import find_weights


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", metavar="NETWORK", help=", ".join(CATALOG))
    parser.add_argument("port", type=int)
    parser.add_argument("--weights", default="random")
    options = parser.parse_args()
    row = CATALOG[options.network]
    network = build(row, row.input_size, find_weights(row, options.weights).file).features()
    average = network.outputs[row.blocks.names.index("last.avg")]  # as a plain model has it: no other layer is read
    model = keras.Model(network.inputs, keras.layers.Dense(2, activation="softmax")(average))
    model.predict_on_batch(np.zeros((1, row.size, row.size, 3), np.float32))  # traces the graph
    app = FastAPI()

    def classify(data: bytes) -> dict[str, list[float]]:
        image = Image.open(io.BytesIO(data)).convert("RGB").resize((row.size, row.size))
        return {"probabilities": model.predict_on_batch(np.asarray(image, np.float32)[None])[0].tolist()}

    async def predict(request: Request) -> dict[str, list[float]]:
        from starlette.concurrency import run_in_threadpool

        found: dict[str, list[float]] = await run_in_threadpool(classify, await request.body())
        return found

    app.add_api_route("/predict", predict, methods=["POST"])
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="error")


if __name__ == "__main__":
    main()
