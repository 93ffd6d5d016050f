"""An engine without a backbone, for tests: features follow from the pixels alone."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.spec import BackboneSpec
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.engines.threaded import ThreadedEngine
from tlcli.images.items import Decoder
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FakeEngine(ThreadedEngine["NDArray[np.float32]"]):
    """Noise seeded by the pixels, plus their mean level, so that bright and dark images can be told apart.

    Pass :meth:`open` wherever a function that opens an engine is taken, or an engine wherever one is taken. To count
    images or to fail, override :meth:`feature`.
    """

    def __init__(self, decoder: Decoder, blocks: Blocks) -> None:
        """Makes an engine whose features have these blocks."""
        super().__init__(decoder, lambda pixels: blocks.rounded(self.feature(pixels)), workers=2)
        self.blocks = blocks

    @classmethod
    def open(cls, spec: BackboneSpec, decoder: Decoder, progress: Progress = SILENT) -> "FakeEngine":  # noqa: ARG003
        """Takes the arguments of :func:`tlcli.engines.interface.open_engine`."""
        return cls(decoder, spec.row.blocks)

    def feature(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """uint8 [H, W, 3] -> float32 [W]; equal pixels always give equal features, and a layer the same in every
        pooling, as its map has one position."""
        digest = hashlib.sha256(pixels.tobytes()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        widths = {block.layer: block.width for block in self.blocks.all}
        layers = {layer: random.normal(0, 1, width) + pixels.mean() / 256 for layer, width in widths.items()}
        return np.concatenate([layers[block.layer] for block in self.blocks.all]).astype(np.float32)

    def maps(self) -> ThreadedEngine[FeatureMaps]:
        """Maps of one position: such features do not say where they come from."""

        def one_position(pixels: "NDArray[np.uint8]") -> FeatureMaps:
            row, pairs = self.feature(pixels), zip(self.blocks.all, self.blocks.slices, strict=True)
            return FeatureMaps(self.blocks, ({block.layer: row[place][None, None] for block, place in pairs},))

        return ThreadedEngine(self._decoder, one_position, workers=2)
