"""A process on Keras's TensorFlow backend, which writes all artefacts that are made from a Keras model.

Importing this module is cheap; only ``main`` imports Keras.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.backbones.catalog import row_for
from tlcli.backbones.own_process import disk_needed, run_module
from tlcli.backbones.spec import BackboneSpec
from tlcli.export.formats import Wanted
from tlcli.export.heads import ExportedHead

_OPSET = 18


def write_from_keras(
    spec: BackboneSpec, heads: Sequence[ExportedHead], wanted: Sequence[Wanted], info: Mapping[str, str],
    files: Sequence[str], out: Path, work: Path,
) -> None:  # fmt: skip
    """Writes artefacts.

    Args:
        spec: the backbone, with the file of its weights.
        heads: one or several.
        wanted: which artefacts.
        info: for the metadata of ONNX.
        files: the file of each head's classes, for TFLite.
        out: the folder of the export.
        work: an existing folder for what is thrown away.

    Raises:
        ModelError: a library failed.
    """
    arrays = work / "heads.npz"
    of_heads = {f"{number}/{name}": one for number, head in enumerate(heads) for name, one in head.arrays().items()}
    np.savez(arrays, **of_heads)  # type: ignore[arg-type]
    weights = spec.weights
    request = {
        "name": spec.row.name,
        "layout": weights.layout,
        "size": spec.size,
        "weights": str(weights.file),
        "tail": str(weights.tail.path) if weights.tail else None,
        "arrays": str(arrays),
        "heads": [
            {"prefix": f"{head.name}_" if head.name else "", "inputs": head.inputs, "labels": head.labels, "file": file}
            for head, file in zip(heads, files, strict=True)
        ],
        "wanted": [[one.format.name, one.precision, str(out / one.path)] for one in wanted],
        "info": dict(info),
        "out": str(out),
    }
    path = work / "request.json"  # a thousand classes are too long for an argument
    path.write_text(json.dumps(request))
    environment = {
        "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1",
    }  # fmt: skip
    run_module(
        "tlcli.export.keras_process", {"request": str(path), "out": str(out)}, environment,
        f"Exporting {spec.row.name}", disk_needed(spec.row.name),
    )  # fmt: skip


def main() -> None:
    """The separate process: writes what its argument says."""
    request = json.loads(Path(json.loads(sys.argv[1])["request"]).read_text())
    from tlcli.backbones import build  # noqa: PLC0415 - imports Keras
    from tlcli.export.keras_model import build_model  # noqa: PLC0415

    tail = Path(request["tail"]) if request["tail"] else None
    row = row_for(request["name"], request["layout"])
    network = build.build(row, tuple(request["size"]), Path(request["weights"]), tail)
    with np.load(request["arrays"]) as loaded:
        heads = [
            (one["prefix"], one["inputs"],
             {key.partition("/")[2]: loaded[key] for key in loaded.files if key.partition("/")[0] == str(number)})
            for number, one in enumerate(request["heads"])
        ]  # fmt: skip
    model = build_model(network, request["size"], heads)
    with tempfile.TemporaryDirectory(dir=request["out"]) as folder:
        shapes = [shape for _, _, arrays in heads for one in arrays.values() for shape in (one.shape, one.shape[::-1])]
        _Writer(model, request, Path(folder), shapes).write_all()


class _Writer:
    """Writes one model in all formats; what several start from is written once."""

    def __init__(
        self, model: Any, request: Mapping[str, Any], work: Path, of_heads: list[tuple[int, ...]]
    ) -> None:  # fmt: skip
        self._model, self._request, self._work, self._of_heads = model, request, work, of_heads

    def write_all(self) -> None:
        self._model(np.zeros((1, *self._request["size"], 3), np.uint8), training=False)  # ONNX needs a first call
        writers = {"keras": self._keras, "saved_model": self._saved_model, "onnx": self._onnx, "tflite": self._tflite}
        for name, precision, path in self._request["wanted"]:
            target = Path(path)
            (target if name == "saved_model" else target.parent).mkdir(parents=True, exist_ok=True)
            writers[name](precision, target)

    def _keras(self, _: str, path: Path) -> None:
        self._model.save(path)

    def _saved_model(self, _: str, path: Path) -> None:
        """As ``model.export`` of Keras 3.15 does, which writes every weight twice: as Keras' variable, and as what the
        function uses."""
        import tensorflow as tf

        given = tf.TensorSpec((None, *self._request["size"], 3), tf.uint8, "image")
        module = tf.Module()
        module.serve = tf.function(
            lambda image: self._model(image, training=False), input_signature=[given], autograph=False
        )
        function = module.serve.get_concrete_function()
        module.used = list(function.variables)
        tf.saved_model.save(module, str(path), signatures={"serve": function, "serving_default": function})

    def _onnx(self, precision: str, path: Path) -> None:
        from tlcli.export.onnx_file import add_metadata, write_half, write_int8  # noqa: PLC0415 - imports onnx

        plain = self._work / "model.onnx"
        if not plain.is_file():
            self._model.export(str(plain), format="onnx", verbose=False, opset_version=_OPSET)
        if precision == "f16":
            write_half(plain, path)
        elif precision == "int8":
            write_int8(plain, path, self._of_heads)
        else:
            path.write_bytes(plain.read_bytes())
        add_metadata(path, self._request["info"])

    def _tflite(self, precision: str, path: Path) -> None:
        import tensorflow as tf

        from tlcli.export.tflite_metadata import with_metadata  # noqa: PLC0415 - imports LiteRT

        saved = self._work / "saved"
        if not saved.is_dir():
            self._saved_model("f32", saved)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        if precision == "f16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        model = converter.convert()
        if precision == "int8":
            from tlcli.export.tflite_int8 import quantised  # noqa: PLC0415 - imports LiteRT

            model = quantised(model, self._work)
        heads = self._request["heads"]
        labels = {f"{one['prefix']}probabilities": (one["file"], one["labels"]) for one in heads}
        path.write_bytes(with_metadata(model, "Image classifier, trained by tlcli", labels))


if __name__ == "__main__":
    main()
