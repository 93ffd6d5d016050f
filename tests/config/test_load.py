"""Reading a config: whatever is wrong ends in one error that reports every problem with its place."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.torture.bad_config_texts import BAD, BAD_OVERRIDES, GOOD, LABELS, SOURCES, Expected

from tlcli.config.load import LoadedConfig, dump_config, find_config, load_config
from tlcli.config.problems import ConfigError, Place, Problem
from tlcli.config.shipped import shipped_configs
from tlcli.config.sources import ArchiveSource, FolderSource, KaggleSource, PackageSource, UrlSource
from tlcli.errors import UsageError


def loaded(folder: Path, text: str, *overrides: str) -> LoadedConfig:
    """The config with this text, loaded from a file in ``folder``."""
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    return load_config(path, overrides)


def problems(folder: Path, text: str, *overrides: str) -> tuple[Problem, ...]:
    """What is wrong with the config with this text; places are relative to the folder."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, *overrides)
    error = caught.value
    assert (error.code, error.exit_code) == ("config.invalid", 2)
    assert str(error) == "\n".join(str(problem) for problem in error.problems)
    return tuple(
        replace(one, place=Place(one.place.source.removeprefix(f"{folder}/"), one.place.line)) for one in error.problems
    )


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD.keys())
def test_problem_has_file_line_key_and_code(tmp_path: Path, text: str, expected: Expected) -> None:
    found = problems(tmp_path, text)
    assert [(one.place, one.key, one.code) for one in found] == [
        (Place("c.yaml", line), key, code) for line, key, code, _ in expected
    ]
    for problem, (*_, value) in zip(found, expected, strict=True):
        assert value in problem.message


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe\x00binary", b"dataset:\n  path: caf\xe9\n", bytes(range(256)), b"\x89PNG\r\n\x1a\n"],
    ids=["utf-16", "latin-1", "all bytes", "image"],
)
def test_file_that_is_not_utf8_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(data)
    line = 2 if data[:8] in (b"dataset:", bytes(range(8))) else 1
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [(one.place, one.code) for one in caught.value.problems] == [(Place(str(path), line), "config.not_utf8")]


def test_file_that_is_not_there_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(UsageError) as caught:
            load_config(path)
        assert caught.value.code == "config.unreadable"
        assert str(path) in caught.value.message


def test_file_that_is_far_too_large_is_refused_before_it_is_read_for_seconds(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD + "#" * 1_000_000)
    assert (problem.place, problem.code) == (Place("c.yaml", 1), "config.too_large")
    assert loaded(tmp_path, GOOD + "#" * 900_000).config.dataset.path == Path("images")


def test_of_a_thousand_problems_the_message_lists_a_hundred(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, GOOD + "".join(f"k{number}: 1\n" for number in range(1000)))
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    assert "900" in lines[-1]
    assert len(caught.value.problems) == 1000


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, "\ufeff" + GOOD.replace("\n", "\r\n")).config.dataset.path == Path("images")


def test_control_character_is_found_in_its_line_with_any_line_end(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "dataset:\r\n  layout: auto\r\n  path: \x00\r\n")
    assert problem.place == Place("c.yaml", 3)


def test_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "dataset: {path: x, split: {seed: 010}}\n"
        "train: {learning_rate: 1e-3, epochs: 0x10, batch_size: 0o17, seed: +5}\n"
        "augment: {rotation: 1.5E+1, zoom: .5, shift: 0.}\n"
        "head: {Cs: [1e3, 2.5, 7]}\n",
    ).config
    assert config.train.learning_rate == 0.001
    assert (config.train.epochs, config.train.batch_size, config.train.seed) == (16, 15, 5)
    assert config.dataset.split.seed == 10
    assert (config.augment.rotation, config.augment.zoom, config.augment.shift) == (15.0, 0.5, 0.0)
    assert config.head.Cs == (1000.0, 2.5, 7.0)


def test_words_of_yaml_1_1_are_texts(tmp_path: Path) -> None:
    words = ["no", "Yes", "on", "y", "1_000", "1:30", "2020-01-01", "=", "0b1", "1e", ".", "-"]
    config = loaded(tmp_path, f"dataset: {{path: no, classes: [{', '.join(words)}]}}\n").config
    assert config.dataset.path == Path("no")
    assert config.dataset.classes == tuple(words)


@pytest.mark.parametrize(("word", "value"), [("true", True), ("True", True), ("FALSE", False), ("false", False)])
def test_booleans_are_true_and_false(tmp_path: Path, word: str, value: bool) -> None:
    assert loaded(tmp_path, GOOD + f"evaluate: {{figures: {word}}}\n").config.evaluate.figures is value


def test_dates_are_texts_as_values_and_as_keys(tmp_path: Path) -> None:
    config = loaded(tmp_path, LABELS + "    classes: {2020-1-1: {values: [2020-99-99]}, b: {above: 1}}\n").config
    assert config.dataset.labels is not None
    assert config.dataset.labels.classes["2020-1-1"].values == ("2020-99-99",)


def test_anchors_aliases_and_merge_keys_are_read(tmp_path: Path) -> None:
    config = loaded(tmp_path, "dataset: &place {path: &word images}\nbackbone: {weights: *word}\n").config
    assert config.backbone.weights == "images"
    text = GOOD + "  split: &shares {test: 0.2}\n  classes: [a, b]\naugment:\n  <<: *shares\n"
    (problem,) = problems(tmp_path, text)
    assert (problem.place, problem.key) == (Place("c.yaml", 3), "augment.test")


def test_paths_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("TLCLI_TEST_DATA", "/data/all")
    for written, meant in {
        "~/images": "/home/somebody/images",
        "$TLCLI_TEST_DATA/cats": "/data/all/cats",
        "${TLCLI_TEST_DATA}2": "/data/all2",
        "a/../b c": "a/../b c",
    }.items():
        config = loaded(tmp_path, f"dataset: {{path: '{written}'}}\nbackbone: {{weights: '{written}'}}\n").config
        assert str(config.dataset.path) == meant
        assert config.backbone.weights == meant


def test_every_kind_of_source_is_read(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 4
    sources = loaded(
        tmp_path,
        SOURCES + "    - {kaggle: some-one/a_name, subdir: a/b}\n"
        f"    - {{url: 'https://host/a.zip?x=1', sha256: '{digest}'}}\n"
        "    - archive: a.zip\n    - folder: there\n    - {package: elpv-dataset, subdir: data}\n",
    ).config.dataset.sources
    assert sources == (
        KaggleSource(kaggle="some-one/a_name", subdir="a/b"),
        UrlSource(url="https://host/a.zip?x=1", sha256=digest),
        ArchiveSource(archive=Path("a.zip")),
        FolderSource(folder=Path("there")),
        PackageSource(package="elpv-dataset", subdir="data"),
    )


def test_loaded_config_knows_its_name_and_file(tmp_path: Path) -> None:
    done = loaded(tmp_path, GOOD)
    assert (done.name, done.path) == ("c", tmp_path / "c.yaml")


# --set


def test_set_replaces_adds_and_nests(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        GOOD + "train:\n  epochs: 3\n",
        *("train.epochs=7", "train.reduce_on_plateau.patience=5", "dataset.split.group_by.folder=true"),
        *("head.Cs=[1, 2.5, 1e3]", "image.size=64", "dataset.classes=[b, a]", "backbone.weights=a=b"),
    ).config
    assert config.train.epochs == 7
    assert config.train.reduce_on_plateau is not None
    assert config.train.reduce_on_plateau.patience == 5
    assert config.dataset.split.group_by is not None
    assert config.dataset.split.group_by.folder
    assert config.head.Cs == (1.0, 2.5, 1000.0)
    assert config.image.size == 64
    assert config.dataset.classes == ("b", "a")
    assert config.backbone.weights == "a=b"


def test_set_values_are_yaml(tmp_path: Path) -> None:
    for value, meant in {"null": None, "~": None, "": None, "3": 3}.items():
        assert loaded(tmp_path, GOOD, f"train.early_stopping={value}").config.train.early_stopping == meant
    assert loaded(tmp_path, GOOD, "train.reduce_on_plateau=null").config.train.reduce_on_plateau is None
    assert loaded(tmp_path, GOOD, "dataset.split={test: 0.3}").config.dataset.split.test == 0.3
    assert loaded(tmp_path, GOOD, "dataset.path=no").config.dataset.path == Path("no")
    assert loaded(tmp_path, GOOD, "dataset.sources=[{folder: x}]").config.dataset.sources == (
        FolderSource(folder=Path("x")),
    )


def test_last_set_wins(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD, "train.epochs=1", "train.epochs=2").config.train.epochs == 2
    config = loaded(tmp_path, GOOD, "dataset.split.test=0.3", "dataset.split={validation: 0.2}").config
    assert (config.dataset.split.validation, config.dataset.split.test) == (0.2, 0.15)


def test_set_corrects_a_wrong_value_of_the_file(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD + "train:\n  epochs: many\n", "train.epochs=2").config.train.epochs == 2
    assert loaded(tmp_path, "dataset:\n", "dataset.path=x").config.dataset.path == Path("x")
    assert loaded(tmp_path, "", "dataset.path=x").config.dataset.path == Path("x")


def test_set_lets_spaces_stand_around_the_key(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD, " train.epochs =2").config.train.epochs == 2


@pytest.mark.parametrize(("override", "key", "code", "value"), BAD_OVERRIDES.values(), ids=BAD_OVERRIDES.keys())
def test_problem_of_set_has_option_key_and_code(tmp_path: Path, override: str, key: str, code: str, value: str) -> None:
    (problem,) = problems(tmp_path, GOOD + "  classes: [a, b]\n", override)
    assert (problem.place, problem.key, problem.code) == (Place(f"--set {override[:100]}"), key, code)
    assert value in problem.message


def test_size_that_the_backbone_refuses_is_blamed_on_the_set(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD + "backbone: {name: xception}\n", "image.size=64")
    assert (problem.place, problem.key) == (Place("--set image.size=64"), "image.size")
    assert problem.code == "config.size_too_small"
    assert all(word in problem.message for word in ("xception", "71", "64"))


def test_problem_of_a_value_that_set_has_replaced_is_blamed_on_the_set(tmp_path: Path) -> None:
    text = GOOD + "train:\n  reduce_on_plateau:\n    factor: 0.5\n"
    (problem,) = problems(tmp_path, text, "train.reduce_on_plateau={factor: 7}")
    assert problem.place == Place("--set train.reduce_on_plateau={factor: 7}")
    (problem,) = problems(tmp_path, text, "train.reduce_on_plateau.patience=0")
    assert problem.place == Place("--set train.reduce_on_plateau.patience=0")
    (problem,) = problems(tmp_path, text.replace("0.5", "7"), "train.reduce_on_plateau.patience=2")
    assert problem.place == Place("c.yaml", 5)


def test_problems_of_the_file_come_first_then_those_of_set_in_their_order(tmp_path: Path) -> None:
    text = GOOD + "train:\n  epochs: 0\nimage:\n  size: 1\n"
    found = problems(tmp_path, text, "augment.nothing=a:1", "head.x", "backbone.pooling=min")
    assert [str(one.place) for one in found] == [
        *("c.yaml:4", "c.yaml:6"),
        *("--set head.x", "--set augment.nothing=a:1", "--set backbone.pooling=min"),
    ]


def test_a_layer_that_the_network_lacks_is_refused_at_its_place(tmp_path: Path) -> None:
    text = GOOD + "backbone:\n  name: mobilenet\n  layers: [stage1, stage9]\n"
    (problem,) = problems(tmp_path, text)
    assert (problem.code, problem.key, problem.place) == ("config.unknown_layer", "backbone.layers", Place("c.yaml", 5))
    assert loaded(tmp_path, text, "backbone.layers=[stage4, last]").config.backbone.layers == ("stage4", "last")
    (problem,) = problems(tmp_path, GOOD, "backbone.layers=[]")
    assert (problem.code, problem.place) == ("config.wrong_length", Place("--set backbone.layers=[]"))


@pytest.mark.parametrize("text", ["2x3", "'2 x 3'", "[2, 3]"])
def test_tiles_are_rows_and_columns_in_a_list_or_a_text(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, GOOD + f"image:\n  tiles: {text}\n").config.image.tiles == (2, 3)
    assert loaded(tmp_path, GOOD, f"image.tiles={text}").config.image.tiles == (2, 3)


def test_what_is_meant_is_suggested_where_there_is_a_choice(tmp_path: Path) -> None:
    for override, is_suggested in (("image.tiles=nativ", False), ("backbone.layers=al", True)):
        (problem,) = problems(tmp_path, GOOD, override)
        assert ("Did you mean" in problem.message) == is_suggested


# dump_config


@pytest.mark.parametrize("name", shipped_configs())
def test_dumped_config_loads_as_the_same(tmp_path: Path, name: str) -> None:
    config = load_config(shipped_configs()[name]).config
    assert loaded(tmp_path, dump_config(config)).config == config


def test_dumped_config_keeps_texts_that_look_like_something_else(tmp_path: Path) -> None:
    words = ["1e3", "0o7", "010", "1_0", "1:30", "2020-01-01", "no", "true", "null", "~", "=", "<<", "", " a", "a: b"]
    words += ["#x", "*a", "&a", "é", "😀", "a\nb", "it's", '"', "\t", "- a", "0x1F", ".5", ".inf", "\u2028"]
    config = loaded(tmp_path, GOOD, "dataset.classes=" + yaml.safe_dump(words, default_style='"')).config
    assert config.dataset.classes == tuple(words)
    text = dump_config(config)
    assert loaded(tmp_path, text).config == config
    assert yaml.safe_load(text)["dataset"]["classes"] == words  # a reader of YAML 1.1 sees the same


def test_dumped_config_writes_every_default_out(tmp_path: Path) -> None:
    tree = yaml.safe_load(dump_config(loaded(tmp_path, GOOD).config))
    assert list(tree) == [
        "dataset", "image", "augment", "backbone", "head", "train", "finetune", "evaluate", "tune",
    ]  # fmt: skip
    assert tree["train"]["reduce_on_plateau"] == {"factor": 0.2, "patience": 3, "min_learning_rate": 1e-6}
    assert tree["image"]["size"] is None
    assert tree["dataset"]["path"] == "images"


# find_config


def test_without_a_name_the_local_default_is_found_then_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(None) == shipped_configs()["alien_predator"]
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/alien_predator.yaml").write_text(GOOD)
    assert find_config(None) == Path("configs/alien_predator.yaml")


def test_folder_or_pipe_instead_of_a_config_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for argument in (str(tmp_path), str(tmp_path / "pipe")):
        with pytest.raises(UsageError) as caught:
            find_config(argument)
        assert caught.value.code == "config.not_a_file"
        assert argument in caught.value.message


def test_config_is_found_by_path_by_name_and_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert find_config("mine.yaml") == Path("mine.yaml")
    assert find_config("~/mine.yaml") == tmp_path / "mine.yaml"
    assert find_config("solar_cells") == shipped_configs()["solar_cells"]
    (tmp_path / "solar_cells").write_text(GOOD)
    assert find_config("solar_cells") == Path("solar_cells")  # a file that is here goes first


@pytest.mark.parametrize(
    ("argument", "suggestion"),
    [
        ("solar_cell", "'solar_cells'"),
        ("mien.yaml", "'mine.yaml'"),
        ("alien_predator.yml", "'alien_predator'"),
        ("zzz", ""),
        ("", ""),
        ("no/such/folder/zzz.yaml", ""),
        ("~nobody-is-called-so/zzz.yaml", ""),
        ("x" * 5000, ""),
        ("a\0b", ""),
    ],
)  # fmt: skip
def test_config_that_does_not_exist_gets_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, suggestion: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(GOOD)
    with pytest.raises(UsageError) as caught:
        find_config(argument)
    assert caught.value.code == "config.not_found"
    assert f"'{argument}'" in caught.value.message
    assert ("?" in caught.value.message, suggestion in caught.value.message) == (bool(suggestion), True)
    assert "alien_predator, my_images, solar_cells" in caught.value.hint


def test_a_folder_of_images_does_not_hide_the_shipped_config_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_images").mkdir()
    assert find_config("my_images").name == "my_images.yaml"
