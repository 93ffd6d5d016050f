"""What fine-tuning brings, costs and survives. Each part prints a Markdown table, and can be run alone.

python bench/finetune.py [--only predict kills speed avp solar tiles] [--alien-predator ARCHIVE] [--tiles ARCHIVE]
                         [--set KEY=VALUE ...]

solar    solar cells (from pip) on --splits random splits: test accuracy, log loss and shifted copies of each row of
         SOLAR, and of a last one with the settings of --set; gains over the row before, and over the frozen head with
         the same settings. Gains are pooled over the splits: the images are units with their near duplicates, and an
         image that several splits test is one unit, too. Hours. --steps names the rows, by number.
tiles    magnetic tiles: cross-validated balanced accuracy of each row of TILES, fine-tuned anew for every fold; once
         with near duplicates kept in one fold, as train does (the tiles are six exposures each), once in plain
         stratified folds. Hours; --folds and --divisions do less.
avp      Alien vs. Predator: whole cold `tlcli train` commands with one block, and whether it is kept.
speed    DenseNet201, random weights, one block, drawn images: seconds of an epoch and of the whole cold command, beside
         plain Keras (bench/plain/finetune.py), which trains the same block inside the whole network. --timed-epochs
         epochs of Keras are run; the others are counted as the median of all but the first.
kills    `tlcli train` with an empty cache is killed (kill -9) at random moments and run again, until it ends; then
         anew. Every model must be that of an undisturbed run, byte for byte. Every second kill spares child processes.
predict  whole `tlcli predict IMAGE`, frozen and fine-tuned, in turns.

Without --only all parts but solar and tiles run. These two use the cache of tlcli, so that they go on where they were
interrupted; the others an empty one. Writes bench/results/finetune.json, in which the other parts stay, and of solar
and tiles the other rows.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file

from engine import available_weights
from gains import Answers, Gain, balanced_accuracy, balanced_gain, pooled_gain
from images import make_tree
from machine import machine
from measure import (
    TLCLI,
    empty,
    in_turn,
    introduce,
    keras_program,
    note,
    ratio,
    settings,
    spread,
    tlcli,
    values,
)
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.weights import find_weights
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor, layer_candidates
from tlcli.config.build_finetune import fine_tune_head
from tlcli.config.build_head import class_weight_of, fit_head
from tlcli.config.build_run import OpenedRun
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.datasets.index import Index
from tlcli.evaluation.duplicate_pairs import joined_units, near_duplicate_pairs
from tlcli.evaluation.finetuning_proof import Side
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.folds import folds_of
from tlcli.images.augmentation import PLAIN
from tlcli.images.shifts import SHIFTS, shift_name
from tlcli.runs.records import RunFinetuning
from tlcli.system.files import cache_folder, whole_file
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Step:
    """A row of a table: settings of a config."""

    name: str
    settings: tuple[str, ...] = ()
    """``section.key=value`` each; of a step that is fine-tuned, those of ``finetune`` too."""
    is_tuned: bool = False
    options: tuple[str, ...] = ()
    """Of ``tlcli train``, besides."""

    @property
    def all_settings(self) -> tuple[str, ...]:
        """Those that the command takes."""
        return (*self.settings, *(TUNED if self.is_tuned else ()))

    def frozen(self) -> "Step":
        """The frozen head on the same features."""
        kept = tuple(one for one in self.settings if not one.startswith(("finetune.", "head.fit=")))
        return Step(f"{self.name}, frozen", kept)


TUNED = ("head.fit=finetune", "finetune.keep=always")
_224 = ("image.size=224",)
VIEWED = ("augment.flip=both", "augment.rotation=2", "augment.brightness=0.05", "augment.contrast=0.1",
          "finetune.learning_rates=[0.001]", "finetune.views=7", "finetune.epochs=3", "finetune.mixup=0.2")  # fmt: skip
"""Of cells: which side is up says nothing; the recipe was chosen on validation images of two splits, mixup by the log
loss of held-out training images of one."""
SOLAR = (
    Step("last layer, average, 224 pixels", (*_224, "backbone.layers=last", "backbone.pooling=avg")),
    Step("all layers, 224 pixels", _224),
    Step("all layers, 300 pixels", ("image.size=300",)),
    Step("last 3 blocks fine-tuned, 224 pixels", (*_224, *VIEWED, "finetune.blocks=3"), is_tuned=True),
    Step("whole network fine-tuned, 224 pixels", (*_224, *VIEWED, "finetune.blocks=all"), True, ("--yes",)),
)
"""What each part brings: edit, and run again; what was trained before is in the cache."""
_BALANCED, _SQUASH = "head.class_weight=balanced", "image.resize=squash"
_SMALL, _LARGE = ("image.size=224", _SQUASH), ("image.size=448", _SQUASH)
TILES = (
    Step("last layer, average, 224 pixels",
         (_BALANCED, "image.size=224", "backbone.layers=last", "backbone.pooling=avg")),
    Step("all layers, 448 pixels", (_BALANCED, *_LARGE)),
    Step("all layers, 224 pixels", (_BALANCED, *_SMALL)),
    Step("last block fine-tuned, 224 pixels", (_BALANCED, *_SMALL, "finetune.blocks=1"), is_tuned=True),
    Step("last block fine-tuned, 448 pixels", (_BALANCED, *_LARGE, "finetune.blocks=1"), is_tuned=True),
)  # fmt: skip
ALIEN_PREDATOR = (
    Step("as the shipped config", ("backbone.name=efficientnet_lite0",)),
    Step("all layers", ("backbone.name=efficientnet_lite0", "backbone.layers=all", "backbone.pooling=avg_max",
                        "head.standardize=true")),
)  # fmt: skip
PLAINLY = settings(evaluate__figures="false", evaluate__cross_validation="null", evaluate__transfer="null")
"""Nothing is computed that is not measured here."""
QUICK = ("predict", "kills", "speed", "avp")
VIEWS = {PLAIN: "plain", **{view: shift_name(view) for view in SHIFTS}}
"""Names of what is measured."""
ROWS_STAY = ("solar", "tiles")
"""Parts whose rows are measured one by one."""
FOLDS = 5
RESULTS = Path(__file__).parent / "results" / "finetune.json"
Keep = Callable[[dict[str, Any]], None]
"""Writes what a part has found so far."""


def merge(path: Path, part: str, found: dict[str, Any]) -> dict[str, Any]:
    """All parts in a file of results, with this one; rows of it that were not measured now stay as they were."""
    try:
        others = dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        others = {}
    if part in ROWS_STAY:
        before = {_row(one): one for one in others.get(part, {}).get("rows", ())}
        found = {**found, "rows": list((before | {_row(one): one for one in found["rows"]}).values())}
    return {**others, part: {"machine": machine(), **found}}


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    return row["step"], row.get("folds")


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; the first column to the left."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


@contextmanager
def in_cache(folder: Path) -> Iterator[None]:
    """This process, too, uses another cache for a while."""
    before = os.environ.get("TLCLI_CACHE")
    os.environ["TLCLI_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["TLCLI_CACHE"]
        if before is not None:
            os.environ["TLCLI_CACHE"] = before


def chosen_steps(steps: Sequence[Step], numbers: Sequence[int] | None) -> list[Step]:
    """Those of the numbers, from 1; all where there are none."""
    return list(steps) if numbers is None else [steps[number - 1] for number in numbers]


def words(given: Sequence[str]) -> list[str]:
    """``--set`` for each."""
    return [word for one in given for word in ("--set", one)]


def points(difference: float, interval: Sequence[float]) -> str:
    """``+1.2 (0.3 to 2.1)``, of shares, in points."""
    return f"{100 * difference:+.1f} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


# --- solar ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """One run of one split."""

    answers: Answers
    seconds: float
    """Of the whole command."""
    finetuning: dict[str, Any] | None
    """As run.json has it."""


@dataclass(frozen=True)
class Splits:
    """Runs of a config on several random splits of its images."""

    config: str
    given: tuple[str, ...]
    """Settings of all steps."""
    seeds: Sequence[int]
    folder: Path
    """Holds the runs."""

    def step(self, step: Step) -> list[Trained]:
        """Trains a step on every split, or takes what it was before."""
        return [self._trained(step, seed) for seed in self.seeds]

    def _trained(self, step: Step, seed: int) -> Trained:
        chosen = (*self.given, *step.all_settings, f"dataset.split.seed={seed}")
        run = self.folder / hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:16]
        record = run / "seconds.json"
        if not record.is_file():
            note(f"{step.name}: split {seed}")
            done = tlcli(
                self.folder, cache_folder(), "train", "--config", self.config, "--output", run, "--quiet", "--json",
                *step.options, *PLAINLY, *words(chosen),
            )  # fmt: skip
            record.write_text(json.dumps([done.seconds, done.document()["finetuning"]]))
        seconds, finetuning = json.loads(record.read_text())
        return Trained(answers_of(run), seconds, finetuning)


def answers_of(run: Path) -> Answers:
    """Of a run, on its test images, as they are and in shifted copies."""
    opened = OpenedRun.open(run)
    index = dataset_index(opened.config.dataset, ())
    extractor = feature_extractor(index, opened.config, tail=opened.bundle.tail)
    test, views = index.of("test"), tuple(VIEWS)
    extractor.extract([(test, views)])
    by_view = {view: extractor.rows(test, index.labels, [view]) for view in views}
    answers = {VIEWS[view]: opened.bundle.head.predict(rows) for view, rows in by_view.items()}
    return Answers(tuple(image.sha256 for image in test), by_view[PLAIN].labels, answers)


def units_of(loaded: LoadedConfig) -> tuple[dict[str, int], float]:
    """The unit of every image by its sha256, with near duplicates together; and the share that is tested of those that
    are tested or trained on."""
    index = dataset_index(loaded.config.dataset, loaded.options)
    extractor = feature_extractor(index, loaded.config)
    units = near_units(index, extractor)
    unit_of = {image.sha256: unit for image, unit in zip(index.images, units.tolist(), strict=True)}
    test, train = len(index.of("test")), len(index.of("train"))
    return unit_of, test / (test + train)


def near_units(index: Index, extractor: FeatureExtractor) -> "NDArray[np.int64]":
    """[N], units of all images of an index: its groups, with near duplicates together."""
    extractor.extract([(index.images, (PLAIN,))])
    near = extractor.rows(index.images, index.labels, blocks=extractor.last)
    pairs = near_duplicate_pairs(index.images, near, extractor.decoder.preparation, extractor.store.key)
    return joined_units(near.units, index.images, pairs)


def compared(
    before: Sequence[Trained], after: Sequence[Trained], unit_of: Mapping[str, int], share: float
) -> dict[str, Gain]:
    """The gain of each view."""
    first, second = ([one.answers for one in some] for some in (before, after))
    return {view: pooled_gain(first, second, unit_of, view, share) for view in second[0].probabilities}


def measured(
    step: Step, splits: Splits, before: Step | None, unit_of: Mapping[str, int], share: float
) -> dict[str, Any]:
    """A row of results."""
    runs = splits.step(step)
    sides = [{view: asdict(Side.of(one.answers.labels, answers)) for view, answers in one.answers.probabilities.items()}
             for one in runs]  # fmt: skip
    row = {
        "step": step.name, "settings": [*splits.given, *step.all_settings],
        **{what: statistics.mean(side["plain"][what] for side in sides) for what in sides[0]["plain"]},
        "shifts": {view: statistics.mean(side[view]["accuracy"] for side in sides) for view in sides[0]},
        "seconds": values(one.seconds for one in runs),
        "splits": [{"seed": seed, "test": side, "seconds": one.seconds, "finetuning": one.finetuning}
                   for seed, side, one in zip(splits.seeds, sides, runs, strict=True)],
    }  # fmt: skip
    if before is not None:
        found = compared(splits.step(before), runs, unit_of, share)
        row |= {"before": before.name, "gain": asdict(found["plain"])}
    if step.is_tuned:
        found = compared(splits.step(step.frozen()), runs, unit_of, share)
        row["over frozen"] = {view: asdict(gain) for view, gain in found.items()}
        row["proved"] = sum(_is_proved(one.finetuning) for one in runs)
    return row


def _is_proved(finetuning: dict[str, Any] | None) -> bool:
    """What ``keep: better`` would have done."""
    pair = finetuning["proof"]["plain"] if finetuning else None
    return pair is not None and pair["difference_ci95"][0] > 0 and pair["p"] < 0.05


def solar_table(rows: Sequence[dict[str, Any]]) -> str:
    """Two tables: what each row brought, and what fine-tuning brought over the frozen head with the same settings."""
    shifts = list(VIEWS.values())[1:]
    steps = [
        [row["step"], f"{row['accuracy']:.4f}", f"{row['log_loss']:.3f}", f"{row['calibration_error']:.3f}",
         points(row["gain"]["difference"], row["gain"]["interval"]) if "gain" in row else "",
         *(f"{row['shifts'][view]:.3f}" for view in shifts), f"{row['seconds']['median']:,.0f}"]
        for row in rows
    ]  # fmt: skip
    first = markdown(
        ("solar cells, test images", "accuracy", "log loss", "calibration error", "points more than the row above",
         *shifts, "seconds of train"), steps,
    )  # fmt: skip
    tuned = [row for row in rows if "over frozen" in row]
    if not tuned:
        return first
    over = [
        [row["step"], points(gain["plain"]["difference"], gain["plain"]["interval"]),
         "{:.1f} to {:.1f}".format(*(100 * end for end in gain["plain"]["cautious"])), f"{gain['plain']['p']:.2g}",
         *(points(gain[view]["difference"], gain[view]["interval"]) for view in shifts),
         f"{gain['plain']['images']:,} ({gain['plain']['distinct']:,})", f"{row['proved']} of {len(row['splits'])}"]
        for row in tuned for gain in [row["over frozen"]]
    ]  # fmt: skip
    columns = (
        "points more than its frozen head", "test images (95 %)", "also other training images", "p", *shifts,
        "images (units)", "kept by `better`",
    )  # fmt: skip
    return f"{first}\n\n{markdown(columns, over)}"


def solar(options: argparse.Namespace, keep: Keep) -> str:
    """Every step on every split."""
    steps = chosen_steps(SOLAR, options.steps)
    if options.set:
        steps.append(Step(options.name, tuple(options.set), True, tuple(options.train_option)))
    return run_steps("solar_cells", (), steps, range(options.splits), keep)


def run_steps(config: str, given: tuple[str, ...], steps: Sequence[Step], seeds: Sequence[int], keep: Keep) -> str:
    """Measures steps on splits; a step that cannot be run is left out, with a note."""
    rows: list[dict[str, Any]] = []
    if not steps:
        raise SystemExit("No rows: give --steps numbers, or --set")
    with TemporaryDirectory() as folder:
        splits = Splits(config, given, seeds, Path(folder))
        unit_of, share = units_of(load_config(find_config(config), (*given, *steps[0].frozen().settings)))
        before = None
        for step in steps:
            try:
                rows.append(measured(step, splits, before, unit_of, share))
            except SystemExit as failed:  # its command ended with an error
                note(f"{step.name} is left out: {failed}")
                continue
            before = step
            keep({"rows": rows})
    return solar_table(rows)


# --- tiles ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    """The images of a config, with what computes their features."""

    loaded: LoadedConfig
    index: Index
    extractor: FeatureExtractor

    @classmethod
    def of(cls, loaded: LoadedConfig) -> "Opened":
        """Computes the features of all images."""
        index = dataset_index(loaded.config.dataset, loaded.options)
        extractor = feature_extractor(index, loaded.config)
        extractor.extract([(index.images, (PLAIN,))])
        return cls(loaded, index, extractor)

    def fold(
        self, units: "NDArray[np.int64]", fitted: "NDArray[np.int64]", held: "NDArray[np.int64]"
    ) -> "tuple[NDArray[np.int64], RunFinetuning | None]":
        """Answers [n] for the images that a fold holds out, by a head, or a fine-tuned network, of the others; and how
        it was fine-tuned."""
        config, images, labels = self.loaded.config, self.index.images, self.index.labels
        train = tuple(replace(images[number], split="train") for number in fitted)
        validation = tuple(replace(images[number], split="validation") for number in held)
        index = replace(self.index, images=(*train, *validation))
        rows = replace(self.extractor.rows(train, labels), units=units[fitted])
        candidates = layer_candidates(config.backbone, self.extractor.blocks)
        measured_rows = self.extractor.rows(validation, labels)
        fit = fit_head(config, rows, measured_rows, len(train), candidates=candidates, labels=labels)
        extractor, head, record = self.extractor, fit.head, None
        if config.head.fit == "finetune":
            # The temperature is fitted on the held-out images: it changes no answer.
            tuned = fine_tune_head(config, index, extractor, fit, rows, class_weight_of(config, labels))
            extractor, head, record = tuned.extractor, tuned.fit.head, tuned.record
        return np.asarray(head.predict(extractor.rows(validation, labels)).argmax(axis=1)), record


def tiles(options: argparse.Namespace, keep: Keep) -> str:
    """Every step on every fold of every division."""
    steps = chosen_steps(TILES, options.steps)
    if options.set:
        steps = [replace(step, name=f"{step.name}, {options.name}", settings=(*step.settings, *options.set))
                 if step.is_tuned else step for step in steps]  # fmt: skip
    with TemporaryDirectory() as folder:
        given = (f"dataset.path={folder}/tiles",)
        fetch(load_config(find_config("my_images"), given), options.tiles)
        return cross_validated("my_images", given, steps, options.divisions, options.folds, keep)


def cross_validated(
    config: str, given: tuple[str, ...], steps: Sequence[Step], divisions: Sequence[str], folds: int, keep: Keep
) -> str:
    """The table of balanced accuracies on so many of the folds of each division."""
    rows: list[dict[str, Any]] = []
    for division in divisions:
        for row in one_division(config, given, steps, division, folds):
            rows.append(row)
            keep({"rows": rows})
    cells = [
        [row["folds"], row["step"], f"{row['balanced_accuracy']:.4f}", f"{row['accuracy']:.4f}",
         points(*row["gain"]) if "gain" in row else "", _proved_in(row["finetuning"]), row["images"],
         f"{row['seconds']:,.0f}"]
        for row in rows
    ]  # fmt: skip
    columns = (
        "folds", "magnetic tiles", "balanced accuracy", "accuracy", "balanced points more than the row above",
        "kept by `better`", "images", "seconds",
    )  # fmt: skip
    return markdown(columns, cells)


def _proved_in(records: Sequence[dict[str, Any]]) -> str:
    return f"{sum(map(_is_proved, records))} of {len(records)} folds" if records else ""


def one_division(
    config: str, given: tuple[str, ...], steps: Sequence[Step], division: str, folds: int
) -> Iterator[dict[str, Any]]:
    """A row for each step, on the same folds."""
    first: Opened | None = None
    before: NDArray[np.int64] | None = None
    for step in steps:
        opened = Opened.of(load_config(find_config(config), (*given, *step.all_settings)))
        if first is None:
            first, rows = opened, opened.extractor.rows(opened.index.images, opened.index.labels)
            units = near_units(first.index, first.extractor) if division == "together" else rows.units
            labels = rows.labels
            chosen = list(folds_of(Rows.of(np.zeros((len(labels), 1), np.float32), labels, units), FOLDS, 0))[:folds]
        assert [one.sha256 for one in opened.index.images] == [one.sha256 for one in first.index.images]
        started, answers, records = time.perf_counter(), np.full(len(labels), -1), []
        for number, (fitted, held) in enumerate(chosen, 1):
            note(f"{step.name}: fold {number} of {len(chosen)}, {division}")
            answers[held], record = opened.fold(units, fitted, held)
            records += [record.model_dump()] if record else []
        known = answers >= 0
        row = {
            "folds": division, "step": step.name, "settings": step.all_settings, "images": int(known.sum()),
            "balanced_accuracy": balanced_accuracy(labels[known], answers[known]),
            "accuracy": float((answers[known] == labels[known]).mean()),
            "seconds": time.perf_counter() - started,
            "recall": {opened.index.labels[label]: float((answers[known & (labels == label)] == label).mean())
                       for label in np.unique(labels[known])},
            "finetuning": records,
        }  # fmt: skip
        if before is not None:
            row["gain"] = balanced_gain(labels[known], units[known], before[known], answers[known])
        before = answers
        yield row


# --- avp --------------------------------------------------------------------------------------------------------------


def avp(options: argparse.Namespace, keep: Keep) -> str:
    """Whole cold commands."""
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        where = settings(dataset__path=folder / "images")
        source = Path(options.alien_predator).expanduser().absolute()
        tlcli(folder, folder / "cache", "fetch", "--config", "alien_predator", "--from", source, *where)
        for step in chosen_steps(ALIEN_PREDATOR, options.steps):
            given = words([*step.settings, "head.fit=finetune", "finetune.blocks=1", *options.set])
            empty(folder / "cache")
            done = tlcli(
                folder, folder / "cache", "train", "--config", "alien_predator", "--quiet", "--json", *where, *given
            )
            rows.append({"step": step.name, "seconds": done.seconds, "finetuning": done.document()["finetuning"]})
            keep({"rows": rows})
    cells = []
    for row in rows:
        found = row["finetuning"]
        pair = found["proof"]["plain"]
        cells.append([
            row["step"], f"{row['seconds']:,.0f}", f"{pair['frozen']['accuracy']:.4f}",
            f"{pair['tuned']['accuracy']:.4f}", points(pair["difference"], pair["difference_ci95"]), f"{pair['p']:.2g}",
            f"{pair['frozen']['log_loss']:.3f}", f"{pair['tuned']['log_loss']:.3f}",
            "fine-tuned" if found["is_kept"] else "frozen",
        ])  # fmt: skip
    columns = (
        "Alien vs. Predator, one block", "whole cold train, s", "frozen", "fine-tuned", "points more", "p",
        "log loss, frozen", "fine-tuned", "kept",
    )  # fmt: skip
    return markdown(columns, cells)


# --- speed ------------------------------------------------------------------------------------------------------------


def epochs_of(answer: Path, images: int) -> list[float]:
    """Seconds of the epochs of a training, those on a part of the images as if they were on all.

    Args:
        answer: its folder in the cache.
        images: of training.
    """
    held = len(load_file(answer / "held_out.safetensors")["probabilities"])
    part = images / (images - held)
    return [
        one["seconds"] * (1.0 if one["phase"] == "final" else part)
        for one in json.loads((answer / "training.json").read_text())
        if one["epoch"]
    ]


def speed(options: argparse.Namespace, keep: Keep) -> str:
    """Both in turn."""
    views = options.views + 1
    with TemporaryDirectory() as name:
        folder, cache = Path(name), Path(name) / "cache"
        splits = {"train": options.images, "validation": max(60, options.images // 10)}
        make_tree(folder / "images", splits, ["dark", "light"])
        with in_cache(cache):
            find_weights(CATALOG["densenet201"], "random")  # created now, not while something is timed
        given = settings(
            dataset__path=folder / "images", dataset__split__test=0, backbone__name="densenet201",
            backbone__weights="random", backbone__layers="last", backbone__pooling="avg", head__fit="finetune",
            finetune__blocks=1, finetune__views=options.views, finetune__epochs=options.epochs,
            finetune__learning_rates="[0.0003]", finetune__keep="always",
        )  # fmt: skip
        epochs: dict[str, list[float]] = {"tlcli": [], "keras": []}

        def ours() -> float:
            empty(cache)
            done = tlcli(folder, cache, "train", "--config", "my_images", "--quiet", *given, *PLAINLY)
            (answer,) = (path.parent for path in (cache / "finetuned").glob("*/training.json"))
            found = epochs_of(answer, options.images)
            epochs["tlcli"].append(statistics.median(found[1:] or found))
            return done.seconds

        def keras() -> float:
            timed = min(options.timed_epochs, options.epochs)
            done = keras_program("finetune.py", folder, "images", "--epochs", str(timed), "--passes", str(views))
            found = done.document()["epochs"]
            epochs["keras"].append(statistics.median(found[1:] or found))
            return done.seconds + int(options.epochs - timed) * epochs["keras"][-1]

        whole = in_turn({"keras": keras, "tlcli": ours}, options.runs)
    rows = {
        "an epoch": {name: values(found) for name, found in epochs.items()},
        "whole cold command": {name: values(found) for name, found in whole.items()},
    }
    keep({"rows": rows, "images": options.images, "views": views, "epochs": options.epochs,
          "timed_epochs": options.timed_epochs})  # fmt: skip
    cells = [
        [what, spread(row["keras"], 1), spread(row["tlcli"], 1), f"{ratio(row['keras'], row['tlcli']):.1f}"]
        for what, row in rows.items()
    ]
    title = f"DenseNet201, one block, {options.images:,} images in {views} views, {options.epochs} epochs"
    counted = "" if options.timed_epochs >= options.epochs else f" ({options.timed_epochs} epochs run)"
    return markdown((title, f"plain Keras, s{counted}", "tlcli, s", "Keras / tlcli"), cells)


# --- kills ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A training whose model is compared."""

    folder: Path
    given: Sequence[str]
    started: list[int] = field(default_factory=list)
    """Numbers of the processes since :meth:`clear`, which lead groups of their own."""

    @property
    def cache(self) -> Path:
        """Its own."""
        return self.folder / "cache"

    def start(self) -> "subprocess.Popen[bytes]":
        """The command, in a session of its own."""
        command = [*TLCLI, "train", "--config", "my_images", "--output", "run", "--quiet", *self.given, *PLAINLY]
        environment = {**os.environ, "TLCLI_CACHE": str(self.cache)}
        process = subprocess.Popen(command, cwd=self.folder, env=environment, start_new_session=True)
        self.started.append(process.pid)
        return process

    def model(self) -> dict[str, str]:
        """Digests of the arrays of the model."""
        files = sorted((self.folder / "run" / "model").glob("*.safetensors"))
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def training(self) -> list[str]:
        """Names of the trainings in the cache, which depend on all that they were given: the frozen features too."""
        return sorted(path.parent.name for path in (self.cache / "finetuned").glob("*/tail.safetensors"))

    def clear(self) -> None:
        """Nothing of before is left but the weights, and no child of a killed process."""
        for number in self.started:
            with suppress(ProcessLookupError):
                os.killpg(number, signal.SIGKILL)
        self.started.clear()
        empty(self.cache)
        shutil.rmtree(self.folder / "run", ignore_errors=True)

    def moment(self) -> str:
        """What a kill interrupted, by what it left."""
        finetuned = self.cache / "finetuned"
        if any(finetuned.glob("*.work/checkpoint-*")):
            return "training, with checkpoints"
        if any(finetuned.glob("*.work")):
            return "training, before its first epoch"
        if any(finetuned.glob("*/tail.safetensors")):
            return "after training"
        return "before training"


def killed(job: Job, kills: int, seed: int) -> dict[str, Any]:
    """Kills a job that often, and compares the model of each that ended."""
    chance, moments = random.Random(seed), Counter[str]()
    started = time.perf_counter()
    _ended(job.start())
    whole, expected, training = time.perf_counter() - started, job.model(), job.training()
    assert "tail.safetensors" in expected
    job.clear()
    equal, done = 0, 0
    others: list[dict[str, Any]] = []
    while done < kills:
        process = job.start()
        try:
            process.wait(chance.uniform(0, whole))
        except subprocess.TimeoutExpired:
            if done % 2:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            moments[job.moment()] += 1
            note(f"Kill {done} of {kills}: {job.moment()}")
            if done < kills:
                continue
            process = job.start()
        _ended(process)
        model = job.model()
        equal += model == expected
        if model != expected:
            files = [name for name in {**expected, **model} if expected.get(name) != model.get(name)]
            others.append({"after kill": done, "files": files, "same training": job.training() == training})
            note(f"Another model: {others[-1]}")
        job.clear()
    return {"kills": kills, "whole_seconds": whole, "moments": dict(moments), "equal": equal, "others": others}


def _ended(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise SystemExit(f"tlcli train ended with exit code {process.returncode}")


def kills(options: argparse.Namespace, keep: Keep) -> str:
    """A small network on small images: moments of all kinds are hit."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_tree(folder / "images", {"": 300}, ["dark", "light"], side=64)
        given = settings(
            dataset__path="images", dataset__split__validation=0.3, image__size=64, backbone__name="mobilenet_v2",
            backbone__weights="random", head__fit="finetune", finetune__blocks=3, finetune__epochs=8,
            finetune__keep="always",
        )  # fmt: skip
        found = killed(Job(folder, given), options.kills, options.seed)
    keep(found)
    rows = [[moment, times] for moment, times in sorted(found["moments"].items())]
    last = f"{found['equal']} of {found['equal'] + len(found['others'])}"
    return markdown(("killed while", "times"), [*rows, ["models equal to the undisturbed one, byte for byte", last]])


# --- predict ----------------------------------------------------------------------------------------------------------


def predict(options: argparse.Namespace, keep: Keep) -> str:
    """Both in turn."""
    backbone = "efficientnet_lite0"
    with TemporaryDirectory() as name:
        folder, cache = Path(name), Path(name) / "cache"
        make_tree(folder / "images", {"": 140}, ["dark", "light"])
        given = settings(
            dataset__path="images", dataset__split__validation=0.4, backbone__name=backbone,
            backbone__weights=available_weights(backbone), finetune__views=0, finetune__epochs=2,
        )  # fmt: skip
        commands: dict[str, Callable[[], float]] = {}
        for run, chosen in (("frozen", ()), ("tuned", TUNED)):
            train = ("train", "--config", "my_images", "--output", run, "--quiet")
            tlcli(folder, cache, *train, *given, *PLAINLY, *words(chosen))
            image = "images/dark/000000.jpg"
            commands[run] = partial(_seconds, folder, cache, "predict", "--run", run, image)
            commands[run]()  # once, uncounted
        found = {run: values(seconds) for run, seconds in in_turn(commands, options.turns).items()}
    keep({"backbone": backbone, "seconds": found})
    cells = [["frozen", spread(found["frozen"]), ""],
             ["fine-tuned", spread(found["tuned"]), f"{ratio(found['tuned'], found['frozen']):.2f}"]]  # fmt: skip
    return markdown((f"tlcli predict IMAGE, {backbone}, whole process", "seconds", "of frozen"), cells)


def _seconds(*command: Any) -> float:
    return tlcli(*command).seconds


PARTS: dict[str, Callable[[argparse.Namespace, Keep], str]] = {
    "predict": predict, "kills": kills, "speed": speed, "avp": avp, "solar": solar, "tiles": tiles,
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    found.add_argument("--alien-predator", metavar="ARCHIVE", help="the archive that Kaggle gives")
    found.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    found.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of fine-tuning; repeatable")
    found.add_argument(
        "--train-option", action="append", default=[], metavar="OPTION", help="solar: of train, as --train-option=--yes"
    )
    found.add_argument("--splits", type=int, default=3, help="solar: how many")
    found.add_argument(
        "--steps", type=int, nargs="*", metavar="NUMBER",
        help=f"rows to measure, all by default. solar: {_numbered(SOLAR)}. tiles: {_numbered(TILES)}. avp: "
        f"{_numbered(ALIEN_PREDATOR)}",
    )  # fmt: skip
    found.add_argument("--name", default="settings of --set", help="of the rows with the settings of --set")
    found.add_argument("--folds", type=int, default=FOLDS, help=f"tiles: how many of {FOLDS}")
    found.add_argument(
        "--divisions", nargs="+", default=["together", "plain"], choices=["together", "plain"], help="tiles"
    )
    found.add_argument("--images", type=int, default=200, help="speed: of training")
    found.add_argument("--views", type=int, default=3, help="speed: augmented ones of each image")
    found.add_argument("--epochs", type=int, default=10, help="speed: of both")
    found.add_argument("--timed-epochs", type=int, default=2, help="speed: those of Keras that are run")
    found.add_argument("--runs", type=int, default=1, help="speed: turns")
    found.add_argument("--kills", type=int, default=20)
    found.add_argument("--seed", type=int, default=0, help="kills: of the moments")
    found.add_argument("--turns", type=int, default=9, help="predict")
    found.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    return found


def _numbered(steps: Sequence[Step]) -> str:
    return "; ".join(f"{number} {step.name}" for number, step in enumerate(steps, 1))


def main() -> None:
    """Prints the tables."""
    options = parser().parse_args()
    needed = {"avp": options.alien_predator, "tiles": options.tiles}
    chosen = options.only or [part for part in QUICK if needed.get(part, True)]
    if missing := [part for part in chosen if not needed.get(part, True)]:
        raise SystemExit(f"{', '.join(missing)}: the archive is needed, see --help")
    introduce()
    for part in chosen:
        kept: dict[str, Any] = {"settings": {key: str(value) for key, value in vars(options).items()}}

        def keep(found: dict[str, Any], part: str = part, kept: dict[str, Any] = kept) -> None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(options.out) as temporary:
                temporary.write_text(json.dumps(merge(options.out, part, {**kept, **found}), indent=2) + "\n")

        print(f"\n{PARTS[part](options, keep)}", flush=True)
    print(f"\nAll values: {options.out}")


if __name__ == "__main__":
    main()
