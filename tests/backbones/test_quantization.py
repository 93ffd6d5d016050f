"""Quantised backbones: made once, kept with the images that made them, found again, run without NNCF."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.engines.opened import maps_of, opened_graph, rows_of, spec_of

from tlcli.backbones import quantization
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.conversion import convert
from tlcli.backbones.graph import GRAPH_FILES, ConvertedGraph, QuantizationInputs, QuantizedGraph
from tlcli.backbones.quantization import find_quantized, find_quantized_graph, quantize
from tlcli.backbones.weights import find_weights
from tlcli.errors import ModelError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.slow

ROW = CATALOG["mobilenet"]
SIZE = 64  # so that the last feature map has more than one position
needs_nncf = pytest.mark.skipif(not importlib.util.find_spec("nncf"), reason="nncf is not installed (tlcli[int8])")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _environment(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(cache))


def images(count: int) -> "dict[str, NDArray[np.uint8]]":
    """Noise on a level of its own, under digests that are not in order."""
    made = {}
    for number in range(count):
        random = np.random.default_rng(number)
        level = random.integers(40, 200)
        noise = random.normal(level, 30, (SIZE, SIZE, 3))
        made[f"{(7 * number) % 100:064x}"] = np.clip(noise, 0, 255).astype(np.uint8)
    return made


@pytest.fixture
def base(_environment: None) -> ConvertedGraph:
    return convert(spec_of(ROW, SIZE, find_weights(ROW, "random")))


@pytest.fixture
def calibration(base: ConvertedGraph) -> QuantizationInputs:
    return QuantizationInputs(base.folder.name, "ab" * 32, 12)


@pytest.fixture
def made(base: ConvertedGraph, calibration: QuantizationInputs) -> QuantizedGraph:
    return find_quantized(ROW, calibration, set(images(12))) or quantize(ROW, calibration, base, images(12))


def features(graph: ConvertedGraph) -> "NDArray[np.float32]":
    return rows_of(opened_graph(graph, ROW, SIZE), list(images(6).values()))


@needs_nncf
def test_bytes_in_and_one_float32_vector_out_near_to_the_float_features(
    made: QuantizedGraph, base: ConvertedGraph
) -> None:
    found, exact = features(made.graph), features(base)
    assert found.shape == (6, ROW.blocks.width)
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact)
    cosine = (found * exact).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 0.9


@needs_nncf
def test_the_mean_of_its_maps_is_its_feature(made: QuantizedGraph) -> None:
    maps = maps_of(opened_graph(made.graph, ROW, SIZE), list(images(6).values()))
    found = features(made.graph)
    assert maps[0].tiles[0]["last"].shape == (2, 2, ROW.features)
    pooled = np.stack([ROW.blocks.rounded(one.features()) for one in maps])
    for block, place in zip(ROW.blocks.all, ROW.blocks.slices, strict=True):
        ours, theirs = pooled[:, place], found[:, place]  # OpenVINO pools quantised maps in integers, and rounds
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        assert ((ours * theirs).sum(axis=1) / lengths).min() > 0.999, block.name


@needs_nncf
def test_it_is_kept_with_the_images_that_made_it(made: QuantizedGraph, calibration: QuantizationInputs) -> None:
    names = sorted(path.name for path in made.graph.folder.iterdir())
    assert names == sorted(["calibration.json", "digests.json", *GRAPH_FILES])
    record = json.loads((made.graph.folder / "calibration.json").read_text())
    assert tuple(record["images"]) == made.images == tuple(sorted(images(12)))
    assert made.calibration == calibration


@needs_nncf
def test_it_is_found_while_all_its_images_are_there(made: QuantizedGraph, calibration: QuantizationInputs) -> None:
    present = set(images(12))
    assert find_quantized(ROW, calibration, present) == made
    assert find_quantized(ROW, calibration, present | {"f" * 64}) == made
    assert find_quantized(ROW, calibration, present - {made.images[0]}) is None


@needs_nncf
def test_one_made_of_few_images_is_not_kept_for_many(
    made: QuantizedGraph, calibration: QuantizationInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanting = replace(calibration, wanted=100)  # 100 were asked for when there were 12
    monkeypatch.setattr(quantization, "_all", lambda _row: iter([replace(made, calibration=wanting)]))
    present = set(made.images)
    more = {f"{number:064x}" for number in range(1000, 1100)}
    assert find_quantized(ROW, wanting, present) is not None
    assert find_quantized(ROW, wanting, present | set(sorted(more)[:10])) is not None
    assert find_quantized(ROW, wanting, present | more) is None


@needs_nncf
def test_another_source_is_another_graph(made: QuantizedGraph, calibration: QuantizationInputs) -> None:
    present = set(made.images)
    for other in ({"base": "other"}, {"preparation": "cd" * 32}, {"wanted": 13}, {"version": 0}):
        assert find_quantized(ROW, replace(calibration, **other), present) is None
    assert find_quantized(CATALOG["mobilenet_v2"], calibration, present) is None


@needs_nncf
def test_it_is_found_by_its_digest(made: QuantizedGraph) -> None:
    assert find_quantized_graph(ROW, made.sha256) == made
    assert find_quantized_graph(ROW, "0" * 64) is None


@needs_nncf
def test_the_same_images_make_the_same_graph_again(
    made: QuantizedGraph, calibration: QuantizationInputs, base: ConvertedGraph
) -> None:
    before = made.sha256
    (made.graph.folder / "model.bin").write_bytes(b"damaged")
    assert find_quantized(ROW, calibration, set(made.images)) is None
    assert quantize(ROW, calibration, base, images(12)).sha256 == before


@needs_nncf
@pytest.mark.parametrize("name", [*GRAPH_FILES, "calibration.json", "digests.json"])
def test_a_damaged_one_is_not_taken(made: QuantizedGraph, calibration: QuantizationInputs, name: str) -> None:
    path = made.graph.folder / name
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        assert find_quantized(ROW, calibration, set(made.images)) is None
    finally:
        path.write_bytes(whole)
    assert find_quantized(ROW, calibration, set(made.images)) == made


def test_without_nncf_the_message_says_what_to_install(
    base: ConvertedGraph, calibration: QuantizationInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        quantize(ROW, replace(calibration, wanted=3), base, images(3))
    assert caught.value.code == "usage.extra_missing"


@needs_nncf
def test_a_failure_leaves_nothing_behind(calibration: QuantizationInputs, cache: Path, tmp_path: Path) -> None:
    before = sorted((cache / "backbones").iterdir())
    with pytest.raises(ModelError) as caught:
        quantize(ROW, replace(calibration, wanted=3), ConvertedGraph(tmp_path / "nowhere"), images(3))
    assert caught.value.code == "model.process_failed"
    assert sorted((cache / "backbones").iterdir()) == before


def test_nothing_imports_nncf_to_find_or_run_one() -> None:
    program = (
        "import sys\n"
        "from tlcli.backbones.quantization import find_quantized_graph\n"
        "from tlcli.workflows import evaluate, predict, train\n"
        "sys.exit('nncf' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
