"""Settings that have no effect together with others: a warning, with what to set instead.

Warned of is what the user set to another value than the default, or by ``--set``: a config that ``config show`` has
printed has every key, and the defaults in it mean nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tlcli.config.problems import Location, Place
from tlcli.config.schema import Config
from tlcli.config.section import Section


@dataclass(frozen=True)
class NoEffect:
    """A setting without effect."""

    place: Place
    key: str
    """Dotted."""
    because: str
    instead: str
    """What to set instead, a sentence."""

    def __str__(self) -> str:
        return f"{self.place}: {self.key} has no effect, as {self.because}. {self.instead}"

    def document(self) -> dict[str, str]:
        """As ``--json`` has it."""
        return {"place": str(self.place), "key": self.key, "message": str(self)}


@dataclass(frozen=True)
class _Rule:
    keys: tuple[str, ...]
    """Dotted; with a dot at the end, all keys of the section."""
    holds: Callable[[Config], bool]
    because: str
    instead: str
    besides: tuple[str, ...] = ()
    """Keys of the section that do have an effect."""

    def is_about(self, key: str) -> bool:
        begins = any(key == one or (one.endswith(".") and key.startswith(one)) for one in self.keys)
        return begins and key not in self.besides


def _changes_nothing(config: Config) -> bool:
    augment = config.augment
    changes = augment.model_dump(exclude={"views", "flip", "seed"}).values()
    return augment.flip == "none" and not any(changes)


def _never_lowers(config: Config) -> bool:
    plateau = config.train.reduce_on_plateau
    return plateau is not None and plateau.patience >= config.train.epochs


def _is_lowest_already(config: Config) -> bool:
    plateau = config.train.reduce_on_plateau
    return plateau is not None and plateau.min_learning_rate >= config.train.learning_rate


def _needs_no_background(config: Config) -> bool:
    padded = _resize(config) in ("pad", None) and config.image.tiles != "native"
    return config.image.bands is not None and not padded


def _resize(config: Config) -> str | None:
    """None where the files of an own network say it."""
    return config.image.resize or (config.backbone.row.resize if config.backbone.row else None)


_RULES = (
    _Rule(
        ("train.", "head.dropout"),
        lambda config: config.head.fit != "minibatch",
        "head.fit is not minibatch",
        "Set head.Cs and head.folds, or head.fit: minibatch.",
        besides=("train.seed",),
    ),
    _Rule(
        ("finetune.views",),
        lambda config: config.head.fit == "finetune" and config.finetune.blocks == "all",
        "finetune.blocks is all: every epoch has another view of each image",
        "Leave finetune.views out; finetune.epochs says how many views there are.",
    ),
    _Rule(
        ("finetune.",),
        lambda config: not config.tunes_finetuning,
        "head.fit is not finetune",
        "Set head.fit: finetune, or tune.finetune: true for tlcli tune.",
    ),
    _Rule(
        ("head.landmarks",),
        lambda config: config.head.fit != "kernel",
        "head.fit is not kernel",
        "Set head.fit: kernel, or leave it out.",
    ),
    _Rule(
        ("head.Cs",),
        lambda config: config.head.fit == "kernel",
        "head.fit is kernel, which tries values of its own; only inspect uses it",
        "Leave it out.",
    ),
    _Rule(
        ("head.Cs", "head.folds"),
        lambda config: config.head.fit == "minibatch",
        "head.fit is minibatch; only inspect, and the cross-validation of the report, use it",
        "Set keys of train, or head.fit: logistic_regression.",
    ),
    _Rule(
        ("augment.",),
        lambda config: config.augment.views == 0 and not config.tunes_finetuning,
        "augment.views is 0",
        "Set augment.views to 1 or more.",
        besides=("augment.views",),
    ),
    _Rule(
        ("augment.views", "augment.seed"),
        lambda config: config.augment.views > 0 and _changes_nothing(config),
        "no change is set, so that every view is the image itself",
        "Set augment.flip, rotation, zoom, shift, brightness or contrast.",
    ),
    _Rule(
        ("backbone.int8.",),
        lambda config: config.backbone.precision != "int8",
        "backbone.precision is not int8",
        "Set backbone.precision: int8.",
    ),
    _Rule(
        ("train.reduce_on_plateau.",),
        lambda config: config.head.fit == "minibatch" and _never_lowers(config),
        "train.epochs is not larger than reduce_on_plateau.patience",
        "Set train.epochs higher, or patience lower.",
    ),
    _Rule(
        ("train.reduce_on_plateau.",),
        lambda config: config.head.fit == "minibatch" and not _never_lowers(config) and _is_lowest_already(config),
        "train.learning_rate is not above reduce_on_plateau.min_learning_rate",
        "Set min_learning_rate lower.",
    ),
    _Rule(
        ("dataset.max_bad_fraction",),
        lambda config: config.dataset.on_bad_image == "fail",
        "dataset.on_bad_image is fail",
        "Set dataset.on_bad_image: skip.",
    ),
    _Rule(
        ("dataset.layout",),
        lambda config: config.dataset.labels is not None and config.dataset.layout == "split_folders",
        "dataset.labels says where the labels are",
        "Leave it out: splits are read from folders where labels.split and the pattern have none.",
    ),
    _Rule(
        ("dataset.min_images_per_class",),
        lambda config: config.dataset.min_images_per_class == 1,
        "every class has an image",
        "Set a larger number, or leave it out.",
    ),
    _Rule(
        ("dataset.split.seed",),
        lambda config: config.dataset.split.validation == config.dataset.split.test == 0,
        "dataset.split.validation and test are 0, so that no split is drawn",
        "Set one of them.",
    ),
    _Rule(
        ("image.crop_fraction",),
        lambda config: config.image.tiles != "native" and _resize(config) not in ("crop", None),
        "nothing is cropped: image.resize is not crop",
        "Set image.resize: crop, or leave it out.",
    ),
    _Rule(
        ("image.resize", "image.crop_fraction"),
        lambda config: config.image.tiles == "native",
        "image.tiles is native, which takes the whole image in its own size",
        "Set image.tiles: [rows, columns], or leave it out.",
    ),
    _Rule(
        ("image.tiles",),
        lambda config: config.image.tiles == (1, 1),
        "one tile is the image as a whole",
        "Set more rows or columns, or leave it out.",
    ),
    _Rule(
        ("image.background",),
        _needs_no_background,
        "image.bands ignores transparency, and nothing is padded",
        "Set image.resize: pad, or leave it out.",
    ),
)


def has_effect(config: Config, key: str) -> bool:
    """Whether a setting, by its dotted key, has an effect together with the others."""
    return not any(rule.is_about(key) and rule.holds(config) for rule in _RULES)


def settings_without_effect(config: Config, places: Mapping[Location, Place]) -> tuple[NoEffect, ...]:
    """The settings of a config that have no effect, each with its place.

    Args:
        config: as it was read: it knows which keys were set.
        places: where each value of the config comes from; the empty location is the config as a whole.
    """
    rules = [rule for rule in _RULES if rule.holds(config)]
    found = []
    for location, is_default in _settings(config, ()):
        key = ".".join(location)
        place = next(places[location[:n]] for n in range(len(location), -1, -1) if location[:n] in places)
        if is_default and not place.source.startswith("--set"):
            continue
        rule = next((rule for rule in rules if rule.is_about(key)), None)
        if rule is not None:
            found.append(NoEffect(place, key, rule.because, rule.instead))
    return tuple(found)


def _settings(section: Section, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The location of every value that was set, and whether it is the default."""
    for name, field in type(section).model_fields.items():
        if name in section.model_fields_set:
            value = getattr(section, name)
            if isinstance(value, Section):
                yield from _settings(value, (*above, name))
            else:
                yield (*above, name), value == field.get_default(call_default_factory=True)
