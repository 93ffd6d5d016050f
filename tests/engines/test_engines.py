import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.conversion import cached_export
from tlcli.backbones.weights import Weights, find_weights
from tlcli.engines import interface as engines
from tlcli.engines import openvino as openvino_engine
from tlcli.engines.compiled import Compiled
from tlcli.engines.interface import Engine, EngineChoice, EngineName, MapEngine, Precision, choose_engine, open_engine
from tlcli.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW = CATALOG["mobilenet_v2"]
SIZE = 32
OPENVINO, TENSORFLOW = metadata.version("openvino"), metadata.version("tensorflow")
Open = Callable[[EngineChoice], Engine]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    monkeypatch.setattr(openvino_engine, "has_int8", lambda: True)  # else the version says what is lacking
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
        ("keras", "auto", True, EngineChoice("keras", "f32", TENSORFLOW)),
        ("keras", "f32", True, EngineChoice("keras", "f32", TENSORFLOW)),
        ("keras", "bf16", False, EngineChoice("keras", "bf16", TENSORFLOW)),
    ],
)
def test_the_choice_is_what_was_asked_for_or_the_fastest_exact_enough(
    processor: Callable[[bool], None], engine: Any, precision: Any, has_bf16: bool, chosen: EngineChoice
) -> None:
    processor(has_bf16)
    assert choose_engine(engine, precision) == chosen


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_bf16_is_refused_where_the_processor_has_none(processor: Callable[[bool], None], engine: Any) -> None:
    processor(False)
    with pytest.raises(ModelError, match=r"precision is bf16.*no bfloat16; allowed: auto, f32"):
        choose_engine(engine, "bf16")


def test_int8_without_its_arithmetic_is_another_version_as_products_may_saturate(
    processor: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(True)
    monkeypatch.setattr(openvino_engine, "has_int8", lambda: False)
    assert choose_engine("auto", "int8") == EngineChoice("openvino", "int8", f"{OPENVINO} without VNNI")


def test_int8_is_refused_with_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"int8, which engine keras does not have; set backbone.engine=openvino"):
        choose_engine("keras", "int8")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install openvino"):
        choose_engine("auto", "int8")


def test_without_openvino_auto_is_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_engine("auto", "auto") == EngineChoice("keras", "f32", TENSORFLOW)


@pytest.mark.parametrize(("engine", "package"), [("openvino", "openvino"), ("keras", "tensorflow")])
def test_an_engine_that_is_not_installed_is_refused_with_the_command(
    monkeypatch: pytest.MonkeyPatch, engine: Any, package: str
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(ModelError, match=f"backbone.engine is {engine}.*pip install {package}"):
        choose_engine(engine, "auto")


def test_has_bf16_is_what_openvino_says_of_this_processor() -> None:
    assert isinstance(openvino_engine.has_bf16(), bool)


@pytest.mark.parametrize(
    ("flags", "fast"), [("fma avx2", False), ("avx512_vnni", True), ("avx_vnni", True), ("amx_int8", True)]
)
def test_byte_arithmetic_is_what_the_system_says_of_this_processor(
    monkeypatch: pytest.MonkeyPatch, flags: str, fast: bool
) -> None:
    monkeypatch.setattr(openvino_engine.platform, "machine", lambda: "x86_64")  # type: ignore[attr-defined]
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self: f"flags : {flags}\n")
    assert engines.int8_is_fast() is fast
    monkeypatch.setattr(openvino_engine.platform, "machine", lambda: "arm64")  # type: ignore[attr-defined]
    assert engines.int8_is_fast()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def weights(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("TLCLI_CACHE", str(cache))
    return find_weights(ROW, "random")


@pytest.fixture
def openvino(weights: Weights) -> Engine:
    return open_engine(EngineChoice("openvino", "f32", OPENVINO), ROW, SIZE, "avg", weights)


def images(count: int) -> "list[NDArray[np.uint8]]":
    """Each with a square of another place, size and colour."""
    made = []
    for number in range(count):
        random = np.random.default_rng(number)
        image = np.full((SIZE, SIZE, 3), random.integers(0, 256, 3), np.uint8)
        x, y, side = random.integers(2, 16, 3)
        image[y : y + side, x : x + side] = random.integers(0, 256, 3)
        made.append(image)
    return made


def compiled(weights: Weights, cache: Path) -> Path:
    """Where the compiled graph of the engine ``openvino`` is kept."""
    exported = cached_export(ROW, SIZE, "avg", weights.sha256)
    assert exported is not None
    return cache / "compiled" / f"{exported.folder.name}-f32"


def all_of(engine: Engine, some: "list[NDArray[np.uint8]]") -> "NDArray[np.float32]":
    return np.stack(list(engine.features(some)))


def test_more_images_than_requests_come_back_in_order(openvino: Engine) -> None:
    some = images(60)
    together = all_of(openvino, some)
    assert together.shape == (60, ROW.features)
    assert together.dtype == np.float32
    assert len(np.unique(together, axis=0)) == 60
    for image, features in zip(some, together, strict=True):
        assert np.array_equal(next(iter(openvino.features([image]))), features)


@pytest.mark.skipif(not openvino_engine.has_bf16(), reason="this processor has no bfloat16")
def test_a_images_features_do_not_depend_on_its_neighbours_in_bfloat16_either(weights: Weights) -> None:
    engine = open_engine(EngineChoice("openvino", "bf16", OPENVINO), ROW, SIZE, "avg", weights)
    some = images(20)
    together = all_of(engine, some)
    assert np.array_equal(all_of(engine, some[::-1])[::-1], together)
    for image, features in zip(some, together, strict=True):
        assert np.array_equal(all_of(engine, [image])[0], features)


def test_a_compiled_graph_is_kept_and_loaded_again(openvino: Engine, weights: Weights, cache: Path) -> None:
    (blob,) = compiled(weights, cache).glob("*.blob")
    written = blob.stat().st_mtime_ns
    again = open_engine(EngineChoice("openvino", "f32", OPENVINO), ROW, SIZE, "avg", weights)
    assert blob.stat().st_mtime_ns == written
    assert np.array_equal(all_of(again, images(5)), all_of(openvino, images(5)))


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_flipped_byte_in_a_compiled_graph_changes_no_feature(
    openvino: Engine, weights: Weights, cache: Path, share: float
) -> None:
    right = all_of(openvino, images(5))
    (blob,) = compiled(weights, cache).glob("*.blob")
    data = bytearray(blob.read_bytes())
    data[int(len(data) * share)] ^= 0xFF
    blob.write_bytes(data)
    again = open_engine(EngineChoice("openvino", "f32", OPENVINO), ROW, SIZE, "avg", weights)
    assert np.array_equal(all_of(again, images(5)), right)
    (blob,) = compiled(weights, cache).glob("*.blob")
    assert blob.read_bytes() != data


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"x.blob": "00"}', None])
def test_a_compiled_graph_without_its_digest_is_not_believed(
    openvino: Engine, weights: Weights, cache: Path, content: bytes | None
) -> None:
    record = compiled(weights, cache) / "digests.json"
    before = record.read_bytes()
    if content is None:
        record.unlink()
    else:
        record.write_bytes(content)
    again = open_engine(EngineChoice("openvino", "f32", OPENVINO), ROW, SIZE, "avg", weights)
    assert np.array_equal(all_of(again, images(5)), all_of(openvino, images(5)))
    assert set(json.loads(record.read_text())) == set(json.loads(before))


def test_features_given_out_do_not_change_with_later_images(openvino: Engine) -> None:
    given = openvino.features(iter(images(40)))
    first = next(given)
    before = first.copy()
    assert len(list(given)) == 39
    assert np.array_equal(first, before)


def test_a_image_that_is_a_view_of_another_array_is_read_as_it_looks(openvino: Engine) -> None:
    (image,) = images(1)
    assert np.array_equal(all_of(openvino, [image[:, ::-1]]), all_of(openvino, [image[:, ::-1].copy()]))


def test_no_images_give_no_features(openvino: Engine) -> None:
    assert list(openvino.features([])) == []


def test_images_are_taken_as_they_are_needed(openvino: Engine) -> None:
    taken = 0

    def counted() -> "Iterator[NDArray[np.uint8]]":
        nonlocal taken
        for image in images(60):
            taken += 1
            yield image

    given = openvino.features(counted())
    next(given)
    assert taken < 60
    given.close()  # type: ignore[attr-defined]


def test_an_error_of_the_images_comes_out(openvino: Engine) -> None:
    def broken() -> "Iterator[NDArray[np.uint8]]":
        yield from images(3)
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        list(openvino.features(broken()))


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_keras_gives_the_same_features_in_order(openvino: Engine, weights: Weights, precision: Precision) -> None:
    import keras

    policy = keras.config.dtype_policy().name
    engine = open_engine(EngineChoice("keras", precision, TENSORFLOW), ROW, SIZE, "avg", weights)
    assert keras.config.dtype_policy().name == policy
    some = images(40)  # more than a batch, and not a multiple of it
    found, exact = all_of(engine, some), all_of(openvino, some)
    assert found.shape == exact.shape
    assert found.dtype == np.float32
    centred, centred_exact = found - found.mean(axis=0), exact - exact.mean(axis=0)
    cosine = (centred * centred_exact).sum() / np.linalg.norm(centred) / np.linalg.norm(centred_exact)
    assert cosine > {"f32": 0.99999, "bf16": 0.9}[precision]
    nearest = np.linalg.norm(found[:, np.newaxis] - exact[np.newaxis], axis=2).argmin(axis=1)
    if precision == "f32":
        assert np.abs(found - exact).max() < 1e-4 * np.abs(exact).max()
        assert nearest.tolist() == list(range(40))
    assert list(engine.features([])) == []


def test_the_pooling_asked_for_is_done(weights: Weights) -> None:
    some = [np.kron(image, np.ones((2, 2, 1), np.uint8)) for image in images(5)]  # 64 x 64: four places to pool
    choice = EngineChoice("openvino", "f32", OPENVINO)
    mean, highest = (all_of(open_engine(choice, ROW, 64, how, weights), some) for how in ("avg", "max"))
    assert mean.shape == highest.shape == (5, ROW.features)
    assert (highest >= mean).all()
    assert (highest > mean).mean() > 0.1


def test_every_engine_of_the_config_can_be_opened() -> None:
    assert set(engines._ENGINES) == set(engines.EngineName.__args__)  # type: ignore[attr-defined]


def test_few_images_at_once_or_many_and_one_thread_or_all_give_bit_equal_features(
    openvino: Engine, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = cached_export(ROW, SIZE, "avg", weights.sha256)
    assert graph is not None
    expected = all_of(openvino, images(5))
    for number in ("1", "2"):
        monkeypatch.setenv("TLCLI_THREADS", number)
        for few in (True, False):
            engine = openvino_engine.OpenVINOEngine(Compiled(graph, "f32", few))
            assert np.array_equal(all_of(engine, images(5)), expected)


def test_where_nothing_can_be_kept_the_graph_is_compiled_each_time(
    openvino: Engine, weights: Weights, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a cache in the image of a container."""
    graph = cached_export(ROW, SIZE, "avg", weights.sha256)
    assert graph is not None
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = sorted((cache / "compiled").rglob("*"))
    engine = openvino_engine.OpenVINOEngine(Compiled(graph, "f32", few=True))
    assert np.array_equal(all_of(engine, images(3)), all_of(openvino, images(3)))
    assert [path for path in sorted((cache / "compiled").rglob("*")) if path not in before and path.is_file()] == []
    (tmp_path / "compiled").write_text("a file where the folder would be")
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path))
    engine = openvino_engine.OpenVINOEngine(Compiled(graph, "f32", few=False))
    assert np.array_equal(all_of(engine, images(3)), all_of(openvino, images(3)))


def maps_of(engine: MapEngine, some: "list[NDArray[np.uint8]]") -> "NDArray[np.float32]":
    return np.stack(list(engine.maps(some)))


LARGER = [np.kron(image, np.ones((4, 4, 1), np.uint8)) for image in images(40)]  # 128 x 128: 4 x 4 positions


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_the_mean_of_the_maps_is_the_feature_with_either_pooling_and_engine(weights: Weights, pooling: str) -> None:
    names: tuple[EngineName, ...] = ("openvino", "keras")
    found = {}
    for name in names:
        engine = open_engine(EngineChoice(name, "f32", ""), ROW, 128, pooling, weights)
        found[name], features = maps_of(engine, LARGER[:5]), all_of(engine, LARGER[:5])
        assert found[name].shape == (5, 4, 4, ROW.features)
        assert found[name].dtype == np.float32
        assert next(iter(engine.maps(LARGER[:1]))).flags["C_CONTIGUOUS"]
        assert np.abs(found[name].mean(axis=(1, 2)) - features).max() < 1e-5 * np.abs(features).max()
        if pooling == "max":  # nothing is at a position but what is largest there
            assert 0.5 < (found[name] == 0).mean() < 1
            assert (found[name].max(axis=(1, 2)) <= 16 * features * (1 + 1e-6)).all()
    differ = np.abs(found["openvino"] - found["keras"]) > 1e-3 * np.abs(found["keras"]).max()
    assert differ.mean() < 0.001  # where two positions are nearly alike, rounding decides which is the largest


@pytest.mark.skipif(not openvino_engine.has_bf16(), reason="this processor has no bfloat16")
def test_maps_in_bfloat16(weights: Weights) -> None:
    engine = open_engine(EngineChoice("openvino", "bf16", ""), ROW, 128, "avg", weights)
    features = all_of(engine, LARGER)
    assert np.abs(maps_of(engine, LARGER).mean(axis=(1, 2)) - features).max() < 0.02 * np.abs(features).max()


def test_a_position_is_where_it_is_in_the_image(weights: Weights) -> None:
    """What changes in a corner changes the maps most in its quarter."""
    engine = open_engine(EngineChoice("openvino", "f32", ""), ROW, 128, "avg", weights)
    plain = np.full((128, 128, 3), 128, np.uint8)
    for y, x in ((0, 0), (0, 3), (3, 0), (3, 3)):
        changed = plain.copy()
        changed[32 * y : 32 * y + 32, 32 * x : 32 * x + 32] = LARGER[0][:32, :32] // 2
        before, after = maps_of(engine, [plain, changed])
        change = np.linalg.norm(after - before, axis=2)
        at = divmod(int(change.argmax()), 4)  # a random network sees far to the sides
        assert (at[0] // 2, at[1] // 2) == (y // 2, x // 2)


def test_maps_are_given_in_order_as_they_are_needed(weights: Weights) -> None:
    engine = open_engine(EngineChoice("openvino", "f32", ""), ROW, 128, "avg", weights)
    together = maps_of(engine, LARGER)
    for place in (0, 17, 39):
        assert np.array_equal(maps_of(engine, [LARGER[place]])[0], together[place])
    assert list(engine.maps([])) == []
    taken = iter(LARGER)
    next(iter(engine.maps(taken)))
    assert next(taken, None) is not None


def test_features_stay_what_they_are_after_maps(weights: Weights) -> None:
    engine = open_engine(EngineChoice("openvino", "f32", ""), ROW, 128, "avg", weights)
    before = all_of(engine, LARGER[:5])
    maps_of(engine, LARGER[:5])
    assert np.array_equal(all_of(engine, LARGER[:5]), before)


def test_a_damaged_graph_is_not_taken_for_maps(weights: Weights) -> None:
    engine = open_engine(EngineChoice("openvino", "f32", ""), ROW, 96, "avg", weights)
    graph = cached_export(ROW, 96, "avg", weights.sha256)
    assert graph is not None
    content = graph.xml.with_suffix(".bin")
    data = bytearray(content.read_bytes())
    data[len(data) // 2] ^= 0xFF
    content.write_bytes(data)
    with pytest.raises(ModelError, match="is damaged; delete the folder and try again"):
        engine.maps([])
