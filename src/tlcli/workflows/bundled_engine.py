"""The engine that a bundle's head sits on, from the cache where it is there."""

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.conversion import Exported, cached_export, exported
from tlcli.backbones.weights import find_weights
from tlcli.engines.compiled import Compiled
from tlcli.engines.interface import MapEngine, Precision
from tlcli.engines.openvino import OpenVINOEngine, has_bf16
from tlcli.model.manifest import BundleManifest as Manifest
from tlcli.progress import Progress


def at_hand(manifest: Manifest, ready: Compiled | None) -> bool:
    """Whether :func:`opened` takes but a moment: nothing is to be downloaded, converted or compiled."""
    usable = manifest.backbone.precision != "bf16" or has_bf16()
    return ready is not None and ready.is_as_written and usable


def opened(manifest: Manifest, ready: Compiled | None, few: bool, progress: Progress) -> MapEngine:
    """OpenVINO whichever engine trained: their features agree (cosine above 0.999), and it starts 15 times faster.

    Args:
        manifest: names the backbone, its weights and the precision.
        ready: what the cache has of it, checked.
        few: for a few images only.
        progress: told where other arithmetic than in training must do.

    Raises:
        ModelError, NetworkError: the backbone's weights are not to be had.
    """
    precision: Precision = manifest.backbone.precision
    if precision == "int8":
        if ready is not None:
            return OpenVINOEngine(ready)
        precision = "bf16" if has_bf16() else "f32"
        progress.note(
            f"The quantised backbone of this run is not in the cache of this machine: {precision} is used, answers may "
            "differ slightly; evaluate makes it again where the training images are."
        )
    elif precision == "bf16" and not has_bf16():
        progress.note("This processor has no bfloat16 arithmetic: float32 is used, answers may differ slightly.")
        precision = "f32"
    if ready is None or ready.precision != precision:
        ready = Compiled(_converted(manifest, progress), precision, few)
    return OpenVINOEngine(ready)


def _converted(manifest: Manifest, progress: Progress) -> Exported:
    row, record, size = CATALOG[manifest.backbone.name], manifest.backbone, manifest.preparation.size
    if found := cached_export(row, size, record.pooling, record.weights_sha256):
        return found
    weights = find_weights(row, record.weights, progress)
    manifest.check_weights(weights)
    return exported(row, size, record.pooling, weights, progress)
