"""What each section of a config accepts: strict types, rules between values, documentation, JSON Schema."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from tlcli.backbones.catalog import CATALOG
from tlcli.config import dataset, schema, sources
from tlcli.config.dataset import Dataset, GroupBy, LabelRule, Labels, Split
from tlcli.config.schema import Config, Image
from tlcli.config.section import Section, expand
from tlcli.config.sources import is_used_in_place

ALL_SECTIONS = sorted(
    {
        kind
        for module in (dataset, schema, sources)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Section) and not kind.__subclasses__()
    },
    key=lambda kind: kind.__name__,
)


def config(**sections: object) -> Config:
    """A config of these sections, and of images in a folder unless they say where."""
    return Config.model_validate({"dataset": {"path": "images"}, **sections}, strict=False)


def types(kind: type[BaseModel], values: dict[str, object]) -> list[str]:
    """Pydantic's types of what is wrong."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(values, strict=False)
    return [problem["type"] for problem in caught.value.errors()]


def test_there_are_nine_sections_and_one_is_required() -> None:
    assert list(Config.model_fields) == [
        "dataset", "image", "augment", "backbone", "head", "train", "finetune", "evaluate", "tune",
    ]  # fmt: skip
    assert [name for name, field in Config.model_fields.items() if field.is_required()] == ["dataset"]


@pytest.mark.parametrize("kind", ALL_SECTIONS, ids=lambda kind: kind.__name__)
def test_every_section_and_key_has_a_description(kind: type[Section]) -> None:
    assert kind.__doc__
    for name, field in kind.model_fields.items():
        assert field.description, f"{kind.__name__}.{name}"
        assert field.description.endswith("."), f"{kind.__name__}.{name}: {field.description}"


@pytest.mark.parametrize("kind", ALL_SECTIONS, ids=lambda kind: kind.__name__)
def test_every_section_is_strict_frozen_and_closed(kind: type[Section]) -> None:
    assert {key: kind.model_config[key] for key in ("strict", "frozen", "extra", "allow_inf_nan")} == {
        "strict": True,
        "frozen": True,
        "extra": "forbid",
        "allow_inf_nan": False,
    }  # fmt: skip


def test_a_config_cannot_be_changed() -> None:
    made = config()
    with pytest.raises(ValidationError) as caught:
        made.train.epochs = 3
    assert caught.value.errors()[0]["type"] == "frozen_instance"


def test_defaults_are_valid() -> None:
    made = config()
    assert Config.model_validate_json(made.model_dump_json()) == made


def test_defaults_are_logistic_regression_on_densenet201() -> None:
    made = config()
    assert (made.backbone.name, made.backbone.weights) == ("densenet201", "imagenet")
    assert (made.backbone.layers, made.backbone.pooling) == ("all", "avg_max")
    assert (made.head.fit, made.head.folds, made.augment.views) == ("logistic_regression", 5, 0)
    assert (made.dataset.split.validation, made.dataset.split.test) == (0.15, 0.15)
    assert (made.dataset.on_bad_image, made.dataset.max_bad_fraction) == ("skip", 0.01)
    assert [1 / c for c in made.head.Cs] == pytest.approx([3000, 1000, 300, 100, 30, 10, 3, 1, 1 / 3, 1 / 10], rel=1e-9)


# Rules of labels


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"below": None},
        {"below": None, "at_most": None, "above": None, "at_least": None, "values": None},
    ],
)
def test_rule_without_a_condition_is_refused(values: dict[str, object]) -> None:
    assert types(LabelRule, values) == ["empty_rule"]


@pytest.mark.parametrize(
    "values",
    [
        {"below": 0},
        {"at_most": 0.0},
        {"above": -1},
        {"at_least": 0, "below": 1},
        {"values": ("",)},
        {"values": ("a",), "below": None},
    ],
)
def test_rule_with_a_condition_is_accepted(values: dict[str, object]) -> None:
    assert LabelRule.model_validate(values).model_dump(exclude_none=True) == {
        key: value for key, value in values.items() if value is not None
    }


def test_rule_of_no_values_is_refused() -> None:
    assert types(LabelRule, {"values": ()}) == ["too_short"]


def test_labels_need_a_table_and_two_columns() -> None:
    table: dict[str, object] = {"file": "labels.csv", "path": "path"}
    unfit: list[dict[str, object]] = [
        {},
        table,
        {**table, "label": "x", "class_columns": ("a", "b")},
        {"label": "x", "path": "path"},
    ]
    for values in unfit:
        assert types(Labels, values) == ["wrong_labels"]
    labels = Labels(file="labels.csv", path="path", label="label")
    assert (labels.delimiter, labels.columns, labels.classes, labels.split, labels.group) == (
        *("auto", None, {}, None, None),
    )


# Splits and groups


@pytest.mark.parametrize(
    ("values", "good"),
    [
        ({"folder": True}, True),
        ({"pattern": "x"}, True),
        ({"folder": False, "pattern": "x"}, True),
        ({}, False),
        ({"folder": False}, False),
        ({"pattern": None}, False),
        ({"folder": True, "pattern": "x"}, False),
    ],
)
def test_group_by_is_one_of_folder_and_pattern(values: dict[str, object], good: bool) -> None:
    if good:
        assert GroupBy.model_validate(values).model_dump(include=set(values)) == values
    else:
        assert types(GroupBy, values) == ["wrong_group_by"]


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a{99999999999}", "(?P<n>x)(?P<n>y)", "\\", "(" * 2000])
def test_pattern_that_is_no_regular_expression_is_refused(pattern: str) -> None:
    assert types(GroupBy, {"pattern": pattern}) == ["invalid_pattern"]


@pytest.mark.parametrize(
    ("validation", "test", "good"),
    [(0.0, 0.0, True), (0.9, 0.0, True), (0.0, 0.9, True), (0.45, 0.45, True), (0.5, 0.41, False), (0.9, 0.9, False)],
)
def test_splits_leave_a_tenth_for_training(validation: float, test: float, good: bool) -> None:
    shares = {"validation": validation, "test": test}
    if good:
        assert Split.model_validate(shares).model_dump(include=set(shares)) == shares
    else:
        assert types(Split, dict(shares)) == ["fractions_too_large"]


# Where the images are


@pytest.mark.parametrize(
    ("values", "good"),
    [
        ({"path": "x"}, True),
        ({"sources": [{"folder": "x"}]}, True),
        ({"sources": [{"package": "x"}]}, True),
        ({"sources": [{"kaggle": "a/b"}, {"folder": "x"}]}, True),
        ({}, False),
        ({"sources": [{"kaggle": "a/b"}]}, False),
        ({"sources": [{"url": "https://host/x"}, {"archive": "x.zip"}]}, False),
    ],
)
def test_dataset_needs_a_path_unless_a_source_is_used_in_place(values: dict[str, object], good: bool) -> None:
    if good:
        assert Dataset.model_validate(values, strict=False).model_fields_set == set(values)
    else:
        assert types(Dataset, values) == ["no_path"]


def test_folders_and_packages_are_used_in_place() -> None:
    assert is_used_in_place(sources.FolderSource(folder=Path("x")))
    assert is_used_in_place(sources.PackageSource(package="x"))
    assert not is_used_in_place(sources.ArchiveSource(archive=Path("x")))
    assert not is_used_in_place(sources.KaggleSource(kaggle="a/b"))
    assert not is_used_in_place(sources.UrlSource(url="https://host/x"))


# Images and backbones


@pytest.mark.parametrize("row", CATALOG.values(), ids=CATALOG.keys())
def test_size_is_bounded_by_what_the_backbone_takes(row: Any) -> None:
    backbone = {"name": row.name}
    assert config(backbone=backbone).image.size is None
    assert config(backbone=backbone, image={"size": row.min_size}).image.size == row.min_size
    assert config(backbone=backbone, image={"size": row.size}).image.size == row.size
    with pytest.raises(ValidationError) as caught:
        config(backbone=backbone, image={"size": row.min_size - 1})
    assert caught.value.errors()[0]["type"] in ("size_too_small", "greater_than_equal")


def test_background_is_three_levels() -> None:
    assert Image(background=(0, 128, 255)).background == (0, 128, 255)
    for wrong in ((0, 0), (0, 0, 0, 0), (-1, 0, 0), (0, 256, 0), (0, 0.5, 0), ("0", 0, 0)):
        with pytest.raises(ValidationError):
            Image.model_validate({"background": wrong})


@pytest.mark.parametrize("field", ["max_megapixels", "max_side", "max_file_mb"])
def test_limits_of_images_are_above_zero_and_finite(field: str) -> None:
    for wrong in (0, -1, float("inf"), float("nan"), None):
        with pytest.raises(ValidationError):
            Image.model_validate({field: wrong})


# Paths


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a/b", "a/b"),
        ("~", "/home/somebody"),
        ("~/x", "/home/somebody/x"),
        ("a/~/b", "a/~/b"),
        ("$PLACE", "/data"),
        ("${PLACE}s/$PLACE", "/datas//data"),
        ("~/$NAME", "/home/somebody/x y"),
        ("a $ b", "a $ b"),
        (" a", " a"),
    ],
)
def test_home_and_variables_are_expanded(monkeypatch: pytest.MonkeyPatch, written: str, meant: str) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("PLACE", "/data")
    monkeypatch.setenv("NAME", "x y")
    assert expand(written) == meant


@pytest.mark.parametrize("written", ["", "   ", "$EMPTY", "${EMPTY}", "$EMPTY$EMPTY"])
def test_path_that_is_empty_once_expanded_is_refused(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(PydanticCustomError) as caught:
        expand(written)
    assert caught.value.type == "empty_path"


@pytest.mark.parametrize("value", [None, 3, 1.5, True, ["x"], {"x": 1}])
def test_values_other_than_text_are_left_to_the_type_check(value: object) -> None:
    assert expand(value) is value
    assert "path_type" in types(sources.FolderSource, {"folder": value})


@pytest.mark.parametrize("name", ["imagenet", "random"])
def test_names_of_weights_are_no_paths(name: str) -> None:
    assert config(backbone={"weights": name}).backbone.weights == name


# JSON Schema


def nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Every mapping in the schema."""
    if isinstance(tree, dict):
        yield tree
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from nodes(child)


def test_json_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(Config.model_json_schema())


def test_json_schema_refuses_unknown_keys_everywhere() -> None:
    objects = [
        node for node in nodes(Config.model_json_schema()) if "properties" in node and node.get("type") == "object"
    ]
    assert len(objects) == len(ALL_SECTIONS)
    assert all(node["additionalProperties"] is False for node in objects)


def test_json_schema_knows_backbones_choices_and_paths_as_texts() -> None:
    definitions = Config.model_json_schema()["$defs"]
    names, none = definitions["BackboneSection"]["properties"]["name"]["anyOf"]
    assert (names["enum"], none) == (list(CATALOG), {"type": "null"})
    assert definitions["BackboneSection"]["properties"]["weights"]["type"] == "string"
    assert {"type": "string"} in definitions["Dataset"]["properties"]["path"]["anyOf"]
    assert definitions["Train"]["properties"]["optimizer"]["enum"] == ["adam", "adamw", "rmsprop", "sgd"]


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"dataset": None},
        {"dataset": {"path": 3}},
        {"dataset": {"path": "x"}, "trian": {}},
        {"dataset": {"path": "x"}, "train": {"epochs": "3"}},
        {"dataset": {"path": "x"}, "train": {"epochs": 0}},
        {"dataset": {"path": "x"}, "backbone": {"name": "resnet5"}},
        {"dataset": {"path": "x", "sources": [{"kaggle": "name"}]}},
        {"dataset": {"path": "x", "sources": [{"kaggle": "a/b", "url": "https://host/x"}]}},
        {"dataset": {"path": "x"}, "image": {"background": [0, 0, 256]}},
    ],
)
def test_json_schema_finds_what_an_editor_should_underline(tree: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, Config.model_json_schema())
