"""The feature maps that fine-tuning starts from, computed once: those of the backbone without its last blocks.

They are stored like features: append-only shards, keyed by content.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.conversion import convert_trunk
from tlcli.backbones.graph import ConvertedGraph
from tlcli.backbones.spec import BackboneSpec
from tlcli.datasets.index import LabelledImage
from tlcli.features.key import feature_key
from tlcli.features.pipeline import Extraction, Wanted, extract
from tlcli.features.store import Store, row_key
from tlcli.images.items import Decoder
from tlcli.progress import SILENT, Progress

_SHARD_BYTES = 32 << 20
"""Of activations in a shard: a killed process loses no more."""


@dataclass(frozen=True)
class Activations:
    """What the last blocks of a backbone are computed from, for any view of any image."""

    spec: BackboneSpec
    decoder: Decoder
    blocks: int
    """How many of the backbone's last blocks are not computed."""
    graph: ConvertedGraph
    store: Store
    """A row holds the feature map at the cut, and the blocks of features that are computed before it."""

    @classmethod
    def open(cls, spec: BackboneSpec, decoder: Decoder, blocks: int, progress: Progress = SILENT) -> "Activations":
        """Cuts the backbone, and opens the store.

        Args:
            spec: the backbone.
            decoder: of its images.
            blocks: how many of its last blocks are left out.
            progress: receives the conversion.

        Raises:
            ModelError: the backbone cannot be cut there, or its weights do not fit it.
            ResourceError: the disk is full.
        """
        from tlcli.engines.openvino import trunk_blocks  # noqa: PLC0415 - a wrong config is reported before

        graph = convert_trunk(spec, blocks, progress)
        whole = feature_key(spec, decoder.preparation)
        key = hashlib.sha256(json.dumps([whole, "without", blocks]).encode()).hexdigest()
        return cls(spec, decoder, blocks, graph, Store(key, trunk_blocks(graph, spec.row), progress))

    @property
    def row_blocks(self) -> Blocks:
        """What a row of the store holds."""
        return self.store.blocks

    def extract(self, wanted: Wanted, progress: Progress = SILENT) -> Extraction:
        """Makes the store hold these views of these images; see :func:`tlcli.features.pipeline.extract`."""
        from tlcli.engines.openvino import open_trunk  # noqa: PLC0415 - the same

        rows = max(1, _SHARD_BYTES // self.row_blocks.stored_bytes)
        precision = "f32" if self.spec.engine.precision == "f16" else self.spec.engine.precision  # f16: a GPU's
        return extract(
            wanted, self.decoder, self.store,
            lambda: open_trunk(self.graph, self.row_blocks, precision, self.decoder), progress,
            shard_rows=rows,
        )  # fmt: skip

    def missing_bytes(self, wanted: Wanted) -> int:
        """Bytes that extraction would add to the store."""
        keys = {row_key(image.sha256, view) for images, views in wanted for image in images for view in views}
        return self.row_blocks.stored_bytes * sum(key not in self.store for key in keys)


def row_keys(images: Sequence[LabelledImage], views: Sequence[str]) -> list[bytes]:
    """Keys of the rows, view after view."""
    return [row_key(image.sha256, view) for view in views for image in images]
