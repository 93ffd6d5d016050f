"""Settings without effect: warned of where they were set, and nowhere else."""

from pathlib import Path

import pytest
import yaml

from tlcli.config.build_dataset import read_index
from tlcli.config.dataset import Dataset, Split
from tlcli.config.load import dump_config, load_config
from tlcli.config.no_effect import _RULES
from tlcli.config.problems import _key_paths
from tlcli.config.schema import Config
from tlcli.config.shipped import shipped_configs

_MINI = {"fit": "minibatch"}
_PLATEAU = {"factor": 0.5, "patience": 4}
WITHOUT = {
    "train with logistic regression": (
        {"train": {"epochs": 5, "reduce_on_plateau": {"factor": 0.1}, "early_stopping": None, "seed": 3}},
        {"train.epochs", "train.reduce_on_plateau.factor", "train.early_stopping"},
    ),
    "no plateau with logistic regression": ({"train": {"reduce_on_plateau": None}}, {"train.reduce_on_plateau"}),
    "dropout with logistic regression": ({"head": {"dropout": 0.5}}, {"head.dropout"}),
    "Cs with minibatch": ({"head": {**_MINI, "Cs": [1], "folds": 3}}, {"head.Cs", "head.folds"}),
    "changes without views": ({"augment": {"flip": "both", "seed": 2}}, {"augment.flip", "augment.seed"}),
    "views without changes": ({"augment": {"views": 2, "seed": 1}}, {"augment.views", "augment.seed"}),
    "int8 with another precision": ({"backbone": {"int8": {"sample": 50}}}, {"backbone.int8.sample"}),
    "patience beyond the epochs": (
        {"head": _MINI, "train": {"epochs": 4, "reduce_on_plateau": _PLATEAU}},
        {"train.reduce_on_plateau.factor", "train.reduce_on_plateau.patience"},
    ),
    "a rate that is the lowest already": (
        {"head": _MINI, "train": {"learning_rate": 1e-7, "reduce_on_plateau": _PLATEAU}},
        {"train.reduce_on_plateau.factor", "train.reduce_on_plateau.patience"},
    ),
    "a share of unreadable images, of which none may be": (
        {"dataset": {"on_bad_image": "fail", "max_bad_fraction": 0.1}}, {"dataset.max_bad_fraction"},
    ),
    "a layout with labels": (
        {"dataset": {"layout": "split_folders", "labels": {"pattern": "(?P<label>a|b)"}}}, {"dataset.layout"},
    ),
    "at least one image": ({"dataset": {"min_images_per_class": 1}}, {"dataset.min_images_per_class"}),
    "a seed of no split": (
        {"dataset": {"split": {"validation": 0, "test": 0, "seed": 1}}}, {"dataset.split.seed"},
    ),
    "a crop fraction of no crop": ({"image": {"resize": "pad", "crop_fraction": 0.9}}, {"image.crop_fraction"}),
    "a crop of native tiles": (
        {"image": {"tiles": "native", "resize": "crop", "crop_fraction": 0.9}},
        {"image.resize", "image.crop_fraction"},
    ),
    "padding of native tiles": (
        {"image": {"tiles": "native", "bands": [1], "background": [0, 0, 0]}}, {"image.background"},
    ),
    "one tile": ({"image": {"tiles": [1, 1]}}, {"image.tiles"}),
    "a background of bands": (
        {"image": {"bands": [1], "background": [0, 0, 0], "resize": "crop"}}, {"image.background"},
    ),
}  # fmt: skip
WITH = {
    "minibatch": {"head": {**_MINI, "dropout": 0.5}, "train": {"epochs": 9, "reduce_on_plateau": _PLATEAU}},
    "views and changes": {"augment": {"views": 1, "flip": "both", "seed": 2}},
    "int8": {"backbone": {"precision": "int8", "int8": {"sample": 50}}},
    "padded bands": {"image": {"bands": [1], "background": [0, 0, 0], "resize": "pad"}},
    "a crop of tiles": {"image": {"tiles": [2, 3], "resize": "crop", "crop_fraction": 0.9}},
    "native tiles": {"image": {"tiles": "native", "size": 448}},
    "transparency": {"image": {"background": [0, 0, 0]}},
    "changes that tune fine-tunes with": {"augment": {"flip": "both"}, "tune": {"finetune": True}},
    "one split": {"dataset": {"split": {"validation": 0, "seed": 1}}},
    "defaults": {"train": {"epochs": 30}, "augment": {"flip": "none"}, "backbone": {"int8": {"sample": 200}}},
}


def keys(folder: Path, sections: dict[str, dict[str, object]], *overrides: str) -> set[str]:
    """Of the settings without effect."""
    text = {**sections, "dataset": {"path": "x", **sections.get("dataset", {})}}
    (folder / "c.yaml").write_text(yaml.safe_dump(text))
    return {one.key for one in load_config(folder / "c.yaml", overrides).without_effect}


@pytest.mark.parametrize("case", WITHOUT)
def test_settings_without_effect_are_warned_of(tmp_path: Path, case: str) -> None:
    sections, expected = WITHOUT[case]
    assert keys(tmp_path, sections) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("case", WITH)
def test_settings_with_an_effect_are_not(tmp_path: Path, case: str) -> None:
    assert keys(tmp_path, WITH[case]) == set()  # type: ignore[arg-type]


def test_what_is_set_for_one_command_is_warned_of_even_where_it_is_the_default(tmp_path: Path) -> None:
    assert keys(tmp_path, {}, "train.epochs=30", "augment.flip=none") == {"train.epochs", "augment.flip"}
    (one,) = load_config(tmp_path / "c.yaml", ["train.epochs=9"]).without_effect
    assert str(one.place) == "--set train.epochs=9"
    (tmp_path / "c.yaml").write_text("dataset: {path: x}\ntrain:\n  epochs: 9\n")
    (one,) = load_config(tmp_path / "c.yaml").without_effect
    assert (one.place.line, one.document()["key"]) == (3, "train.epochs")


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configs_have_none_and_neither_have_they_written_out(tmp_path: Path, name: str) -> None:
    loaded = load_config(shipped_configs()[name])
    (tmp_path / "all.yaml").write_text(dump_config(loaded.config.with_backbone_defaults()))
    assert loaded.without_effect == load_config(tmp_path / "all.yaml").without_effect == ()


def test_keys_of_the_rules_exist() -> None:
    there = set(_key_paths(Config))
    for rule in _RULES:
        for key in (*rule.keys, *rule.besides):
            assert key.removesuffix(".") in there, key
        assert rule.instead.endswith(".")


def test_fractions_of_splits_that_the_data_has_are_named_as_it_is_read(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(3):
                (tmp_path / split / label / f"{number}.png").write_bytes(f"{split}{label}{number}".encode())
    plain = read_index(tmp_path, Dataset(path=tmp_path))
    given = read_index(tmp_path, Dataset(path=tmp_path, split=Split(test=0.3, seed=4)))
    (note,) = set(given.notes) - set(plain.notes)
    assert "dataset.split.test" in note
    assert "dataset.split.seed" in note
    assert "dataset.split.validation" not in note
    assert given.digest() == plain.digest()
