"""How often the heat map of an explanation points at the defect, on real images with a planted defect of known place.

python bench/explanations.py [--tiles ARCHIVE] [--images 400] [--explained 60]

Magnetic tiles without defects (ARCHIVE: a folder for each class, here MT_Free) get a dark hole of 6 to 14 pixels;
functional solar cells (from pip) a dark crack of 10 to 24. A head is fitted on as many images without as with a defect;
then other images with one are explained: efficientnet_lite0 (ImageNet weights), 224 pixels, layers last and all.
"Point": the hottest point is at most 8 pixels from the defect. "10 %", "2 %": how much of the defect lies within that
hottest part of the image. Writes bench/results/explanations.json.
"""

import argparse
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from measure import introduce, save, table
from tlcli.backbones.blocks import Blocks
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import find_weights
from tlcli.config.build_dataset import dataset_index
from tlcli.config.load import find_config, load_config
from tlcli.engines.interface import Engine, Runner, open_engine
from tlcli.evaluation.activation_map import activation_map
from tlcli.features.rows import Rows
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.images.decode import prepare
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.system.prefetch import in_order
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

SIDE, NEAR = 224, 8
"""Pixels: of an image, and how far from the defect the hottest point may lie."""
ROW = CATALOG["efficientnet_lite0"]
PREPARATION = Preparation((SIDE, SIDE), "squash")


def hole(random: np.random.Generator) -> Image.Image:
    """A mask of an ellipse somewhere, white on black."""
    mask = Image.new("L", (4 * SIDE, 4 * SIDE))
    row, column = 4 * random.integers(24, SIDE - 24, 2)
    high, wide = 4 * random.uniform(3, 7, 2)
    ImageDraw.Draw(mask).ellipse((column - wide, row - high, column + wide, row + high), fill=255)
    return mask


def crack(random: np.random.Generator) -> Image.Image:
    """A mask of a line of four parts that turn a little."""
    mask = Image.new("L", (4 * SIDE, 4 * SIDE))
    length, angle = random.uniform(10, 24), random.uniform(0, np.pi)
    points = [tuple(4 * random.integers(24, SIDE - 24, 2))]
    for turn in random.normal(0, 0.4, 4):
        angle += turn
        points.append((points[-1][0] + length * np.cos(angle), points[-1][1] + length * np.sin(angle)))
    ImageDraw.Draw(mask).line(points, fill=255, width=8)
    return mask


def planted(pixels: "Pixels", mask: Image.Image, depth: float) -> "tuple[Pixels, NDArray[np.bool_]]":
    """The image with a soft-edged defect that is darker by ``depth``, and where the defect is."""
    small = mask.resize((SIDE, SIDE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.7))
    cover = np.asarray(small, np.float64)[..., np.newaxis] / 255
    return np.rint(pixels * (1 - depth * cover)).astype(np.uint8), cover[..., 0] > 0.25


def measured(heat: "NDArray[np.float64]", defect: "NDArray[np.bool_]") -> tuple[float, float, float]:
    """Whether the hottest point hits the defect, and the shares of it in the hottest 10 % and 2 % of the image."""
    fine = Image.fromarray(heat.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    relevance = np.asarray(fine)
    hottest = np.array(np.unravel_index(relevance.argmax(), relevance.shape))
    distance = np.abs(np.argwhere(defect) - hottest).max(axis=1).min()
    inside = [float((relevance >= np.quantile(relevance, 1 - share))[defect].mean()) for share in (0.1, 0.02)]
    return float(distance <= NEAR), inside[0], inside[1]


def computed(runner: "Runner[Any]", images: "Sequence[Pixels]") -> list[Any]:
    """What the runner computes of each image."""
    futures = in_order(runner.submit, [Item(image) for image in images], runner.window)
    return [result for _, future in futures for result in future.result()]


def trial(
    engine: Engine, images: "Sequence[Pixels]", explained: int, draw: Any, seed: int = 0
) -> Iterator[tuple[str, float, "NDArray[np.float64]"]]:
    """Plants defects, fits, explains; yields the layers, the share of the explained that the head recognises, and
    three means of :func:`measured`."""
    random = np.random.default_rng(seed)
    chosen = [images[number] for number in random.permutation(len(images))]
    made = [planted(pixels, draw(random), random.uniform(0.35, 0.7)) for pixels in chosen]
    training = [made[number][0] if number % 2 else chosen[number] for number in range(len(chosen) - explained)]
    rows = np.stack(computed(engine, training))
    with closing(engine.maps()) as runner:
        maps = computed(runner, [pixels for pixels, _ in made[-explained:]])
    choices: dict[str, Blocks] = {"last": ROW.blocks.select(["last"], ["avg", "max"]), "all": ROW.blocks}
    for layers, inputs in choices.items():
        features = Rows.of(ROW.blocks.take(rows, inputs), np.arange(len(rows)) % 2, widths=inputs.widths)
        head = fit_logistic_regression(features, [1e-3, 1e-2, 1e-1], 5, True, "none", seed).head
        recognised, found = [], []
        for one, (_, defect) in zip(maps, made[-explained:], strict=True):
            heat = activation_map(one, head, inputs, 1)
            recognised.append(heat.mean() > 0)
            found.append(measured(heat, defect))
        yield layers, float(np.mean(recognised)), np.mean(found, axis=0)


def solar_cells(count: int) -> "list[Pixels]":
    """Functional cells."""
    loaded = load_config(find_config("solar_cells"))
    fetch(loaded)
    index = dataset_index(loaded.config.dataset, loaded.options)
    paths = [image.path for image in index.images if image.label == "functional"]
    return [prepare(path.read_bytes(), PREPARATION) for path in paths[:: max(1, len(paths) // count)][:count]]


def tiles(archive: str, count: int) -> "list[Pixels]":
    """Magnetic tiles without defects."""
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if "MT_Free/" in name and name.endswith(".jpg"))
        names = names[:: max(1, len(names) // count)][:count]
        return [prepare(opened.read(name), PREPARATION) for name in names]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    parser.add_argument("--images", type=int, default=400, help="for the fit (default: 400)")
    parser.add_argument("--explained", type=int, default=60, help="images explained (default: 60)")
    options = parser.parse_args()
    introduce()
    spec = BackboneSpec(ROW, (SIDE, SIDE), find_weights(ROW, "imagenet"), EngineChoice("openvino", "f32", ""))
    count, lines, results = options.images + options.explained, [], []
    with closing(open_engine(spec, Decoder(PREPARATION))) as engine:
        sets = {"solar cells, crack": (solar_cells(count), crack)}
        if options.tiles:
            sets["magnetic tiles, hole"] = (tiles(options.tiles, count), hole)
        for name, (images, draw) in sets.items():
            for layers, recognised, (point, tenth, fiftieth) in trial(engine, images, options.explained, draw):
                lines.append([name, layers, f"{recognised:.0%}", f"{point:.0%}", f"{tenth:.0%}", f"{fiftieth:.0%}"])
                results.append({"data set": name, "layers": layers, "recognised": recognised, "point": point,
                                "in 10 %": tenth, "in 2 %": fiftieth})  # fmt: skip
    print(table(("data set", "layers", "recognised", "point", "10 %", "2 %"), lines))
    save("explanations", results=results)


if __name__ == "__main__":
    main()
