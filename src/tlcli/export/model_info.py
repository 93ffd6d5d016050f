"""What OpenVINO's Model API reads of a model: the keys below ``model_info``, in an IR as ``rt_info``, in ONNX as
metadata (``model_info labels``)."""

from tlcli.export.formats import InputKind
from tlcli.export.heads import ExportedHead
from tlcli.images.preparation import Preparation

_RESIZE = {"squash": "standard", "pad": "fit_to_window_letterbox", "crop": "crop"}
_INTERPOLATION = {"bicubic": "CUBIC", "bilinear": "LINEAR", "nearest": "NEAREST", "lanczos": "CUBIC"}


def model_info(head: ExportedHead, preparation: Preparation, input_kind: InputKind) -> dict[str, str]:
    """The values of Model API, all as texts.

    Its resizing is that of training where that is ``squash``; of ``crop`` it keeps the whole shorter side. What it
    decides is the most probable class; ``thresholds`` and ``distance_limit`` are read by nothing but people.

    Args:
        head: whose labels it gives.
        preparation: of the images.
        input_kind: whether the model itself resizes.
    """
    height, width = preparation.size
    found = {
        "model_type": "Classification",
        "labels": " ".join("_".join(label.split()) or "_" for label in head.labels),
        "topk": "1",
        "confidence_threshold": "0.0",
        "output_raw_scores": "True",
        "multilabel": "False",
        "hierarchical": "False",
        "embedded_processing": str(input_kind == "any"),
        "resize_type": _RESIZE[preparation.resize],
        "interpolation_mode": _INTERPOLATION[preparation.interpolation],
        "pad_value": str(preparation.background[0]),
        "reverse_input_channels": "False",
        "orig_width": str(width),
        "orig_height": str(height),
        "distance_limit": f"{head.limit:.9g}",
    }
    if head.thresholds:
        found["thresholds"] = " ".join(f"{one:.9g}" for one in head.thresholds)
    return found
