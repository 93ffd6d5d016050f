"""The engines: what auto chooses, what OpenVINO and Keras compute, and the interface that both share."""

import importlib.util
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.engines.opened import maps_of, opened, opened_graph, rows_of, spec_of, unchanged

from tlcli.backbones.blocks import LAST, one_block
from tlcli.backbones.catalog import CATALOG, ENGINES
from tlcli.backbones.conversion import cached_graph
from tlcli.backbones.graph import ConvertedGraph
from tlcli.backbones.spec import BackboneSpec, EngineChoice, Precision
from tlcli.backbones.weights import Weights, find_weights
from tlcli.engines import openvino as openvino_engine
from tlcli.engines.choice import choose_engine, int8_is_fast
from tlcli.engines.compiled import CompiledGraph
from tlcli.engines.double import FakeEngine
from tlcli.engines.interface import Engine, open_engine
from tlcli.engines.threaded import ThreadedEngine
from tlcli.errors import ModelError
from tlcli.images.augmentation import Augmentation, view_names
from tlcli.images.decode import BadImageError
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.system.cpu import threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW = CATALOG["mobilenet_v2"]
SIZE = 32
BLOCKS = ROW.blocks
WIDTH = BLOCKS.width
OPENVINO, TENSORFLOW = metadata.version("openvino"), metadata.version("tensorflow")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    monkeypatch.setattr(openvino_engine, "has_int8", lambda: True)  # else the version says what is missing
    return lambda has_bf16: monkeypatch.setattr(openvino_engine, "has_bf16", lambda: has_bf16)


@pytest.mark.parametrize(
    ("engine", "precision", "has_bf16", "chosen"),
    [
        ("auto", "auto", True, EngineChoice("openvino", "bf16", OPENVINO)),
        ("auto", "auto", False, EngineChoice("openvino", "f32", OPENVINO)),
        ("auto", "f32", True, EngineChoice("openvino", "f32", OPENVINO)),
        ("auto", "bf16", True, EngineChoice("openvino", "bf16", OPENVINO)),
        ("auto", "int8", True, EngineChoice("openvino", "int8", OPENVINO)),
        ("openvino", "int8", False, EngineChoice("openvino", "int8", OPENVINO)),
        ("openvino", "auto", True, EngineChoice("openvino", "bf16", OPENVINO)),
        ("openvino", "f32", False, EngineChoice("openvino", "f32", OPENVINO)),
        ("keras", "auto", True, EngineChoice("keras", "f32", TENSORFLOW, "tensorflow")),
        ("keras", "f32", True, EngineChoice("keras", "f32", TENSORFLOW, "tensorflow")),
        ("keras", "bf16", False, EngineChoice("keras", "bf16", TENSORFLOW, "tensorflow")),
    ],
)
def test_auto_is_the_fastest_exact_precision(
    processor: Callable[[bool], None], engine: Any, precision: Any, has_bf16: bool, chosen: EngineChoice
) -> None:
    processor(has_bf16)
    assert choose_engine(engine, precision) == chosen


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_bf16_is_refused_where_the_processor_has_none(processor: Callable[[bool], None], engine: Any) -> None:
    processor(False)
    with pytest.raises(ModelError) as caught:
        choose_engine(engine, "bf16")
    assert caught.value.code == "model.bf16_unavailable"


def test_int8_without_vnni_is_another_version_because_products_may_saturate(
    processor: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(True)
    monkeypatch.setattr(openvino_engine, "has_int8", lambda: False)
    assert choose_engine("auto", "int8") == EngineChoice("openvino", "int8", f"{OPENVINO} without VNNI")


def test_int8_is_refused_with_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError) as caught:
        choose_engine("keras", "int8")
    assert caught.value.code == "model.int8_needs_openvino"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError) as caught:
        choose_engine("auto", "int8")
    assert caught.value.code == "model.int8_needs_openvino"
    assert "pip install openvino" in caught.value.hint


def test_without_openvino_auto_is_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_engine("auto", "auto") == EngineChoice("keras", "f32", TENSORFLOW, "tensorflow")


@pytest.mark.parametrize(("engine", "package"), [("openvino", "openvino"), ("keras", "tensorflow")])
def test_an_engine_that_is_not_installed_is_refused_with_the_command(
    monkeypatch: pytest.MonkeyPatch, engine: Any, package: str
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(ModelError) as caught:
        choose_engine(engine, "auto")
    assert caught.value.code == "model.engine_missing"
    assert caught.value.hint.startswith(f"Run: pip install {package}")


def test_has_bf16_is_a_fact_about_this_processor() -> None:
    assert isinstance(openvino_engine.has_bf16(), bool)


@pytest.mark.parametrize(
    ("flags", "fast"), [("fma avx2", False), ("avx512_vnni", True), ("avx_vnni", True), ("amx_int8", True)]
)
def test_byte_arithmetic_is_read_from_the_flags_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, flags: str, fast: bool
) -> None:
    monkeypatch.setattr(openvino_engine.platform, "machine", lambda: "x86_64")  # type: ignore[attr-defined]
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self: f"flags : {flags}\n")
    assert int8_is_fast() is fast
    monkeypatch.setattr(openvino_engine.platform, "machine", lambda: "arm64")  # type: ignore[attr-defined]
    assert int8_is_fast()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def weights(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("TLCLI_CACHE", str(cache))
    return find_weights(ROW, "random")


@pytest.fixture
def spec(weights: Weights) -> BackboneSpec:
    return spec_of(ROW, SIZE, weights)


@pytest.fixture
def openvino(spec: BackboneSpec) -> Iterator[Engine]:
    with closing(opened(spec)) as engine:
        yield engine


@pytest.fixture
def graph(openvino: Engine, spec: BackboneSpec) -> ConvertedGraph:
    found = cached_graph(spec)
    assert found is not None
    return found


def images(count: int) -> "list[NDArray[np.uint8]]":
    """Squares of different positions, sizes and colours."""
    made = []
    for number in range(count):
        random = np.random.default_rng(number)
        image = np.full((SIZE, SIZE, 3), random.integers(0, 256, 3), np.uint8)
        x, y, side = random.integers(2, 16, 3)
        image[y : y + side, x : x + side] = random.integers(0, 256, 3)
        made.append(image)
    return made


@pytest.fixture
def compiled(graph: ConvertedGraph, cache: Path) -> Path:
    """The folder of the compiled graph of the engine ``openvino``."""
    return cache / "compiled" / f"{graph.folder.name}-f32-{threads()}t"


def test_many_images_at_a_time_come_back_in_order(openvino: Engine) -> None:
    some = images(60)
    together = rows_of(openvino, some)
    assert together.shape == (60, WIDTH)
    assert together.dtype == np.float32
    assert len(np.unique(together, axis=0)) == 60
    for image, features in zip(some, together, strict=True):
        assert np.array_equal(rows_of(openvino, [image])[0], features)


@pytest.mark.skipif(not openvino_engine.has_bf16(), reason="this processor has no bfloat16")
def test_an_images_features_do_not_depend_on_its_neighbours_in_bfloat16_either(weights: Weights) -> None:
    with closing(opened(spec_of(ROW, SIZE, weights, precision="bf16"))) as engine:
        some = images(20)
        together = rows_of(engine, some)
        assert np.array_equal(rows_of(engine, some[::-1])[::-1], together)
        for image, features in zip(some, together, strict=True):
            assert np.array_equal(rows_of(engine, [image])[0], features)


def test_a_compiled_graph_is_cached_and_loaded_again(openvino: Engine, spec: BackboneSpec, compiled: Path) -> None:
    (blob,) = compiled.glob("*.blob")
    written = blob.stat().st_mtime_ns
    again = opened(spec)
    assert blob.stat().st_mtime_ns == written
    assert np.array_equal(rows_of(again, images(5)), rows_of(openvino, images(5)))


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_flipped_byte_in_a_compiled_graph_changes_no_feature(
    openvino: Engine, spec: BackboneSpec, compiled: Path, share: float
) -> None:
    right = rows_of(openvino, images(5))
    (blob,) = compiled.glob("*.blob")
    data = bytearray(blob.read_bytes())
    data[int(len(data) * share)] ^= 0xFF
    blob.write_bytes(data)
    assert np.array_equal(rows_of(opened(spec), images(5)), right)
    (blob,) = compiled.glob("*.blob")
    assert blob.read_bytes() != data


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"x.blob": "00"}', None])
def test_a_compiled_graph_without_its_digest_is_not_used(
    openvino: Engine, spec: BackboneSpec, compiled: Path, content: bytes | None
) -> None:
    record = compiled / "digests.json"
    before = record.read_bytes()
    if content is None:
        record.unlink()
    else:
        record.write_bytes(content)
    assert np.array_equal(rows_of(opened(spec), images(5)), rows_of(openvino, images(5)))
    assert set(json.loads(record.read_text())) == set(json.loads(before))


def test_features_do_not_change_with_later_images(openvino: Engine) -> None:
    first = openvino.submit(Item(images(1)[0])).result()
    before = first.copy()
    rows_of(openvino, images(40))
    assert np.array_equal(first, before)


def test_pixels_that_are_a_view_of_another_array_are_read_as_they_look(openvino: Engine) -> None:
    (image,) = images(1)
    assert np.array_equal(rows_of(openvino, [image[:, ::-1]]), rows_of(openvino, [image[:, ::-1].copy()]))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_keras_gives_the_same_features_in_order(openvino: Engine, weights: Weights, precision: Precision) -> None:
    import keras

    policy = keras.config.dtype_policy().name
    with closing(opened(spec_of(ROW, SIZE, weights, "keras", precision))) as engine:
        assert keras.config.dtype_policy().name == policy
        some = images(40)  # more than a batch, and not a multiple of it
        found, exact = rows_of(engine, some), rows_of(openvino, some)
        alone = rows_of(engine, some[38:39])  # a padded batch: the arithmetic is that of a full one
    assert np.array_equal(alone[0], found[38])
    assert found.shape == exact.shape
    assert found.dtype == np.float32
    centred, centred_exact = found - found.mean(axis=0), exact - exact.mean(axis=0)
    cosine = (centred * centred_exact).sum() / np.linalg.norm(centred) / np.linalg.norm(centred_exact)
    assert cosine > {"f32": 0.99999, "bf16": 0.9}[precision]
    nearest = np.linalg.norm(found[:, np.newaxis] - exact[np.newaxis], axis=2).argmin(axis=1)
    if precision == "f32":
        differences = largest_differences(found, exact)
        assert differences.pop("last.avg") < 1e-4
        assert max(differences.values()) < 1e-3  # a step of float16
        assert nearest.tolist() == list(range(40))


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_views_are_rows_and_errors_belong_to_their_items(weights: Weights, name: str) -> None:
    augmentation = Augmentation("horizontal", rotation=20)
    views = tuple(view_names(4, augmentation))
    decoder = Decoder(Preparation((SIZE, SIZE), "squash"), augmentation)
    with closing(open_engine(spec_of(ROW, SIZE, weights, name), decoder)) as engine:
        items = [Item(image, views=views) for image in images(9)]  # 45 views: more than a batch of Keras
        bad = engine.submit(Item(b"not an image"))
        futures = [engine.submit(item) for item in items]
        wrong = engine.submit(Item(images(1)[0], sha256="0" * 64))
        found = [future.result() for future in futures]
        single = engine.submit(Item(images(9)[4], views=views[2:3])).result()
        with pytest.raises(BadImageError):
            bad.result()
        assert getattr(wrong.exception(), "code", None) == "data.file_changed"
    assert all(np.shape(rows) == (5, WIDTH) for rows in found)
    assert np.array_equal(single[0], found[4][2])
    plain = opened(spec_of(ROW, SIZE, weights))
    seen = [rows_of(plain, decoder.views(item)) for item in items]
    difference = np.abs(np.stack(found) - np.stack(seen)).max()  # of the last digit of float16
    assert difference < 1e-3 * np.abs(np.stack(seen)).max()


def test_every_layer_is_pooled_in_both_ways(weights: Weights) -> None:
    rows = rows_of(opened(spec_of(ROW, 128, weights)), LARGER[:5])
    assert rows.shape == (5, WIDTH)
    for layer in BLOCKS.layers:
        mean, highest = (BLOCKS.take(rows, BLOCKS.select([layer], [pooling])) for pooling in ("avg", "max"))
        assert (highest >= mean * (1 - 1e-3) - 1e-3).all()  # rounded to float16
        assert (highest > mean).mean() > 0.1


def test_low_latency_or_throughput_and_one_thread_or_all_give_bit_equal_features(
    openvino: Engine, graph: ConvertedGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows_of(openvino, images(5))
    for number in ("1", "2"):
        monkeypatch.setenv("TLCLI_THREADS", number)
        for low_latency in (True, False):
            engine = opened_graph(CompiledGraph(graph, "f32", low_latency), ROW, SIZE)
            assert np.array_equal(rows_of(engine, images(5)), expected)


def test_without_a_writable_cache_the_graph_is_compiled_each_time(
    openvino: Engine, graph: ConvertedGraph, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a cache in the image of a container."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = sorted((cache / "compiled").rglob("*"))
    right = rows_of(openvino, images(3))
    assert np.array_equal(rows_of(opened_graph(CompiledGraph(graph, "f32", True), ROW, SIZE), images(3)), right)
    assert np.array_equal(rows_of(opened_graph(CompiledGraph(graph, "f32"), ROW, SIZE), images(3)), right)
    assert [path for path in sorted((cache / "compiled").rglob("*")) if path not in before and path.is_file()] == []
    (tmp_path / "compiled").write_text("a file where the folder would be")
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path))
    assert np.array_equal(rows_of(opened_graph(graph, ROW, SIZE), images(3)), right)


# Maps

LARGER = [np.kron(image, np.ones((4, 4, 1), np.uint8)) for image in images(40)]  # 128 x 128: 4 x 4 positions


def largest_differences(these: "NDArray[np.float32]", those: "NDArray[np.float32]") -> dict[str, float]:
    """Of the features of each block, as a share of its largest number."""
    found = {}
    for block, place in zip(BLOCKS.all, BLOCKS.slices, strict=True):
        found[block.name] = float(np.abs(these[:, place] - those[:, place]).max() / np.abs(those[:, place]).max())
    return found


@pytest.mark.slow
def test_both_engines_give_the_maps_of_their_features(weights: Weights) -> None:
    found, rows = {}, {}
    for name in ENGINES:
        with closing(opened(spec_of(ROW, 128, weights, name))) as engine:
            found[name], rows[name] = maps_of(engine, LARGER[:5]), rows_of(engine, LARGER[:5])
        of_maps = np.stack([one.features() for one in found[name]])
        assert max(largest_differences(of_maps, rows[name]).values()) < 1e-3  # blocks are rounded to float16
        last = BLOCKS.last
        exact = BLOCKS.take(rows[name], last)
        assert np.abs(BLOCKS.take(of_maps, last) - exact).max() < 1e-5 * np.abs(exact).max()
    assert max(largest_differences(rows["keras"], rows["openvino"]).values()) < 1e-3
    for one, other in zip(found["openvino"], found["keras"], strict=True):
        assert len(one.tiles) == len(other.tiles) == 1
        assert list(one.tiles[0]) == list(other.tiles[0]) == list(BLOCKS.layers)
        for layer, right in other.tiles[0].items():
            assert one.tiles[0][layer].shape == right.shape
            assert np.abs(one.tiles[0][layer] - right).max() < 1e-3 * np.abs(right).max()


@pytest.mark.skipif(not openvino_engine.has_bf16(), reason="this processor has no bfloat16")
def test_maps_in_bfloat16(weights: Weights) -> None:
    engine = opened(spec_of(ROW, 128, weights, precision="bf16"))
    rows = rows_of(engine, LARGER)
    of_maps = np.stack([one.features() for one in maps_of(engine, LARGER)])
    assert max(largest_differences(of_maps, rows).values()) < 0.02


def test_a_position_of_the_map_is_that_of_the_image(weights: Weights) -> None:
    """A change in one corner changes the maps most in its quarter."""
    engine = opened(spec_of(ROW, 128, weights))
    plain = np.full((128, 128, 3), 128, np.uint8)
    for y, x in ((0, 0), (0, 3), (3, 0), (3, 3)):
        changed = plain.copy()
        changed[32 * y : 32 * y + 32, 32 * x : 32 * x + 32] = LARGER[0][:32, :32] // 2
        before, after = maps_of(engine, [plain, changed])
        change = np.linalg.norm(after.tiles[0][LAST] - before.tiles[0][LAST], axis=2)
        at = divmod(int(change.argmax()), 4)  # the receptive field of a random network is wide
        assert (at[0] // 2, at[1] // 2) == (y // 2, x // 2)


def test_maps_come_in_order_and_leave_the_features_alone(weights: Weights) -> None:
    engine = opened(spec_of(ROW, 128, weights))
    before = rows_of(engine, LARGER[:5])
    together = maps_of(engine, LARGER)
    for index in (0, 17, 39):
        (alone,) = maps_of(engine, [LARGER[index]])
        for layer, of_layer in alone.tiles[0].items():
            assert np.array_equal(of_layer, together[index].tiles[0][layer])
    assert np.array_equal(rows_of(engine, LARGER[:5]), before)


@pytest.mark.slow
def test_a_damaged_graph_gives_no_maps(weights: Weights) -> None:
    spec = spec_of(ROW, 96, weights)
    engine, graph = opened(spec), cached_graph(spec)
    assert graph is not None
    content = graph.xml.with_suffix(".bin")
    data = bytearray(content.read_bytes())
    data[len(data) // 2] ^= 0xFF
    content.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        engine.maps()
    assert caught.value.code == "model.graph_damaged"


# The interface, without a backbone


def test_an_item_never_waits_for_another() -> None:
    gate = threading.Event()

    def slow(pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        if pixels[0, 0, 0] == 1:
            gate.wait(10)
        return np.zeros(3, np.float32)

    with closing(ThreadedEngine(unchanged(4), slow, workers=2)) as engine:
        first = engine.submit(Item(np.ones((4, 4, 3), np.uint8)))
        second = engine.submit(Item(np.zeros((4, 4, 3), np.uint8)))
        assert np.shape(second.result(5)) == (1, 3)
        assert not first.done()
        gate.set()
        assert np.shape(first.result(5)) == (1, 3)


def test_closing_cancels_what_has_not_started_and_waits_for_what_has() -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        begun.set()
        gate.wait(10)
        return np.zeros(3, np.float32)

    engine = ThreadedEngine(unchanged(4), slow, workers=1)
    first, second = (engine.submit(Item(np.zeros((4, 4, 3), np.uint8))) for _ in range(2))
    begun.wait(10)
    threading.Timer(0.1, gate.set).start()
    engine.close()
    assert np.shape(first.result(0)) == (1, 3)
    with pytest.raises(CancelledError):
        second.result(0)


def test_the_double_gives_equal_pixels_equal_features() -> None:
    some = [*images(3), images(1)[0]]
    with closing(FakeEngine(unchanged(SIZE), one_block(5))) as engine:
        found = rows_of(engine, some)
        assert found.shape == (4, 5)
        assert np.array_equal(found[0], found[3])
        assert not np.array_equal(found[0], found[1])
        assert np.array_equal(np.stack([one.features() for one in maps_of(engine, some)]), found)


def test_with_fewer_threads_than_cores_none_is_bound_to_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with a core each would share the first one."""
    for count, bound in ((2, "YES"), (1, "NO")):
        monkeypatch.setattr(openvino_engine, "cores", lambda: 2)
        monkeypatch.setattr(openvino_engine, "threads", lambda count=count: count)
        assert openvino_engine._settings("f32").get("ENABLE_CPU_PINNING", "YES") == bound
