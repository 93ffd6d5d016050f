"""Rows of the catalog at a small size: the same images give the same features, on every engine and as ever.

By default four small rows on OpenVINO; as slow tests all rows on OpenVINO, and one row of each family in Keras and in
bfloat16 too. All compare with golden.json: for every row, random projections of the float32 features of three drawn
images. Where a row is new or is meant to give other features, write the file again (10 minutes on two cores), for which
OpenVINO and Keras must agree on every row, and read its difference, which must show that row alone:

    python -m tests.backbones.test_all_rows golden

This module is also the program that computes features, in processes of one engine (Keras fixes its backend at import):
building and converting keep one core busy.
"""

import gc
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors.numpy import load_file, save_file
from tests.backbones.kinds import KINDS
from tests.engines.opened import maps_of, opened, rows_of, spec_of

from tlcli.backbones import keras_process
from tlcli.backbones.catalog import CATALOG, Backbone
from tlcli.backbones.costs import COSTS
from tlcli.backbones.spec import Precision
from tlcli.backbones.weights import Weights, find_weights
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.engines.openvino import has_bf16
from tlcli.system.files import cache_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.float32]]
    """``ROW-PRECISION``: features [3, W]; of the second image ``ROW-PRECISION-maps``: what its maps become [1, W], and
    ``ROW-PRECISION-last``: the positions of its last map [h, w, D]."""

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden.json")
NUMBERS = 8
"""Numbers that features are projected to."""
QUICK = ("mobilenet_v2", "efficientnet_v2_b0", "efficientnet_lite0", "mobilenet_v2_torch")
"""Depthwise convolution; squeeze and excitation; weights of PyTorch; padding of PyTorch."""
PARTS = 2
LARGEST = 85_000_000
"""Parameters: nasnet_large. Larger networks (1 to 4 GB of disk and memory, up to 50 s each) have the layers of others
that are computed here, in other numbers; test_costs builds them, and checks these and the shape of their features."""
ROWS = {name: row for name, row in CATALOG.items() if COSTS[name].parameters <= LARGEST}
EACH_ROW = pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
EACH_KIND = pytest.mark.parametrize("row", [CATALOG[name] for name in KINDS], ids=lambda row: row.name)


def size_of(row: Backbone) -> int:
    """So that the last feature map has two positions a side, or three."""
    return max(row.min_size + 32, 64)


def images(size: int) -> "list[NDArray[np.uint8]]":
    """A sunset, a striped fish and a plant, drawn at 256 x 256."""
    y, x = np.mgrid[:256, :256]
    sky = np.stack([255 - y // 2, 120 - y // 4, 40 + y // 2], axis=-1).astype(np.uint8)
    sunset = Image.fromarray(sky)
    ImageDraw.Draw(sunset).ellipse((90, 130, 170, 210), fill=(255, 230, 120))
    sea = np.stack([x // 8, 90 + y // 4, 140 + x // 4], axis=-1).astype(np.uint8)
    fish = Image.fromarray(sea)
    draw = ImageDraw.Draw(fish)
    draw.ellipse((50, 80, 200, 180), fill=(240, 120, 20))
    draw.polygon(((190, 130), (245, 80), (245, 180)), fill=(250, 160, 40))
    for stripe in range(70, 190, 24):
        draw.line((stripe, 90, stripe + 6, 170), fill=(250, 250, 250), width=7)
    draw.ellipse((68, 110, 84, 126), fill=(0, 0, 0))
    plant = Image.new("RGB", (256, 256), (225, 220, 205))
    draw = ImageDraw.Draw(plant)
    for leaf in range(9):
        draw.line((128, 240, 20 + 27 * leaf, 30 + 9 * abs(leaf - 4)), fill=(20, 90 + 15 * leaf, 30), width=9)
    return [np.asarray(image.resize((size, size))) for image in (sunset, fish, plant)]


def weights_of(row: Backbone) -> Weights:
    """Real weights where a package brings them; random ones elsewhere."""
    if row.weights.package and importlib.util.find_spec(row.weights.package.replace("-", "_")):
        return find_weights(row, "imagenet")
    weights = find_weights(row, "random")
    if not row.name.startswith(("efficientnet_v2", "efficientnet_b7")):
        return weights
    # A random EfficientNetV2 is chaotic: changing the levels by a millionth changes its features by half (measured in
    # Keras alone). With kernels 0.8 times as large it changes them by a millionth. B7 is as deep.
    path = weights.file.with_name(f"{row.name}-tame.safetensors")
    save_file(
        {
            key: np.asarray(array * np.float32(0.8 if array.ndim > 1 else 1))
            for key, array in load_file(weights.file).items()
        },
        path,
    )
    return find_weights(row, path)


def compute(engine: str, precisions: Sequence[Precision], names: Sequence[str], out: Path) -> None:
    """Writes features and maps of these rows in the first precision, one of each kind in all; see ``Arrays``."""
    if engine == "openvino":
        os.environ["KERAS_BACKEND"] = "openvino"
        keras_process.run_job = in_this_process
        check_cuts_of_all_builds()
    else:
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)  # tracing the large ones takes 10 s each
    found = {}
    for row in map(CATALOG.__getitem__, names):
        size = size_of(row)
        weights = weights_of(row)
        for precision in precisions if row.name in KINDS else precisions[:1]:
            with closing(opened(spec_of(row, size, weights, engine, precision))) as running:
                found[f"{row.name}-{precision}"] = rows_of(running, images(size))
                (maps,) = maps_of(running, images(size)[1:2])
                check_widths(row, maps)
                found[f"{row.name}-{precision}-maps"] = row.blocks.rounded(maps.features())[None]
                found[f"{row.name}-{precision}-last"] = maps.positions(row.blocks.last.all[0])[0]
            del running
        if engine == "keras":
            check_parts(row, size, weights)
        gc.collect()
        for folder in ("backbones", "compiled"):  # 100 MB a row
            shutil.rmtree(cache_folder() / folder, ignore_errors=True)
    save_file(found, out)


def check_widths(row: Backbone, maps: FeatureMaps) -> None:
    """The ends of stages that the catalog's rule finds are as many and as wide as it says, and ever smaller."""
    (tile,) = maps.tiles
    assert [(name, of_layer.shape[2]) for name, of_layer in tile.items()] == [
        (block.layer, block.width) for block in row.blocks.all if block.pooling == "avg"
    ], row.name
    sides = [of_layer.shape[0] for of_layer in tile.values()]
    assert sides == sorted(sides, reverse=True), row.name


def check_cuts_of_all_builds() -> None:
    """Every network that is built can be cut before its last block and before all but its first, or nowhere."""
    from tlcli.backbones import build

    plain = build.build

    def checked(row: Backbone, *more: Any) -> build.Network:
        network = plain(row, *more)
        blocks = len(build.cut_points(network.unscaled, row.stages.cuts))
        assert bool(blocks) == bool(row.stages.cuts) == (not row.name.startswith("nasnet")), row.name
        for number in {1, blocks - 1} if blocks else ():
            split = network.split(number)
            assert (*split.before.names, *split.tail.blocks.names) == row.blocks.names, (row.name, number)
            depths = {split.tail.depths[one.path] for one in split.tail.model.weights}
            assert depths == set(range(number)), (row.name, number, depths)
        depths = {network.whole().depths[one.path] for one in network.features().weights}
        assert len(depths) > 2, (row.name, depths)  # NASNet: stages
        assert min(depths) == 0, row.name
        return network

    build.build = checked  # type: ignore[assignment]


def check_parts(row: Backbone, size: int, weights: Weights) -> None:
    """The last block behind all others gives what the whole network gives."""
    from tlcli.backbones.build import build

    if not row.stages.cuts:
        return
    batch = np.stack(images(size)).astype(np.float32)
    network = build(row, (size, size), weights.file)
    split = network.split(1)
    feature_map, *early = split.trunk(batch)
    names = (*split.before.names, *split.tail.blocks.names)
    found = dict(zip(names, [*early, *split.tail.model(feature_map)], strict=True))
    for name, whole in zip(row.blocks.names, network.features()(batch), strict=True):
        np.testing.assert_allclose(np.array(found[name]), np.array(whole), rtol=1e-4, atol=1e-4, err_msg=row.name)


def in_this_process(request: dict[str, object], name: str) -> None:
    """The conversion as it is, less 2 s a row for a process of its own."""
    sys.argv = ["", json.dumps(request)]
    keras_process.main()


def computed_by(engine: str, precisions: str, parts: Sequence[Sequence[str]], folder: Path) -> "Arrays":
    """What one process for each part computes."""
    running = []
    for number, names in enumerate(parts):
        out = str(folder / f"{number}.safetensors")
        command = [sys.executable, "-m", "tests.backbones.test_all_rows", engine, precisions, ",".join(names), out]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TLCLI_CACHE": str(folder / f"cache-{number}")}
        running.append(subprocess.Popen(command, cwd=ROOT, env=environment))
    assert [process.wait() for process in running] == [0] * len(parts)
    return {name: array for n in range(len(parts)) for name, array in load_file(folder / f"{n}.safetensors").items()}


def in_parts(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[part::PARTS] for part in range(PARTS)]


@pytest.fixture(scope="module")
def quick(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Arrays]":
    if any("computed" in getattr(test, "fixturenames", ()) for test in request.session.items):
        yield request.getfixturevalue("computed")["openvino"]
        return
    folder = tmp_path_factory.mktemp("quick")
    yield computed_by("openvino", "f32", [QUICK], folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[dict[str, Arrays]]":
    folder = tmp_path_factory.mktemp("rows")
    yield {
        "openvino": computed_by("openvino", "f32,bf16" if has_bf16() else "f32", in_parts(list(ROWS)), folder),
        "keras": computed_by("keras", "f32", in_parts(KINDS), folder),
    }
    shutil.rmtree(folder)


def cosine(these: "NDArray[np.float32]", those: "NDArray[np.float32]") -> "NDArray[np.float64]":
    a, b = these.astype(np.float64), those.astype(np.float64)
    result: NDArray[np.float64] = (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return result


def of_differences(features: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """What distinguishes the images: in some random networks 0.99999 of every feature is common to all images."""
    differences: NDArray[np.float32] = (features - features.mean(axis=0)).ravel()
    return differences


def projected(values: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Any number of values -> float64 [NUMBERS], always with the same random directions."""
    directions = np.random.default_rng(0).normal(0, values.size**-0.5, (NUMBERS, values.size))
    result: NDArray[np.float64] = directions @ values.ravel().astype(np.float64)
    return result


def projections(features: "NDArray[np.float32]") -> "dict[str, NDArray[np.float64]]":
    """Of features [3, D], as golden.json has them."""
    return {"features": projected(features), "differences": projected(of_differences(features))}


def check_golden(row: Backbone, features: "NDArray[np.float32]") -> None:
    assert features.shape == (3, row.blocks.width)
    assert features.dtype == np.float32
    golden = json.loads(GOLDEN.read_text())[row.name]
    for name, found in projections(last_of(row, features)).items():
        assert np.abs(found - golden[name]).max() < 1e-3 * np.abs(golden[name]).max(), name


def last_of(row: Backbone, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """The last layer's averages [N, D]."""
    return row.blocks.take(features, row.blocks.last)


def write_golden() -> None:
    """Computes all rows on both engines, which must agree, and writes golden.json."""
    with tempfile.TemporaryDirectory() as folder:
        found, keras = (computed_by(name, "f32", in_parts(list(ROWS)), Path(folder)) for name in ("openvino", "keras"))
    for row in ROWS.values():
        check_agreement(row, found, keras)
    lines = []
    for name in ROWS:
        numbers = {
            key: [float(f"{value:.6g}") for value in values]
            for key, values in projections(last_of(CATALOG[name], found[f"{name}-f32"])).items()
        }
        lines.append(f"{json.dumps(name)}: {json.dumps(numbers)}")
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


@pytest.mark.parametrize("name", QUICK)
def test_features_are_as_ever(name: str, quick: "Arrays") -> None:
    check_golden(CATALOG[name], quick[f"{name}-f32"])


@pytest.mark.parametrize("name", QUICK)
def test_mean_over_positions_is_the_feature_on_openvino(name: str, quick: "Arrays") -> None:
    check_maps(CATALOG[name], quick)


def test_golden_file_has_every_row() -> None:
    assert list(json.loads(GOLDEN.read_text())) == list(ROWS)
    left_out = {row.builder for row in CATALOG.values()} - {row.builder for row in ROWS.values()}
    assert left_out == {"EfficientNetV2L", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"}


def check_maps(row: Backbone, arrays: "Arrays") -> None:
    """Also of ConvNeXt, which normalises what it has pooled."""
    for name in [name for name in arrays if name.startswith(f"{row.name}-") and name.endswith("-maps")]:
        (pooled,), positions, features = arrays[name], arrays[f"{name[:-4]}last"], arrays[name.removesuffix("-maps")][1]
        blocks, is_coarse = row.blocks, "bf16" in name
        assert pooled.shape == features.shape == (blocks.width,)
        rounded = blocks.rounded(pooled.copy())
        for block, place in zip(blocks.all, blocks.slices, strict=True):
            ours, theirs = rounded[place], features[place]
            assert np.abs(ours - theirs).max() < (3e-2 if is_coarse else 2e-3) * np.abs(theirs).max(), block.name
            assert np.ptp(theirs) > 0
        feature = last_of(row, features)
        assert positions.shape[2] == row.features
        assert min(positions.shape[:2]) > 1
        spread = np.abs(positions - feature).max()
        assert spread > 1e-3 * np.abs(feature).max()  # positions differ
        # Of float32 2.1e-6 was measured, of resnet152_v2.
        mean, tolerance = positions.mean(axis=(0, 1), dtype=np.float64), 1e-2 if is_coarse else 1e-5
        assert np.abs(mean - feature).max() < tolerance * max(spread, np.abs(feature).max())
        assert cosine(mean, feature) > 0.9999


def check_agreement(row: Backbone, openvino: "Arrays", keras: "Arrays") -> None:
    """Of both engines, on the features and on every position."""
    ours, theirs = openvino[f"{row.name}-f32"], keras[f"{row.name}-f32"]
    for place in row.blocks.slices:
        assert cosine(ours[:, place], theirs[:, place]).min() > 0.999
    ours, theirs = last_of(row, ours), last_of(row, theirs)
    assert cosine(of_differences(ours), of_differences(theirs)) > 0.99999  # 1 - 1e-10 was measured
    ours, theirs = openvino[f"{row.name}-f32-last"], keras[f"{row.name}-f32-last"]
    assert ours.shape == theirs.shape
    assert cosine(ours - ours.mean(axis=(0, 1)), theirs - theirs.mean(axis=(0, 1))).min() > 0.999


@pytest.mark.slow
@EACH_ROW
def test_features_of_all_are_as_ever_and_tell_images_apart(row: Backbone, computed: "dict[str, Arrays]") -> None:
    features = computed["openvino"][f"{row.name}-f32"]
    check_golden(row, features)
    assert not np.array_equal(features[0], features[1])


@pytest.mark.slow
@EACH_ROW
def test_the_mean_over_positions_is_the_feature(row: Backbone, computed: "dict[str, Arrays]") -> None:
    check_maps(row, computed["openvino"])


@pytest.mark.slow
@EACH_KIND
def test_keras_gives_what_openvino_gives(row: Backbone, computed: "dict[str, Arrays]") -> None:
    check_golden(row, computed["keras"][f"{row.name}-f32"])
    check_maps(row, computed["keras"])
    check_agreement(row, computed["openvino"], computed["keras"])


@pytest.mark.slow
@pytest.mark.skipif(not has_bf16(), reason="this processor has no bfloat16")
@EACH_KIND
def test_bfloat16_is_close(row: Backbone, computed: "dict[str, Arrays]") -> None:
    coarse, fine = (last_of(row, computed["openvino"][f"{row.name}-{precision}"]) for precision in ("bf16", "f32"))
    assert cosine(coarse, fine).min() > 0.98
    assert cosine(of_differences(coarse), of_differences(fine)) > 0.95  # 0.983 was measured, for mobilenet_v2
    assert not np.array_equal(coarse, fine)


if __name__ == "__main__":
    if sys.argv[1:] == ["golden"]:
        write_golden()
    else:
        chosen, precisions, rows, written = sys.argv[1:]
        compute(chosen, precisions.split(","), rows.split(","), Path(written))  # type: ignore[arg-type]
