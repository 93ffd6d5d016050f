"""The interface of engines, which run backbones on undecoded items; :func:`open_engine` opens any of them.

Shapes: V views of an item, W the width of all blocks of its features.
"""

import pkgutil
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeVar

from tlcli.backbones.spec import BackboneSpec
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np  # noqa: F401 - in the base of Engine, as a string
    from numpy.typing import NDArray  # noqa: F401

    from tlcli.engines.feature_maps import FeatureMaps
    from tlcli.images.items import Decoder, Item


Result = TypeVar("Result")


class Runner(Protocol[Result]):
    """Something that computes undecoded items, with the decoder in front of it. Thread-safe."""

    window: int
    """The number of submitted items that keeps it busy."""

    def submit(self, item: "Item") -> "Future[list[Result]]":
        """Starts to decode and compute an item.

        Returns:
            a future of V results, of the item's views in their order. It never needs another item to finish, and raises
            what :meth:`tlcli.images.items.Decoder.views` raises.
        """
        ...

    def close(self) -> None:
        """Cancels items that have not started, waits for those at work, and frees the threads."""
        ...


class Engine(Runner["NDArray[np.float32]"], Protocol):
    """A backbone that is ready to run. A view's result is its features, float32 [W], all blocks of the backbone in
    their order, rounded as the store has them (:meth:`tlcli.backbones.blocks.Blocks.rounded`)."""

    def maps(self) -> "Runner[FeatureMaps]":
        """The same backbone, cut before its poolings; the caller closes it.

        Raises:
            ModelError: the converted network is damaged.
        """
        ...


def open_engine(spec: BackboneSpec, decoder: "Decoder", progress: Progress = SILENT) -> Engine:
    """Loads the backbone into its engine; converts it first if that was not done before.

    Raises:
        ModelError: the weights do not fit the backbone, or the engine is unavailable on this machine.
        ResourceError: the disk is full.
    """
    opened: Engine = pkgutil.resolve_name(f"tlcli.engines.{spec.engine.name}:open_engine")(spec, decoder, progress)
    return opened
