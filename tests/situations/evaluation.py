"""Runs that are evaluated where their data moved or changed, on other data, and named by their config.

Everything is real but the backbone: its double gives an image's grey levels as features.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import yaml
from PIL import Image, ImageOps
from tests.situations.situation import Outcome, Situation

from tlcli.backbones.weights import Weights
from tlcli.cli.options import config_of_runs
from tlcli.config import build_features
from tlcli.config.build_dataset import dataset_index
from tlcli.config.load import load_config
from tlcli.engines.double import FakeEngine
from tlcli.errors import TlcliError
from tlcli.runs.external import read_externals
from tlcli.runs.folders import find_run
from tlcli.runs.images import difference, read_images
from tlcli.runs.records import read_record
from tlcli.workflows.evaluate import Evaluated, evaluate
from tlcli.workflows.train import train

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = {"cat": 80, "dog": 170}
"""Their mean grey levels."""


@dataclass(frozen=True)
class Result:
    """What a command makes of a situation."""

    values: dict[str, object]
    """Names and values, for the document and for the test."""
    code: str = ""
    """Of the error, where it is refused."""

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value}" for name, value in self.values.items())
        return "; ".join(part for part in (f"refused: `{self.code}`" if self.code else "", values) if part)


class GreyLevels(FakeEngine):
    """The grey levels of an image as its features, so that versions of an image have similar ones."""

    def feature(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        small = Image.fromarray(pixels).convert("L").resize((16, 16))
        levels = np.asarray(small, np.float32).reshape(16, 16)
        both = np.concatenate([levels.ravel(), levels[:, ::-1].ravel()])  # mirrored ones share half
        return np.concatenate([np.resize(both / 256, width) for width in self.blocks.widths]).astype(np.float32)


@contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    """A folder to work in, and the double instead of a backbone."""
    weights = Weights(folder / "weights", "0" * 64)
    with (
        patch.object(build_features, "find_weights", lambda *_: weights),
        patch.object(build_features, "open_engine", GreyLevels.open),
        chdir(folder),
    ):
        yield


def draw(folder: Path, count: int = 12, seed: int = 0, labels: tuple[str, ...] = ("cat", "dog")) -> None:
    """Draws images of blocks into class folders, the same bytes everywhere; another seed draws others."""
    random = np.random.default_rng(seed)
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            blocks = np.clip(random.normal(CLASSES.get(label, 120), 40, (16, 16)), 0, 255).astype(np.uint8)
            Image.fromarray(blocks).resize((64, 64), Image.Resampling.NEAREST).save(folder / label / f"{number}.bmp")


def trained(config: Path = Path("my.yaml"), data: Path = Path("data"), **section: object) -> Path:
    """Draws the data if there is none, writes the config and trains; the run."""
    if not data.exists():
        draw(data)
    text = {
        "dataset": {"path": str(data), **section},
        "image": {"size": 64},
        "backbone": {"name": "mobilenet_v2", "weights": "random", "engine": "keras"},
        "head": {"Cs": [1.0], "folds": 2},
        "evaluate": {"figures": False, "report": False, "cross_validation": None},
    }
    config.parent.mkdir(exist_ok=True)
    config.write_text(yaml.safe_dump(text))
    return train(load_config(config), Path("runs")).run_dir


def measured(done: Evaluated) -> Result:
    """What was measured, for a row."""
    if done.external is None:
        renamed = {"renamed": done.renamed} if done.renamed else {}
        return Result({"test images": done.metrics["test"].n, **renamed})
    leaks = done.external.leaks
    values: dict[str, object] = {"external images": done.external.metrics.n}
    for kind in ("exact", "near"):
        if count := leaks.count(kind):
            values[f"{kind} copies of training images"] = count
    for split, count in done.external.same_as.items():
        values[f"of these {split} images of the run"] = count
    return Result(values if leaks.near_by == "images" else {**values, "near ones": "suspected by their features"})


def changed(run: Path, error: TlcliError) -> Result:
    """What changed in the run's data set, counted."""
    index = dataset_index(load_config(run / "config.yaml").config.dataset, ())
    counts = difference(read_images(run, read_record(run).data_digest), index.images).counts()
    return Result(dict(counts), error.code)


def row(brings: str, expected: Result | str, act: Callable[[], Result], note: str = "") -> Situation:
    """A situation whose outcome is what a function in a folder returns, or the code of the error that it raises."""

    def find(_: Situation, folder: Path) -> Outcome:
        with surroundings(folder):
            try:
                return Outcome(act(), ())
            except TlcliError as error:
                return Outcome(error.code, (error.message, error.hint))

    return Situation(brings, lambda _: {}, expected, note, find)


# The run's own data


def after(change: Callable[[], object], to: Path | None = None, **section: object) -> Callable[[], Result]:
    """Trains, changes the data, and evaluates, with ``--data`` where ``to`` is given."""

    def act() -> Result:
        run = trained(**section)  # type: ignore[arg-type]
        change()
        return measured(evaluate(run, data=to))

    return act


def changing(change: Callable[[], object]) -> Callable[[], Result]:
    """Trains on split folders, changes them, and counts what evaluate refuses."""

    def act() -> Result:
        run = split_folders()
        change()
        try:
            return measured(evaluate(run))
        except TlcliError as error:
            return changed(run, error)

    return act


DATA, MOVED, OTHER = Path("data"), Path("elsewhere/images"), Path("site")


def move() -> None:
    MOVED.parent.mkdir()
    DATA.rename(MOVED)


def move_and_rename() -> None:
    move()
    for number, path in enumerate(sorted(MOVED.glob("*/*.bmp"))):
        path.rename(path.with_name(f"IMG_{number}.bmp"))


def exchange_names() -> None:
    one, other, aside = (Path("data/train/cat", name) for name in ("1.bmp", "2.bmp", "aside.bmp"))
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def split_folders() -> Path:
    draw(DATA / "train", 8)
    draw(DATA / "val", 3, seed=1)
    draw(DATA / "test", 3, seed=2)
    return trained()


# Other data


def external(make: Callable[[], object], data: Path = OTHER, **section: object) -> Callable[[], Result]:
    """Trains, makes another folder, and evaluates on it."""

    def act() -> Result:
        run = trained(**section)  # type: ignore[arg-type]
        make()
        return measured(evaluate(run, data=data))

    return act


def site_with_copies() -> None:
    """Six others, two copies of training images and a mirrored one."""
    draw(OTHER, 3, seed=5)
    run = find_run(Path("runs"))
    training = [one for one in read_images(run, read_record(run).data_digest) if one.split == "train"]
    for number, one in enumerate([one for one in training if one.label == "cat"][:2]):
        shutil.copy(DATA / one.path, OTHER / "cat" / f"copy{number}.bmp")
    mirrored = next(one for one in training if one.label == "dog")
    ImageOps.mirror(Image.open(DATA / mirrored.path)).save(OTHER / "dog" / "mirrored.bmp")


def site_with_copies_only() -> None:
    site_with_copies()
    shutil.rmtree(DATA)


def two_of_one_name() -> Result:
    run = trained()
    for number, site in enumerate(("a/test", "b/test", "a/test"), 1):
        if not Path(site).exists():
            draw(Path(site), number + 1, seed=number + 10)
        evaluate(run, data=Path(site))
    results, _ = read_externals(run)
    return Result({result.name: f"({result.metrics.n} images)" for result in results})


def beside_the_runs_own() -> Result:
    run = trained()
    evaluate(run)
    before = (run / "metrics.json").read_bytes(), (run / "predictions.csv").read_bytes()
    draw(OTHER, 3, seed=5)
    evaluate(run, data=OTHER)
    after_it = (run / "metrics.json").read_bytes(), (run / "predictions.csv").read_bytes()
    files = sorted(path.name for path in (run / "external/site").iterdir())
    return Result({"the run's own files": "unchanged" if after_it == before else "changed", "new": " and ".join(files)})


def changed_and_given_as_data() -> Result:
    run = split_folders()
    Path("data/train/cat/0.bmp").unlink()
    return measured(evaluate(run, data=DATA))


def own_test_folder() -> Result:
    return measured(evaluate(split_folders(), data=DATA / "test"))


def images_without_classes() -> None:
    draw(OTHER, 3, 5, ("cat",))
    for path in list((OTHER / "cat").iterdir()):
        path.rename(OTHER / path.name)
    (OTHER / "cat").rmdir()


def one_empty_class() -> None:
    draw(OTHER, 3, 5, ("cat",))
    (OTHER / "dog").mkdir()


def in_splits(first: str, second: str) -> None:
    draw(OTHER / first, 5, 5)
    draw(OTHER / second, 2, 6)


def table_of_labels() -> Result:
    for folder, seed in ((DATA, 0), (OTHER, 7)):
        draw(folder, 12 if folder == DATA else 3, seed)
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("*/*.bmp"))]
        (folder / "labels.csv").write_text("\n".join(["file,label", *(f"{n},{n.split('/')[0]}" for n in names)]))
    run = trained(labels={"file": "labels.csv", "path": "file", "label": "label"})
    return measured(evaluate(run, data=OTHER))


def split_folders_then_plain() -> Result:
    run = split_folders()
    draw(OTHER, 3, seed=5)
    return measured(evaluate(run, data=OTHER))


# Naming a run by its config


def two_projects(*order: str) -> dict[str, Path]:
    """Trains the configs ``NAME/config.yaml`` in this order, all into one folder of runs."""
    return {name: trained(Path(name, "config.yaml"), Path(name, "data")) for name in order}


def found(given: str, runs: dict[str, Path], run: Path | None = None) -> Result:
    """Whose run ``--config`` finds."""
    path = find_run(Path("runs"), config_of_runs(given), run)
    return Result({"the run of": next(name for name, one in runs.items() if one.resolve() == path)})


def moved_project() -> Result:
    runs = two_projects("a")
    os.rename("a", "moved")  # noqa: PTH104
    return found("moved/config.yaml", runs)


def through_a_link() -> Result:
    runs = two_projects("a", "b")
    Path("linked.yaml").symlink_to("a/config.yaml")
    return found("linked.yaml", runs)


def untrained_project() -> Result:
    runs = two_projects("a")
    Path("b").mkdir()
    Path("b/config.yaml").write_text(Path("a/config.yaml").read_text() + "# another\n")
    return found("b/config.yaml", runs)


def run_of_another() -> Result:
    runs = two_projects("a", "b")
    return found("a/config.yaml", runs, runs["b"])


def edited_config() -> Result:
    runs = two_projects("a")
    Path("a/config.yaml").write_text(Path("a/config.yaml").read_text() + "# edited\n")
    return found("a/config.yaml", runs)


_CHANGED = "data.changed_since_training"
_COPIES = {"external images": 9, "exact copies of training images": 2}
_CAT = Path("data/train/cat/3.bmp")

EVALUATION = [
    row("`evaluate`, and the data has moved", "data.images_missing", after(move), "the hint names `--data`"),
    row("the same with `--data` and its new place", Result({"test images": 4}), after(move, MOVED)),
    row("the same, and every image was renamed", Result({"test images": 4, "renamed": 24}), after(move_and_rename, MOVED)),
    row("a renamed image", Result({"test images": 6, "renamed": 1}), changing(lambda: _CAT.rename(_CAT.with_name("x.bmp")))),
    row("a new image", Result({"added": 1}, _CHANGED), changing(lambda: Image.new("L", (8, 8)).save(_CAT.with_name("x.bmp")))),
    row("a second copy of an image", Result({"added": 1}, _CHANGED), changing(lambda: shutil.copy(_CAT, _CAT.with_name("x.bmp")))),
    row("an image was deleted", Result({"removed": 1}, _CHANGED), changing(_CAT.unlink)),
    row("an image was edited", Result({"edited": 1}, _CHANGED), changing(lambda: Image.new("L", (8, 8)).save(_CAT))),
    row("an image was moved to another class", Result({"relabelled": 1}, _CHANGED), changing(lambda: _CAT.rename("data/train/dog/x.bmp"))),
    row("an image was moved from `train/` to `test/`", Result({"moved": 1}, _CHANGED), changing(lambda: _CAT.rename("data/test/cat/x.bmp"))),
    row("two images have exchanged their names", Result({"test images": 6, "renamed": 2}), changing(exchange_names)),
    row("a class folder was deleted", _CHANGED, after(lambda: shutil.rmtree("data/dog"))),
    row("data that changed, and its own folder as `--data`", Result({"external images": 6, "of these test images of the run": 6}), changed_and_given_as_data),
    row("`--data` with other images of the same classes", Result({"external images": 6}), external(lambda: draw(OTHER, 3, 5))),
    row("`--data` with one of the classes", Result({"external images": 3}), external(lambda: draw(OTHER, 3, 5, ("dog",)))),
    row("`--data` with a class that the run does not know", "data.unknown_classes", external(lambda: draw(OTHER, 3, 5, ("cat", "owl")))),
    row("a run with `classes: [cat, dog]`, `--data` with `owl/` beside them", Result({"external images": 6}), external(lambda: draw(OTHER, 3, 5, ("cat", "dog", "owl")), classes=["cat", "dog"]), "`owl` is left out and counted"),
    row("a run with `classes: [cat, dog]`, `--data` with one of them", Result({"external images": 3}), external(lambda: draw(OTHER, 3, 5, ("dog",)), classes=["cat", "dog"])),
    row("`--data` with an empty folder for one of the classes", Result({"external images": 3}), external(one_empty_class)),
    row("`--data` with images that are in no class folder", "data.too_few_classes", external(images_without_classes)),
    row("the run's own `test/` as `--data`", Result({"external images": 6, "of these test images of the run": 6}), own_test_folder),
    row("`--data` with `train/` and `test/`", Result({"external images": 4}), external(lambda: in_splits("train", "test"))),
    row("`--data` with `train/` and `val/`", Result({"external images": 14}), external(lambda: in_splits("train", "val"))),
    row("a run on split folders, `--data` with class folders", Result({"external images": 6}), split_folders_then_plain),
    row("a run on a label table, `--data` with a table of its own", Result({"external images": 6}), table_of_labels),
    row("`--data` with copies of training images", Result({**_COPIES, "near copies of training images": 1}), external(site_with_copies)),
    row("the same where the training images are gone", Result({**_COPIES, "near ones": "suspected by their features"}), external(site_with_copies_only)),
    row("`--data a/test`, then `--data b/test`, then `a/test` again", Result({"test": "(4 images)", "test-2": "(6 images)"}), two_of_one_name),
    row("`--data` after `evaluate`", Result({"the run's own files": "unchanged", "new": "metrics.json and predictions.csv"}), beside_the_runs_own),
    row("`--data` with a folder that does not exist", "data.images_missing", external(lambda: None)),
    row("`--data` with an archive", "data.not_a_folder", external(lambda: OTHER.write_bytes(b"PK"))),
    row("`--config a/config.yaml`, and `b/config.yaml` was trained after it", Result({"the run of": "a"}), lambda: found("a/config.yaml", two_projects("a", "b"))),
    row("`--config b/config.yaml`, and only `a/config.yaml` was trained", "model.no_runs_of_config", untrained_project),
    row("`--config` with a file that does not exist", "config.not_found", lambda: found("c/config.yaml", two_projects("a"))),
    row("`--config` through a link", Result({"the run of": "a"}), through_a_link),
    row("`--config` of a project folder that has moved", Result({"the run of": "a"}), moved_project),
    row("`--config` with a config that was edited after training", Result({"the run of": "a"}), edited_config),
    row("`--run` of one config, `--config` of another", "usage.run_of_another_config", run_of_another),
]  # fmt: skip
