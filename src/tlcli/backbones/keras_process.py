"""A process on Keras's OpenVINO backend, which builds networks without TensorFlow; Keras fixes its backend at import.

Importing this module is cheap; only ``main`` imports Keras.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tlcli.backbones.blocks import MAP
from tlcli.backbones.catalog import CATALOG, row_for
from tlcli.backbones.graph import NORMALIZATION_FILE
from tlcli.backbones.own_process import disk_needed, run_module
from tlcli.errors import ModelError
from tlcli.system.lazy import start_keras_on_openvino


def run_job(request: dict[str, object], name: str) -> None:
    """Runs one job in a separate process.

    Args:
        request: ``job`` is ``convert`` (with name, layout, size, weights, tail, out, and ``blocks`` for the network
            without so many of its last blocks) or ``random`` (with name, seed, out).
        name: the backbone, for messages.

    Raises:
        ModelError: the weights do not fit the network, or the process failed.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    run_module("tlcli.backbones.keras_process", request, environment, f"Converting {name}", disk_needed(name))


def main() -> None:
    """The separate process: runs the one job that its argument describes."""
    request = json.loads(sys.argv[1])
    start_keras_on_openvino()
    from tlcli.backbones import build  # noqa: PLC0415 - imports Keras

    if request["job"] == "random":
        row = CATALOG[request["name"]]
        build.save_random_weights(row, Path(request["out"]), request["seed"])
        return
    row = row_for(request["name"], request["layout"])
    try:
        tail = Path(request["tail"]) if request["tail"] else None
        network = build.build(row, tuple(request["size"]), Path(request["weights"]), tail)
        split = network.split(request["blocks"]) if "blocks" in request else None
    except ModelError as error:
        fields = [error.code, *(" ".join(text.split()) for text in (error.message, error.hint))]
        print(json.dumps(fields), file=sys.stderr)  # noqa: T201 - the parent process reads it
        sys.exit(error.exit_code)
    out = Path(request["out"])
    if split is not None:
        _write_graph(split.trunk, out, request["size"], (MAP, *split.before.names))
        (out / NORMALIZATION_FILE).write_text("null")
        return
    _write_graph(network.features(), out, request["size"], row.blocks.names)
    (out / NORMALIZATION_FILE).write_text(json.dumps(network.normalization()))


def _write_graph(model: object, out: Path, size: Sequence[int], outputs: Sequence[str]) -> None:
    """Writes model.xml and model.bin for one image of bytes; the fixed shape lets OpenVINO cache the compiled graph."""
    import openvino

    from tlcli.backbones.side_outputs import separate  # noqa: PLC0415 - imports OpenVINO
    from tlcli.backbones.transposes import remove_transposes  # noqa: PLC0415 - the same

    raw = out / "raw.xml"
    model.export(str(raw), format="openvino", verbose=False)  # type: ignore[attr-defined]
    graph = openvino.Core().read_model(raw)
    graph.reshape([1, *size, 3])
    steps = openvino.preprocess.PrePostProcessor(graph)
    steps.input().tensor().set_element_type(openvino.Type.u8)
    graph = steps.build()
    remove_transposes(graph)
    for output, name in zip(graph.outputs, outputs, strict=True):
        output.get_tensor().set_names({name})
    separate(graph)
    openvino.save_model(graph, out / "model.xml", compress_to_fp16=False)
    for suffix in (".xml", ".bin"):
        raw.with_suffix(suffix).unlink()


if __name__ == "__main__":
    main()
