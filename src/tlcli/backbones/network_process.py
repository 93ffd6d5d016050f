"""A process that reads a user's network: a parser that crashes on a damaged file ends this process alone, and the
memory of a large one is given back.

Importing this module is cheap; only ``main`` imports OpenVINO.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tlcli.backbones.catalog import Scaling
from tlcli.backbones.graph import NORMALIZATION_FILE
from tlcli.errors import ModelError

DESCRIPTION_FILE = "network.json"


def main() -> None:
    """Does what its argument describes: ``job`` (describe or convert), ``network`` (a path), ``output``, ``size``
    (H, W), ``out`` (a folder); for convert also ``scale`` and ``offset``.
    """
    request = json.loads(sys.argv[1])
    from tlcli.backbones.network_graph import convert_graph, read_graph  # noqa: PLC0415 - imports OpenVINO

    out, size = Path(request["out"]), request["size"] and (request["size"][0], request["size"][1])
    try:
        graph = read_graph(Path(request["network"]), request["output"], size)
    except ModelError as error:
        fields = [error.code, *(" ".join(text.split()) for text in (error.message, error.hint))]
        print(json.dumps(fields), file=sys.stderr)  # noqa: T201 - the parent process reads it
        sys.exit(error.exit_code)
    if request["job"] == "describe":
        found = {
            "size": graph.size, "output": graph.output, "kind": graph.kind, "advice": graph.advice,
            "blocks": [asdict(block) for block, *_ in graph.taken],
        }  # fmt: skip
        (out / DESCRIPTION_FILE).write_text(json.dumps(found))
        return
    import numpy as np  # noqa: PLC0415 - see the module
    import openvino

    model = convert_graph(graph, Scaling(tuple(request["scale"]), tuple(request["offset"])))
    # What crashes OpenVINO is to crash here, and not in the process that trains.
    openvino.Core().compile_model(model, "CPU")([np.zeros((1, *graph.size, 3), np.uint8)])
    openvino.save_model(model, out / "model.xml", compress_to_fp16=False)
    (out / NORMALIZATION_FILE).write_text("null")


if __name__ == "__main__":
    main()
