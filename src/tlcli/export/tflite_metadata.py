"""The metadata of a TFLite file (TFLite Metadata, schema M001), with the classes as an associated file.

Associated files are a ZIP archive behind the model: ``unzip model.tflite labels.txt``. Only the exporting process
imports flatbuffers and the schema of LiteRT.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER = b"M001"
_NAME = "TFLITE_METADATA"
_AXIS_LABELS, _IMAGE, _RGB = 2, 2, 1
"""Values of the schema's enumerations: labels of an axis, properties of an image, colour space."""


def with_metadata(model: bytes, description: str, labels: Mapping[str, tuple[str, Sequence[str]]]) -> bytes:
    """Adds metadata to a model.

    Args:
        model: a TFLite file.
        description: of the model.
        labels: by the name of an output of the signature, the name of the file of its classes and the classes.
    """
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    for one in parsed.buffers:
        if one.offset > 1:  # of large files and those of AI Edge Quantizer, which have them behind the model
            one.data = np.frombuffer(model, np.uint8, one.size, one.offset)
            one.offset = one.size = 0
    outputs = {one.tensorIndex: one.name.decode() for one in parsed.signatureDefs[0].outputs}
    names = [outputs[index] for index in parsed.subgraphs[0].outputs]
    buffer = schema.BufferT()
    buffer.data = list(_metadata(description, names, {name: file for name, (file, _) in labels.items()}))
    entry = schema.MetadataT()
    entry.name, entry.buffer = _NAME, len(parsed.buffers)
    parsed.buffers.append(buffer)
    parsed.metadata = [*(parsed.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + (1 << 16))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, classes in labels.values():
            file.writestr(name, "".join(f"{' '.join(one.split())}\n" for one in classes))
    return bytes(builder.Output()) + archive.getvalue()


def _metadata(description: str, outputs: Sequence[str], files: Mapping[str, str]) -> bytes:
    """A ``ModelMetadata``; numbers are the places of fields in the schema's tables."""
    builder = flatbuffers.Builder(1024)

    def table(fields: int, values: Mapping[int, Any], bytes_: Mapping[int, int]) -> Any:
        builder.StartObject(fields)
        for slot, offset in values.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, value in bytes_.items():
            builder.PrependInt8Slot(slot, value, 0)
        return builder.EndObject()

    def vector(offsets: Sequence[Any]) -> Any:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    properties = table(2, {}, {0: _RGB})
    content = table(3, {1: properties}, {0: _IMAGE})
    image = table(7, {0: builder.CreateString("image"), 3: content}, {})
    of_outputs = []
    for name in outputs:
        values = {0: builder.CreateString(name)}
        if name in files:
            values[6] = vector([table(5, {0: builder.CreateString(files[name])}, {2: _AXIS_LABELS})])
        of_outputs.append(table(7, values, {}))
    subgraph = table(10, {2: vector([image]), 3: vector(of_outputs)}, {})
    texts = {1: builder.CreateString(description), 7: builder.CreateString("1.0.0")}
    builder.Finish(table(8, {3: vector([subgraph]), **texts}, {}), _IDENTIFIER)
    return bytes(builder.Output())
