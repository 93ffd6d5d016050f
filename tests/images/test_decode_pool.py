"""Decoding ahead in threads and in processes: the same pixels and errors, and what a process that dies leaves."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlcli.errors import DataError
from tlcli.images.augmentation import Augmentation, view_names
from tlcli.images.decode import BadImageError
from tlcli.images.decode_pool import DecodePool, kind_for
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation

AUGMENTATION = Augmentation("horizontal", rotation=20)
DECODER = Decoder(Preparation((24, 32), "squash"), AUGMENTATION)


def drawn(encode: Any, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    data: bytes = encode(Image.fromarray(pixels))
    return data


@pytest.fixture(params=["threads", "processes"])
def pool(request: pytest.FixtureRequest) -> Iterator[DecodePool]:
    with closing(DecodePool(DECODER, 2, request.param)) as made:
        yield made


def test_many_workers_are_processes() -> None:
    assert [kind_for(count) for count in (1, 4, 5, 16)] == ["threads", "threads", "processes", "processes"]


def test_pixels_and_errors_are_those_of_the_decoder(pool: DecodePool, tmp_path: Path, encode: Any) -> None:
    views = tuple(view_names(3, AUGMENTATION))
    good = [Item(drawn(encode, level), views=views) for level in range(12)]
    (tmp_path / "broken.png").write_bytes(drawn(encode, 1)[:60])
    futures = [pool.submit(item) for item in good]
    broken, changed = pool.submit(Item(tmp_path / "broken.png")), pool.submit(Item(drawn(encode, 3), "0" * 64))
    gone = pool.submit(Item(tmp_path / "gone.png"))
    for item, future in zip(good, futures, strict=True):
        right, found = DECODER.views(item), future.result()
        assert len(found) == 4
        assert all(np.array_equal(one, other) for one, other in zip(found, right, strict=True))
        assert all(one.dtype == np.uint8 for one in found)
    with pytest.raises(BadImageError):
        broken.result()
    with pytest.raises(DataError) as caught:
        changed.result()
    assert caught.value.code == "data.file_changed"
    with pytest.raises(BadImageError) as missing:
        gone.result()
    assert isinstance(missing.value.__cause__, FileNotFoundError)


def test_a_process_that_dies_is_replaced(encode: Any) -> None:
    with closing(DecodePool(DECODER, 1, "processes")) as pool:
        before = pool.submit(Item(drawn(encode, 5))).result()
        os.kill(pool._started[0]._process.pid, signal.SIGKILL)
        assert np.array_equal(pool.submit(Item(drawn(encode, 5))).result()[0], before[0])
        (worker,) = pool._started
    assert worker._process.returncode is not None


def test_an_image_that_always_ends_its_process_is_unreadable(monkeypatch: pytest.MonkeyPatch, encode: Any) -> None:
    def die(worker: Any, item: Item) -> None:
        raise EOFError

    monkeypatch.setattr("tlcli.images.decode_pool._Worker.views", die)
    with closing(DecodePool(DECODER, 1, "processes")) as pool:
        with pytest.raises(BadImageError) as caught:
            pool.submit(Item(drawn(encode, 5))).result()
        assert pool._started == []
    assert caught.value.code == "image.decoder_died"
