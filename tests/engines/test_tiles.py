"""Engines pool over tiles: the row of an image is that of its tiles, combined by hand."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import find_weights
from tlcli.engines.interface import Engine, open_engine
from tlcli.images.augmentation import Augmentation, view_names
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.images.tiles import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.e2e

ROW = CATALOG["mobilenet_v2"]
TILE = (32, 48)
AUGMENTATION = Augmentation(flip="both", rotation=20)
IMAGES = [np.random.default_rng(n).integers(0, 256, (70 + 20 * n, 150, 3), np.uint8) for n in range(3)]


def opened(name: str, preparation: Preparation) -> Engine:
    weights = find_weights(ROW, "random")
    return open_engine(
        BackboneSpec(ROW, TILE, weights, EngineChoice(name, "f32", "")), Decoder(preparation, AUGMENTATION)
    )


def rows(engine: Engine, item: Item) -> "list[NDArray[np.float32]]":
    return engine.submit(item).result()


@pytest.mark.parametrize("name", ["openvino", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_row_is_that_of_its_tiles(name: str, session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(session_cache))
    native, plain = Preparation(TILE, "crop", tiles="native"), Preparation(TILE, "squash")
    views = tuple(view_names(1, AUGMENTATION))
    with closing(opened(name, native)) as tiled, closing(opened(name, plain)) as whole:
        waiting = [tiled.submit(Item(pixels, views=views)) for pixels in IMAGES]
        for pixels, future in zip(IMAGES, waiting, strict=True):
            canvases = Decoder(native, AUGMENTATION).views(Item(pixels, views=views))
            assert len(cut(canvases[0], TILE)) > 6
            for canvas, row in zip(canvases, future.result(), strict=True):
                each = [rows(whole, Item(np.ascontiguousarray(tile)))[0] for tile in cut(canvas, TILE)]
                by_hand = ROW.blocks.rounded(ROW.blocks.over_tiles(each))
                assert np.abs(row - by_hand).max() < 2e-3 * np.abs(by_hand).max()
        with closing(tiled.maps()) as maps:
            (found,) = maps.submit(Item(IMAGES[0])).result()
        assert len(found.tiles) == len(cut(IMAGES[0], TILE))
        (row,) = rows(tiled, Item(IMAGES[0]))
        assert np.abs(found.features() - row).max() < 2e-3 * np.abs(row).max()
