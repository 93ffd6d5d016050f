"""The interface of engines, which run backbones on undecoded items; :func:`open_engine` opens any of them.

Shapes: V views of an item, D features, h and w positions of the last feature map.
"""

import pkgutil
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from tlcli.backbones.spec import BackboneSpec
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.images.items import Decoder, Item


class Engine(Protocol):
    """A backbone that is ready to run, with the decoder in front of it. Thread-safe."""

    window: int
    """The number of submitted items that keeps it busy."""

    def submit(self, item: "Item") -> "Future[NDArray[np.float32]]":
        """Starts to decode and compute an item.

        Returns:
            a future of float32 [V, D], the features of the item's views in their order. It never needs another item to
            finish, and raises what :meth:`tlcli.images.items.Decoder.views` raises.
        """
        ...

    def maps(self) -> "Engine":
        """The same backbone, cut before its pooling; the caller closes it.

        Its futures give float32 [V, h, w, D]: the features that every position alone would give. Their mean over h and
        w is the image's feature, with either pooling (see :mod:`tlcli.engines.activation_maps`).

        Raises:
            ModelError: the converted network is damaged.
        """
        ...

    def close(self) -> None:
        """Cancels items that have not started, waits for those at work, and frees the threads."""
        ...


def open_engine(spec: BackboneSpec, decoder: "Decoder", progress: Progress = SILENT) -> Engine:
    """Loads the backbone into its engine; converts it first if that was not done before.

    Raises:
        ModelError: the weights do not fit the backbone, or the engine is unavailable on this machine.
        ResourceError: the disk is full.
    """
    opened: Engine = pkgutil.resolve_name(f"tlcli.engines.{spec.engine.name}:open_engine")(spec, decoder, progress)
    return opened
