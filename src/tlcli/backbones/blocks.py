"""The features of a backbone in named blocks: each layer pooled over its positions, in two ways.

One pass computes all blocks of an image; which of them a head takes is decided afterwards.
Shapes: W is the width of all blocks together, T the number of tiles of an image.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pooling = Literal["avg", "max", "cls", "mean_tokens", "none"]
"""avg, max: over the positions of a feature map. cls, mean_tokens: of a transformer's tokens, the first, or the mean of
those that stand for parts of the image. none: the map itself, which fine-tuning starts from."""
LAST = "last"
"""The name of the last layer, the one that the published classifier takes; earlier ones are stage1, stage2, ..."""
MAP = "map"
"""The name of the feature map at a cut, as an output of the network without its last blocks."""
_LARGEST = 65504.0
"""The largest float16."""


@dataclass(frozen=True)
class Block:
    """One layer, pooled in one way."""

    layer: str
    pooling: Pooling
    width: int
    """Channels of the layer."""

    @property
    def name(self) -> str:
        """Such as ``stage3.avg``."""
        return f"{self.layer}.{self.pooling}"

    @property
    def map_name(self) -> str:
        """The name of the map that is pooled: the layer's; a class token is none of its positions."""
        return self.name if self.pooling == "cls" else self.layer

    @property
    def is_exact(self) -> bool:
        """Kept as float32, as the last layer's average is; all others are rounded to float16 (bench/layers.py: no
        prediction changes)."""
        return self.layer == LAST and self.pooling != "max"


@dataclass(frozen=True)
class Blocks:
    """Blocks in the order of a row: float32 [W]."""

    all: tuple[Block, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the blocks."""
        return tuple(block.name for block in self.all)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, from the first to the last."""
        return tuple(dict.fromkeys(block.layer for block in self.all))

    @property
    def widths(self) -> tuple[int, ...]:
        """Their widths."""
        return tuple(block.width for block in self.all)

    @property
    def width(self) -> int:
        """W."""
        return sum(self.widths)

    @property
    def stored_bytes(self) -> int:
        """Bytes of a row in the store."""
        return sum(block.width * (4 if block.is_exact else 2) for block in self.all)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each block stands in a row."""
        ends = [sum(self.widths[: number + 1]) for number in range(len(self.all))]
        return tuple(slice(end - block.width, end) for end, block in zip(ends, self.all, strict=True))

    @cached_property
    def _inexact(self) -> tuple[slice, ...]:
        """Where blocks that are not exact stand, neighbours joined: few operations for each image."""
        found: list[slice] = []
        for block, place in zip(self.all, self.slices, strict=True):
            if block.is_exact:
                continue
            if found and found[-1].stop == place.start:
                found[-1] = slice(found[-1].start, place.stop)
            else:
                found.append(place)
        return tuple(found)

    def select(self, layers: Iterable[str], poolings: Iterable[Pooling]) -> "Blocks":
        """The blocks of these layers and poolings, in this order of rows."""
        kept, ways = set(layers), set(poolings)
        return Blocks(tuple(block for block in self.all if block.layer in kept and block.pooling in ways))

    def named(self, names: Iterable[str]) -> "Blocks":
        """The blocks of these names, in the order of rows."""
        kept = set(names)
        return Blocks(tuple(block for block in self.all if block.name in kept))

    @property
    def last(self) -> "Blocks":
        """The last layer's average, which images are compared by whatever the head takes: it stands for what an image
        shows, so that near duplicates and strangers are the same for every choice of layers."""
        return Blocks(tuple(block for block in self.all if block.is_exact)[:1])

    def take(self, rows: "NDArray[np.float32]", wanted: "Blocks") -> "NDArray[np.float32]":
        """Rows of all blocks [..., W] -> those of ``wanted`` only."""
        import numpy as np  # noqa: PLC0415 - see the module

        if wanted == self:
            return rows
        names = set(wanted.names)
        parts = [rows[..., place] for block, place in zip(self.all, self.slices, strict=True) if block.name in names]
        return np.concatenate(parts, axis=-1)

    def rounded(self, row: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """A row as the store has it: in place, blocks that are not exact rounded to float16.

        Engines round what they compute, so that an image has equal features in training and in prediction.
        """
        import numpy as np  # noqa: PLC0415 - see the module

        for place in self._inexact:
            row[place] = np.clip(row[place], -_LARGEST, _LARGEST).astype(np.float16)
        return row

    def over_tiles(self, rows: "Sequence[NDArray[np.float32]]") -> "NDArray[np.float32]":
        """The rows of an image's T tiles -> the row of the image: maxima of maxima, means of all else."""
        import numpy as np  # noqa: PLC0415 - see the module

        if len(rows) == 1:
            return rows[0]
        stacked = np.stack(rows)  # [T, W]
        pooled = np.asarray(stacked.mean(axis=0, dtype=np.float64), np.float32)
        for block, place in zip(self.all, self.slices, strict=True):
            if block.pooling == "max":
                pooled[place] = stacked[:, place].max(axis=0)
        return pooled


def one_block(width: int) -> Blocks:
    """The blocks of features that come from one layer, pooled in one way."""
    return Blocks((Block(LAST, "avg", width),))


def blocks_of(widths: Sequence[int], last: int) -> Blocks:
    """The blocks of a convolutional network.

    Args:
        widths: channels of the ends of its stages.
        last: channels of its last layer.
    """
    layers = [*((f"stage{number}", width) for number, width in enumerate(widths, 1)), (LAST, last)]
    poolings: tuple[Pooling, ...] = ("avg", "max")
    return Blocks(tuple(Block(layer, pooling, width) for layer, width in layers for pooling in poolings))
