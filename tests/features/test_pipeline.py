import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tlcli.backbones.blocks import one_block
from tlcli.datasets.index import LabelledImage
from tlcli.engines.threaded import ThreadedEngine
from tlcli.errors import DataError, ResourceError
from tlcli.features import pipeline as module
from tlcli.features.pipeline import Extraction, extract
from tlcli.features.store import Store, row_key
from tlcli.images.augmentation import Augmentation, augment, view_names
from tlcli.images.decode import prepare
from tlcli.images.items import Decoder
from tlcli.images.preparation import Preparation
from tlcli.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREPARATION = Preparation((8, 8), "squash")
NO_CHANGE = Augmentation()
PLAIN = view_names(0, NO_CHANGE)


class Averages(ThreadedEngine["NDArray[np.float32]"]):
    """An engine whose feature is the mean level of each channel."""

    def __init__(self, augmentation: Augmentation = NO_CHANGE, fails_after: int | None = None) -> None:
        super().__init__(Decoder(PREPARATION, augmentation), self.average, workers=1)
        self.seen = 0
        self.fails_after = fails_after

    def average(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        assert pixels.shape == (8, 8, 3)
        assert pixels.dtype == np.uint8
        if self.seen == self.fails_after:
            raise RuntimeError("the engine failed")
        self.seen += 1
        feature: NDArray[np.float32] = pixels.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
        return feature


class Counting(Progress):
    def __init__(self) -> None:
        self.advanced = 0

    def advance(self, steps: int = 1) -> None:
        self.advanced += steps


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    return Store("a" * 64, one_block(3))


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], LabelledImage]:
    """Writes the n-th image: noise of its own, in a file of its own."""

    def make_one(number: int) -> LabelledImage:
        pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3)).astype(np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        return indexed(path)

    return make_one


def indexed(path: Path) -> LabelledImage:
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    return LabelledImage(path, path.name, sha, "label", "train", sha)


def run(
    images: Sequence[LabelledImage],
    store: Store,
    engine: Averages | None = None,
    views: Sequence[str] = PLAIN,
    augmentation: Augmentation = NO_CHANGE,
    progress: Progress | None = None,
) -> Extraction:
    """Extracts; without an engine, opening one is an error."""

    def open_engine() -> Averages:
        assert engine is not None, "the engine was opened"
        return engine

    decoder = Decoder(PREPARATION, augmentation)
    return extract([(images, views)], decoder, store, open_engine, progress or Progress())


def expected(one: LabelledImage, view: str = "0", augmentation: Augmentation = NO_CHANGE) -> "NDArray[np.float32]":
    pixels = augment(prepare(one.path.read_bytes(), PREPARATION), view, one.sha256, augmentation)
    mean: NDArray[np.float32] = pixels.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return mean


def key(one: LabelledImage, view: str = "0") -> bytes:
    return row_key(one.sha256, view)


def shards(store: Store) -> int:
    return len(list(store.folder.glob("*.safetensors")))


def test_every_image_gets_the_feature_of_its_own_pixels(store: Store, make: Callable[[int], LabelledImage]) -> None:
    images = [make(number) for number in range(20)]
    progress = Counting()
    assert run(images, store, Averages(), progress=progress) == Extraction(computed=20, reused=0, bad={})
    for one in images:
        assert np.array_equal(store.read([key(one)])[0], expected(one))
    assert progress.advanced == 20


def test_a_second_run_computes_nothing_and_opens_no_engine(store: Store, make: Callable[[int], LabelledImage]) -> None:
    images = [make(number) for number in range(5)]
    run(images, store, Averages())
    assert run(images, store) == Extraction(computed=0, reused=5, bad={})
    assert run(images, Store("a" * 64, one_block(3))) == Extraction(computed=0, reused=5, bad={})


def test_two_images_more_are_two_computed(store: Store, make: Callable[[int], LabelledImage]) -> None:
    run([make(number) for number in range(5)], store, Averages())
    engine = Averages()
    images = [make(number) for number in range(7)]
    assert run(images, store, engine) == Extraction(computed=2, reused=5, bad={})
    assert engine.seen == 2
    assert np.array_equal(store.read([key(images[6])])[0], expected(images[6]))


def test_copies_are_computed_once(store: Store, make: Callable[[int], LabelledImage], tmp_path: Path) -> None:
    one = make(0)
    copy = tmp_path / "copy.png"
    copy.write_bytes(one.path.read_bytes())
    engine = Averages()
    assert run([one, indexed(copy), one], store, engine) == Extraction(computed=1, reused=0, bad={})
    assert engine.seen == 1


def test_every_view_is_a_row_of_its_own(store: Store, make: Callable[[int], LabelledImage]) -> None:
    augmentation = Augmentation("horizontal", rotation=30, brightness=0.3)
    views = view_names(3, augmentation)
    images = [make(number) for number in range(3)]
    found = run(images, store, Averages(augmentation), views, augmentation)
    assert found == Extraction(computed=12, reused=0, bad={})
    rows = [expected(one, view, augmentation) for one in images for view in views]
    assert np.array_equal(store.read(key(one, view) for one in images for view in views), np.stack(rows))
    assert len({row.tobytes() for row in rows}) == 12


def test_only_the_views_that_are_missing_are_computed(store: Store, make: Callable[[int], LabelledImage]) -> None:
    augmentation = Augmentation(rotation=30)
    images = [make(number) for number in range(3)]
    run(images, store, Averages())
    views = view_names(2, augmentation)
    assert run(images, store, Averages(augmentation), views, augmentation) == Extraction(computed=6, reused=3, bad={})
    more = view_names(3, augmentation)
    assert run(images, store, Averages(augmentation), more, augmentation) == Extraction(computed=3, reused=9, bad={})


def test_what_is_wanted_of_several_lists_is_one_pass_of_one_engine(
    make: Callable[[int], LabelledImage], store: Store
) -> None:
    """The training images in all views, and the validation images, plain; one image lies in both."""
    turned = Augmentation(rotation=30)
    images, views = [make(number) for number in range(6)], view_names(2, turned)
    opened: list[Averages] = []

    def open_engine() -> Averages:
        opened.append(Averages(turned))
        return opened[-1]

    wanted = [(images[:3], views), (images[2:], views[:1])]
    done = extract(wanted, Decoder(PREPARATION, turned), store, open_engine)
    assert done == Extraction(computed=3 * 3 + len(images) - 3, reused=0, bad={})
    assert len(opened) == 1
    for one in images[:3]:
        for view in views:
            assert np.array_equal(store.read([key(one, view)])[0], expected(one, view, turned))
    assert all(key(one) in store for one in images)
    assert extract(wanted, Decoder(PREPARATION, turned), store, open_engine).computed == 0


def test_a_broken_image_is_reported_and_the_others_are_computed(
    store: Store, make: Callable[[int], LabelledImage], tmp_path: Path
) -> None:
    images = [make(number) for number in range(6)]
    text, cut, gone = tmp_path / "text.png", tmp_path / "cut.png", make(99)
    text.write_text("no image")
    cut.write_bytes(make(50).path.read_bytes()[:200])
    broken = [indexed(text), indexed(cut), gone]
    gone.path.unlink()
    found = run([broken[0], *images[:3], broken[1], *images[3:], broken[2]], store, Averages())
    assert found.computed == 6
    assert found.reused == 0
    assert list(found.bad) == [one.sha256 for one in broken]
    assert all(found.bad.values())
    for one in images:
        assert np.array_equal(store.read([key(one)])[0], expected(one))
    assert all(key(one) not in store for one in broken)


def test_broken_images_alone_open_no_engine(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("no image")
    one = indexed(path)
    found = run([one], store, views=view_names(2, Augmentation(rotation=5)))
    assert found.computed == 0
    assert list(found.bad) == [one.sha256]
    assert shards(store) == 0


def test_no_images_are_no_work(store: Store) -> None:
    assert run([], store) == Extraction(computed=0, reused=0, bad={})


@pytest.mark.parametrize("finished", [0, 1, 7])
def test_what_was_computed_before_the_engine_failed_is_kept(
    store: Store, make: Callable[[int], LabelledImage], finished: int
) -> None:
    images = [make(number) for number in range(12)]
    with pytest.raises(RuntimeError, match="the engine failed"):
        run(images, store, Averages(fails_after=finished))
    again = Store("a" * 64, one_block(3))
    assert [key(one) in again for one in images] == [True] * finished + [False] * (12 - finished)
    for one in images[:finished]:
        assert np.array_equal(again.read([key(one)])[0], expected(one))
    assert run(images, again, Averages()) == Extraction(computed=12 - finished, reused=finished, bad={})


def test_an_interruption_keeps_what_was_computed(store: Store, make: Callable[[int], LabelledImage]) -> None:
    class Interrupted(Progress):
        advanced = 0

        def advance(self, steps: int = 1) -> None:
            self.advanced += steps
            if self.advanced == 5:
                raise KeyboardInterrupt

    images = [make(number) for number in range(12)]
    with pytest.raises(KeyboardInterrupt):
        run(images, store, Averages(), progress=Interrupted())
    again = Store("a" * 64, one_block(3))
    assert run(images, again, Averages()) == Extraction(computed=7, reused=5, bad={})


def test_a_file_changed_since_it_was_indexed_is_an_error_and_never_a_feature(
    store: Store, make: Callable[[int], LabelledImage]
) -> None:
    images = [make(number) for number in range(4)]
    images[2].path.write_bytes(make(77).path.read_bytes())
    with pytest.raises(DataError) as caught:
        run(images, store, Averages())
    assert caught.value.code == "data.file_changed"
    assert str(images[2].path) in caught.value.message
    again = Store("a" * 64, one_block(3))
    assert [key(one) in again for one in images] == [True, True, False, False]


@pytest.mark.parametrize(("images", "expected_shards"), [(4, 1), (5, 2), (11, 3)])
def test_rows_are_kept_shard_by_shard(
    store: Store,
    make: Callable[[int], LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
    images: int,
    expected_shards: int,
) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 4)
    made = [make(number) for number in range(images)]
    run(made, store, Averages())
    assert shards(store) == expected_shards
    again = Store("a" * 64, one_block(3))
    assert np.array_equal(again.read(map(key, made)), np.stack([expected(one) for one in made]))


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_full_disk_is_reported_and_no_row_gets_the_key_of_another(
    store: Store, make: Callable[[int], LabelledImage], monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 4)
    append, calls = store.append, 0

    def full_once(keys: Sequence[bytes], features: "NDArray[np.float32]") -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:  # somebody frees space right after
            raise ResourceError("resource.disk_full", "The disk is full.")
        append(keys, features)

    monkeypatch.setattr(store, "append", full_once)
    images = [make(number) for number in range(11)]
    with pytest.raises(ResourceError) as caught:
        run(images, store, Averages())
    assert caught.value.code == "resource.disk_full"
    again = Store("a" * 64, one_block(3))
    kept = [one for one in images if key(one) in again]
    assert kept == images[: 4 * (fails_at - 1)]
    assert np.array_equal(again.read(map(key, kept)), np.array([expected(one) for one in kept]).reshape(-1, 3))
    assert run(images, again, Averages()) == Extraction(11 - len(kept), len(kept), {})


def test_a_shard_is_on_disk_before_the_next_is_computed(
    store: Store, make: Callable[[int], LabelledImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 4)
    seen: list[int] = []

    class Watching(Progress):
        def advance(self, steps: int = 1) -> None:
            seen.append(shards(store))

    run([make(number) for number in range(10)], store, Averages(), progress=Watching())
    assert seen == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert shards(store) == 3


def test_a_shard_holds_512_rows() -> None:
    assert module.SHARD_ROWS == 512
