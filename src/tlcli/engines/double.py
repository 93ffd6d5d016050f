"""An engine without a backbone, for tests: features follow from the pixels alone."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.spec import BackboneSpec
from tlcli.engines.threaded import ThreadedEngine
from tlcli.images.items import Decoder
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FakeEngine(ThreadedEngine):
    """Noise seeded by the pixels, plus their mean level, so that bright and dark images can be told apart.

    Pass :meth:`open` wherever a function that opens an engine is taken, or an engine wherever one is taken. To count
    images or to fail, override :meth:`feature`.
    """

    def __init__(self, decoder: Decoder, width: int) -> None:
        """Makes an engine whose features are float32 [``width``]."""
        super().__init__(decoder, self.feature, workers=2)
        self.width = width

    @classmethod
    def open(cls, spec: BackboneSpec, decoder: Decoder, progress: Progress = SILENT) -> "FakeEngine":  # noqa: ARG003
        """Takes the arguments of :func:`tlcli.engines.interface.open_engine`."""
        return cls(decoder, spec.row.features)

    def feature(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """uint8 [S, S, 3] -> float32 [D]; equal pixels always give equal features."""
        digest = hashlib.sha256(pixels.tobytes()).digest()
        noise = np.random.default_rng(int.from_bytes(digest[:8], "little")).normal(0, 1, self.width)
        feature: NDArray[np.float32] = (noise + pixels.mean() / 256).astype(np.float32)
        return feature
