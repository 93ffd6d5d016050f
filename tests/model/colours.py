"""A model of colours in memory: red, green and blue images, an engine whose features are mean colours."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import tlcli
from tlcli.backbones.blocks import LAST, Blocks, one_block
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.engines.threaded import ThreadedEngine
from tlcli.heads.head import Head
from tlcli.images.decode import DECODER_VERSION
from tlcli.images.items import Decoder
from tlcli.images.preparation import Preparation
from tlcli.model.bundle import Bundle
from tlcli.model.manifest import FORMAT_VERSION, BundleManifest
from tlcli.model.predictor import Predictor
from tlcli.model.reference import Reference

COLOURS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250)}
BLOCKS = one_block(3)
PREPARATION = Preparation((16, 16), "squash")
HEAD = Head(8 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
TRAINING = ["red", "green", "blue", "red", "green", "blue"]


class ColourEngine(ThreadedEngine["NDArray[np.float32]"]):
    """Features are the mean colour, 0..1; the feature map has four positions."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder, lambda pixels: _maps(pixels).features(), workers=2)

    def maps(self) -> ThreadedEngine[FeatureMaps]:
        """See :meth:`tlcli.engines.interface.Engine.maps`."""
        return ThreadedEngine(self._decoder, _maps, workers=2)


def _maps(pixels: NDArray[np.uint8]) -> FeatureMaps:
    colours = (pixels.reshape(2, 8, 2, 8, 3).mean(axis=(1, 3)) / 255).astype(np.float32)
    return FeatureMaps(BLOCKS, ({LAST: colours},))


class ColourBundle(Bundle):
    """A bundle whose backbone gives the blocks of its head and no others."""

    @property
    def blocks(self) -> Blocks:
        """One, as wide as the head takes."""
        return one_block(len(self.head.weights))


def bundle(
    labels: tuple[str, ...] = tuple(COLOURS),
    head: Head = HEAD,
    reference: "NDArray[np.float32] | None" = None,
    limit: float = 2.0,
) -> Bundle:
    """A bundle that was never on disk.

    Args:
        labels: the classes.
        head: takes as many features as the engine gives.
        reference: features [6, D] of the training images; without them, the mean colours of ``TRAINING``.
        limit: cosine distance beyond which an image is out of distribution.
    """
    features = np.array([COLOURS[name] for name in TRAINING], np.float32) if reference is None else reference
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    manifest = BundleManifest.model_validate({
        "format_version": FORMAT_VERSION, "tlcli_version": tlcli.__version__, "labels": labels, "head_sha256": "0" * 64,
        "backbone": {
            "name": "mobilenet_v2", "weights": "random", "weights_sha256": "0" * 64, "inputs": ("last.avg",),
            "engine": "openvino", "precision": "f32",
        },
        "preparation": {"decoder_version": DECODER_VERSION, **vars(PREPARATION)}, "temperature": head.temperature,
        "reference": {"sha256": "0" * 64, "limit": limit},
    })  # fmt: skip
    numbers = np.arange(len(features)) % len(labels)
    names = tuple(f"{number}.png" for number in range(len(features)))
    return ColourBundle(manifest, head, Reference(features.astype(np.float16), numbers, names, limit))


def predictor(limit: float = 2.0) -> Predictor:
    """A predictor of the three colours."""
    return Predictor(bundle(limit=limit), ColourEngine(Decoder(PREPARATION)))


def colour(*names: str) -> NDArray[np.uint8]:
    """Pixels of one colour, or of two halves beside each other."""
    return np.concatenate([np.full((20, 20, 3), COLOURS[name], np.uint8) for name in names], axis=1)


def drawn(path: Path, *names: str) -> Path:
    """A file of one colour, or of two halves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colour(*names)).save(path)
    return path
