"""From the config to what a search begins with: the passes that it may try, and the images that it searches on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np

from tlcli.backbones.costs import COSTS
from tlcli.config.build_cross_validation import divide
from tlcli.config.build_features import feature_extractor, preparation_of
from tlcli.config.build_tune import config_of_pass, input_settings
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.engines.speed import known_speed, measure_speed
from tlcli.errors import DataError, UsageError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.features.tile_cost import tiles_of_sample
from tlcli.heads.folds import sampled
from tlcli.images.size_advice import sampled_sizes
from tlcli.progress import Progress
from tlcli.runs.trials import Trials
from tlcli.tuning.candidates import FOLDS, Candidate, Images
from tlcli.tuning.clock import Clock
from tlcli.tuning.outcome import PassCost, TriedPass
from tlcli.tuning.search import FOR_PASSES


@dataclass(frozen=True)
class Limits:
    """What a network may cost."""

    max_ms: float | None = None
    """Milliseconds for an image, with all cores."""
    max_mb: float | None = None
    """Megabytes of weights."""


def search_candidates(
    config: Config, index: Index, names: Sequence[str], limits: Limits, trials: Trials, clock: Clock,
    progress: Progress,
) -> tuple[list[Candidate], list[TriedPass]]:  # fmt: skip
    """The passes that are cheap enough, that of the config first where it is one; and those that are not. Once the time
    for passes is over, no other network is downloaded, converted and measured."""
    paths = [image.path for image in index.of("train")]
    sizes = sampled_sizes(paths, preparation_of(config)) or [(224, 224)]
    width, height = (float(np.median(sides)) for sides in zip(*sizes, strict=True))
    found: list[Candidate] = []
    too_expensive: list[TriedPass] = []
    with progress.stage("Measuring backbones", len(names), "backbones"):
        for name in names:
            if (found or too_expensive) and not clock.allows(0, FOR_PASSES) and not _is_measured(name, trials):
                progress.note(f"{name} is left out: the time for passes is over.")
                clock.is_cut = True
                progress.advance()
                continue
            for setting in input_settings(config, name, (height, width)):
                extractor = feature_extractor(index, config_of_pass(config, setting))
                tiles = tiles_of_sample(paths, extractor.decoder.preparation) if config.image.tiles else 1.0
                cost = PassCost(tiles * ms_per_image(extractor, trials), _megabytes(extractor))
                if why := _over_the_limit(cost, limits):
                    too_expensive.append(TriedPass(setting, cost, 0, np.empty(0), why))
                else:
                    found.append(Candidate(setting, extractor, cost))
            progress.advance()
    if not found:
        fastest = min(too_expensive, key=lambda one: one.cost.ms_per_image)
        raise UsageError(
            "usage.nothing_cheap_enough",
            f"No network is as cheap as asked for. The fastest, {fastest.setting.backbone}, takes "
            f"{fastest.cost.ms_per_image:.1f} ms per image and has {fastest.cost.megabytes:.0f} MB of weights.",
            "Raise --max-ms or --max-mb.",
        )
    return found, too_expensive


def _is_measured(name: str, trials: Trials) -> bool:
    """Whether an earlier part of the search measured a network: its passes stay candidates."""
    return any(one.what.get("stage") == "speed" and one.what.get("backbone") == name for one in trials.all())


def ms_per_image(extractor: FeatureExtractor, trials: Trials) -> float:
    """Milliseconds for an image, or for each of its tiles: measured at the network's own size, and in proportion to the
    area at others."""
    spec, own = extractor.spec, extractor.spec.row.input_size
    what = {"stage": "speed", "backbone": spec.row.name, "weights": spec.weights.sha256}
    known, started = trials.get(what), monotonic()
    if known is None:
        speed = known_speed(spec.row, spec.engine) or measure_speed(replace(spec, size=own))
        known = trials.add(what, (speed.ms_per_image,), monotonic() - started)
    return known.scores[0] * (spec.size[0] * spec.size[1]) / (own[0] * own[1])


def _megabytes(extractor: FeatureExtractor) -> float:
    row, file = extractor.spec.row, extractor.spec.weights.file
    if row.own is None:
        return 4 * COSTS[row.name].parameters / 1e6
    return file.stat().st_size / 1e6 if file.is_file() else 0.0


def _over_the_limit(cost: PassCost, limits: Limits) -> str:
    """Why a pass is not tried; empty if it is."""
    if limits.max_ms is not None and cost.ms_per_image > limits.max_ms:
        return f"{cost.ms_per_image:.1f} ms per image, more than --max-ms {limits.max_ms:g}"
    if limits.max_mb is not None and cost.megabytes > limits.max_mb:
        return f"{cost.megabytes:.0f} MB, more than --max-mb {limits.max_mb:g}"
    return ""


def reference_pass(
    index: Index, candidates: Sequence[Candidate], trials: Trials, clock: Clock
) -> Candidate:  # fmt: skip
    """The pass that all images take before the search, by which unreadable images and near duplicates are found: the
    config's own if there is time for it, else the cheapest. The folds depend on it: a search keeps it, however long its
    later parts are."""
    what = {"stage": "reference"}
    if (known := trials.get(what)) is not None:
        return candidates[int(known.scores[0])]
    images = len(index.of("train")) + len(index.of("validation"))
    chosen, ms = 0, candidates[0].cost.ms_per_image
    if not clock.allows(images * ms / 1000, FOR_PASSES):
        chosen = min(range(len(candidates)), key=lambda number: candidates[number].cost.ms_per_image)
        clock.is_cut = True
    trials.add(what, (chosen,), 0.0)
    return candidates[chosen]


def searched_images(config: Config, index: Index, first: Candidate, progress: Progress) -> Images:
    """The readable images of training and validation, or of a sample where they are very many, near duplicates in one
    unit; all of them pass the reference."""
    wanted = [*index.of("train"), *index.of("validation"), *(one for one in index.set_aside if one.split != "test")]
    _, groups = np.unique([image.group for image in wanted], return_inverse=True)
    labels = np.array([index.labels.index(image.given) for image in wanted], np.int64)
    chosen = sampled(Rows.of(np.empty((len(wanted), 0), np.float32), labels, groups), FOLDS, config.train.seed)
    if len(chosen) < len(wanted):
        progress.note(f"The search takes a sample of {len(chosen):,} of {len(wanted):,} images.")
        wanted = [wanted[number] for number in chosen]
        index = replace(index, images=tuple(one for one in wanted if not one.is_set_aside), set_aside=())
    done, dataset = first.extractor.extract([(wanted, first.extractor.views)], progress), config.dataset
    index = drop_unreadable(index, done.bad, dataset.on_bad_image, dataset.max_bad_fraction, wanted)
    divided = divide(config_of_pass(config, first.setting), index, first.extractor, progress)
    if divided is None:
        raise DataError("data.class_too_small", "The images cannot be divided for cross-validation.", "Add images.")
    images = tuple(divided.images[number] for number in divided.sample)
    return Images(images, index.labels, divided.rows.part(divided.sample), config.train.seed)
