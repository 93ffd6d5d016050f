"""Reading a config: whatever is wrong ends in one error that names every mistake with its place."""

import random
import re
from pathlib import Path

import pytest
import yaml

from tlcli.config.load import Loaded, dump_config, find_config, load_config, shipped_configs
from tlcli.config.mistakes import ConfigError, Mistake
from tlcli.config.sources import ArchiveSource, FolderSource, KaggleSource, PackageSource, UrlSource
from tlcli.errors import UsageError

GOOD = "dataset:\n  path: pictures\n"
LABELS = "dataset:\n  path: pictures\n  labels:\n    file: labels.csv\n    path: path\n    label: label\n"
SOURCES = "dataset:\n  path: pictures\n  sources:\n"
SECTIONS = "augment, backbone, dataset, evaluate, head, image, train"


def loaded(folder: Path, text: str, *overrides: str) -> Loaded:
    """The config with this text, loaded from a file in ``folder``."""
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    return load_config(path, overrides)


def mistakes(folder: Path, text: str, *overrides: str) -> tuple[Mistake, ...]:
    """What is wrong with the config with this text; places are told without the folder."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, *overrides)
    assert caught.value.exit_code == 2
    assert str(caught.value) == "\n".join(str(mistake) for mistake in caught.value.mistakes)
    return tuple(m._replace(where=m.where.removeprefix(f"{folder}/")) for m in caught.value.mistakes)


Expected = list[tuple[int, str, str]]
"""Line, key, part of the message."""

BAD: dict[str, tuple[str, Expected]] = {
    # Keys that do not exist, one or more in every section.
    "typo in a section": (GOOD + "imgae:\n  size: 64\n", [(3, "imgae", "unknown key, did you mean 'image'?")]),
    "unknown section": (GOOD + "optimizer: adam\n", [(3, "optimizer", f"unknown key; allowed here: {SECTIONS}")]),
    "section in capitals": (GOOD + "Train:\n  epochs: 3\n", [(3, "Train", "unknown key, did you mean 'train'?")]),
    "number as a section": (GOOD + "3: x\n", [(3, "3", "unknown key; allowed here")]),
    "empty key": (GOOD + "'': x\n", [(3, "", "unknown key; allowed here")]),
    "typo in dataset": ("dataset:\n  pth: pictures\n", [(2, "dataset.pth", "did you mean 'path'?")]),
    "typo in labels": (LABELS + "    colums: [a]\n", [(7, "dataset.labels.colums", "did you mean 'columns'?")]),
    "typo in a rule": (
        LABELS + "    classes:\n      good: {belwo: 0.5}\n",
        [(8, "dataset.labels.classes.good.belwo", "did you mean 'below'?; allowed here: above, at_least, at_most")],
    ),
    "typo in split": (
        GOOD + "  split:\n    validaton: 0.2\n",
        [(4, "dataset.split.validaton", "did you mean 'validation'?")],
    ),
    "typo in group_by": (
        GOOD + "  split:\n    group_by:\n      patern: x\n",
        [(5, "dataset.split.group_by.patern", "did you mean 'pattern'?; allowed here: folder, pattern")],
    ),
    "typo in image": (GOOD + "image:\n  siez: 64\n", [(4, "image.siez", "did you mean 'size'?")]),
    "typo in augment": (GOOD + "augment:\n  view: 3\n", [(4, "augment.view", "did you mean 'views'?")]),
    "typo in backbone": (GOOD + "backbone:\n  nmae: vgg16\n", [(4, "backbone.nmae", "did you mean 'name'?")]),
    "typo in head": (GOOD + "head:\n  dropuot: 0.5\n", [(4, "head.dropuot", "did you mean 'dropout'?")]),
    "typo in train": (GOOD + "train:\n  learning-rate: 0.1\n", [(4, "train.learning-rate", "'learning_rate'?")]),
    "typo in reduce_on_plateau": (
        GOOD + "train:\n  reduce_on_plateau:\n    patiense: 3\n",
        [(5, "train.reduce_on_plateau.patiense", "did you mean 'patience'?")],
    ),
    "typo in evaluate": (GOOD + "evaluate:\n  figure: true\n", [(4, "evaluate.figure", "did you mean 'figures'?")]),
    "key of another section": (
        GOOD + "train:\n  dropout: 0.5\n",
        [(4, "train.dropout", "unknown key; allowed here: batch_size, early_stopping, epochs")],
    ),
    # Values of the wrong kind.
    "number in quotes": (
        GOOD + "train:\n  epochs: '30'\n",
        [(4, "train.epochs", "input should be a valid integer (received: '30')")],
    ),
    "share in quotes": (
        GOOD + "  split:\n    test: '0.2'\n",
        [(4, "dataset.split.test", "input should be a valid number (received: '0.2')")],
    ),
    "text for a number": (
        GOOD + "train:\n  learning_rate: fast\n",
        [(4, "train.learning_rate", "input should be a valid number (received: 'fast')")],
    ),
    "fraction for a whole number": (
        GOOD + "train:\n  epochs: 1.5\n",
        [(4, "train.epochs", "input should be a valid integer (received: 1.5)")],
    ),
    "boolean for a number": (
        GOOD + "train:\n  epochs: true\n",
        [(4, "train.epochs", "input should be a valid integer (received: True)")],
    ),
    "yes for a boolean": (
        GOOD + "head:\n  standardize: yes\n",
        [(4, "head.standardize", "input should be a valid boolean (received: 'yes')")],
    ),
    "off for a boolean": (
        GOOD + "evaluate:\n  figures: off\n",
        [(4, "evaluate.figures", "input should be a valid boolean (received: 'off')")],
    ),
    "number for a boolean": (
        GOOD + "evaluate:\n  figures: 1\n",
        [(4, "evaluate.figures", "input should be a valid boolean (received: 1)")],
    ),
    "number for a text": (
        LABELS.replace("file: labels.csv", "file: 3"),
        [(4, "dataset.labels.file", "input should be a valid string (received: 3)")],
    ),
    "number for a path": ("dataset:\n  path: 3\n", [(2, "dataset.path", "(received: 3)")]),
    "thousands with a low line": (
        GOOD + "train:\n  batch_size: 1_000\n",
        [(4, "train.batch_size", "input should be a valid integer (received: '1_000')")],
    ),
    "time of day for a number": (
        GOOD + "  split:\n    seed: 1:30\n",
        [(4, "dataset.split.seed", "input should be a valid integer (received: '1:30')")],
    ),
    "null for a number": (
        GOOD + "train:\n  epochs: null\n",
        [(4, "train.epochs", "input should be a valid integer (received: None)")],
    ),
    "nothing for a choice": (
        GOOD + "image:\nhead:\n  fit:\n",
        [
            (3, "image", "input should be a mapping of keys to values (received: None)"),
            (5, "head.fit", "input should be 'convex' or 'minibatch' (received: None)"),
        ],
    ),
    "nothing for a section": ("dataset:\n", [(1, "dataset", "a mapping of keys to values (received: None)")]),
    "text for a section": (
        "dataset: pictures\n",
        [(1, "dataset", "a mapping of keys to values (received: 'pictures')")],
    ),
    "list for a section": (
        GOOD + "train:\n  - epochs: 3\n",
        [(3, "train", "a mapping of keys to values (received: [{'epochs': 3}])")],
    ),
    "list for split": (
        GOOD + "  split: [0.7, 0.2, 0.1]\n",
        [(3, "dataset.split", "a mapping of keys to values (received: [0.7, 0.2, 0.1])")],
    ),
    "list for the rules": (
        LABELS + "    classes: [good, bad]\n",
        [(7, "dataset.labels.classes", "a mapping of keys to values (received: ['good', 'bad'])")],
    ),
    "list for a number": (
        GOOD + "train:\n  epochs: [30]\n",
        [(4, "train.epochs", "input should be a valid integer (received: [30])")],
    ),
    "mapping for a number": (GOOD + "train:\n  epochs: {at: 30}\n", [(4, "train.epochs", "a valid integer")]),
    "mapping for a list": (GOOD + "  classes: {a: 1, b: 2}\n", [(3, "dataset.classes", "input should be a list")]),
    "text for a list": (
        GOOD + "head:\n  strengths: 10\n",
        [(4, "head.strengths", "input should be a list (received: 10)")],
    ),
    "text among numbers": (
        GOOD + "head:\n  strengths:\n    - 10\n    - many\n",
        [(6, "head.strengths.1", "input should be a valid number (received: 'many')")],
    ),
    "number among texts": (
        GOOD + "  classes: [cat, 3]\n",
        [(3, "dataset.classes.1", "input should be a valid string (received: 3)")],
    ),
    # Values out of range.
    "negative epochs": (
        GOOD + "train:\n  epochs: -1\n",
        [(4, "train.epochs", "greater than or equal to 1 (received: -1)")],
    ),
    "zero batch": (GOOD + "train:\n  batch_size: 0\n", [(4, "train.batch_size", "greater than or equal to 1")]),
    "zero learning rate": (
        GOOD + "train:\n  learning_rate: 0\n",
        [(4, "train.learning_rate", "input should be greater than 0 (received: 0)")],
    ),
    "infinite learning rate": (
        GOOD + "train:\n  learning_rate: .inf\n",
        [(4, "train.learning_rate", "input should be a finite number (received: inf)")],
    ),
    "learning rate beyond all floats": (
        GOOD + "train:\n  learning_rate: 1e999\n",
        [(4, "train.learning_rate", "input should be a finite number (received: inf)")],
    ),
    "no number for a share": (
        GOOD + "  split:\n    test: .nan\n",
        [(4, "dataset.split.test", "input should be a finite number (received: nan)")],
    ),
    "factor above one": (
        GOOD + "train:\n  reduce_on_plateau:\n    factor: 1.0\n",
        [(5, "train.reduce_on_plateau.factor", "input should be less than 1 (received: 1.0)")],
    ),
    "dropout of everything": (GOOD + "head:\n  dropout: 1\n", [(4, "head.dropout", "less than 1 (received: 1)")]),
    "one fold": (GOOD + "head:\n  folds: 1\n", [(4, "head.folds", "greater than or equal to 2 (received: 1)")]),
    "no strengths": (GOOD + "head:\n  strengths: []\n", [(4, "head.strengths", "1 values or more (received: [])")]),
    "negative strength": (GOOD + "head:\n  strengths: [-1]\n", [(4, "head.strengths.0", "greater than 0")]),
    "share as percent": (
        GOOD + "  split:\n    test: 20\n",
        [(4, "dataset.split.test", "less than or equal to 0.9 (received: 20)")],
    ),
    "negative share": (GOOD + "  split:\n    validation: -0.1\n", [(4, "dataset.split.validation", "or equal to 0")]),
    "shares that leave no training": (
        GOOD + "  split:\n    validation: 0.5\n    test: 0.5\n",
        [(3, "dataset.split", "validation and test together may take at most 0.9 of the pictures")],
    ),
    "bad fraction above one": (GOOD + "  max_bad_fraction: 2\n", [(3, "dataset.max_bad_fraction", "or equal to 1")]),
    "one class": (GOOD + "  classes: [cat]\n", [(3, "dataset.classes", "2 values or more (received: ['cat'])")]),
    "negative seed": (GOOD + "train:\n  seed: -1\n", [(4, "train.seed", "greater than or equal to 0")]),
    "seed beyond 32 bits": (GOOD + "train:\n  seed: 4294967296\n", [(4, "train.seed", "less than 4294967296")]),
    "seed of 400 digits": (GOOD + f"train:\n  seed: {'9' * 400}\n", [(4, "train.seed", "less than 4294967296")]),
    "tiny size": (GOOD + "image:\n  size: 16\n", [(4, "image.size", "greater than or equal to 32 (received: 16)")]),
    "huge size": (GOOD + "image:\n  size: 2048\n", [(4, "image.size", "less than or equal to 1024")]),
    "size below the backbone's": (
        GOOD + "backbone:\n  name: xception\nimage:\n  resize: pad\n  size: 64\n",
        [(7, "image.size", "xception takes 71 or more (received: 64)")],
    ),
    "background beyond 255": (
        GOOD + "image:\n  background: [256, -1, 0]\n",
        [
            (4, "image.background.0", "less than or equal to 255 (received: 256)"),
            (4, "image.background.1", "greater than or equal to 0 (received: -1)"),
        ],
    ),
    "background of two": (GOOD + "image:\n  background: [0, 0]\n", [(4, "image.background.2", "a value is missing")]),
    "background of four": (
        GOOD + "image:\n  background: [0, 0, 0, 0]\n",
        [(4, "image.background", "3 values or fewer")],
    ),
    "background by name": (
        GOOD + "image:\n  background: white\n",
        [(4, "image.background", "a list (received: 'white')")],
    ),
    "no formats": (GOOD + "image:\n  formats: []\n", [(4, "image.formats", "1 values or more")]),
    "format by its ending": (GOOD + "image:\n  formats: [JPG]\n", [(4, "image.formats.0", "did you mean 'JPEG'?")]),
    "zero megapixels": (GOOD + "image:\n  max_megapixels: 0\n", [(4, "image.max_megapixels", "greater than 0")]),
    "too many views": (GOOD + "augment:\n  views: 65\n", [(4, "augment.views", "less than or equal to 64")]),
    "rotation beyond half a turn": (GOOD + "augment:\n  rotation: 181\n", [(4, "augment.rotation", "or equal to 180")]),
    "fail_under as percent": (GOOD + "evaluate:\n  fail_under: 90\n", [(4, "evaluate.fail_under", "or equal to 1")]),
    # Choices.
    "typo in a backbone": (
        GOOD + "backbone:\n  name: densenet20\n",
        [
            (
                4,
                "backbone.name",
                "no such backbone, did you mean 'densenet201'? (received: 'densenet20'); allowed: dense",
            )
        ],
    ),
    "backbone as Keras writes it": (
        GOOD + "backbone:\n  name: DenseNet201\n",
        [(4, "backbone.name", "'densenet201'?")],
    ),
    "nothing like a backbone": (
        GOOD + "backbone:\n  name: zzz\n",
        [(4, "backbone.name", "no such backbone (received: 'zzz'); allowed: densenet121, ")],
    ),
    "typo in an optimizer": (GOOD + "train:\n  optimizer: adma\n", [(4, "train.optimizer", "did you mean 'adam'?")]),
    "choice in capitals": (GOOD + "image:\n  resize: Crop\n", [(4, "image.resize", "did you mean 'crop'?")]),
    "unknown engine": (
        GOOD + "backbone:\n  engine: tensorrt\n",
        [(4, "backbone.engine", "input should be 'auto', 'openvino' or 'keras' (received: 'tensorrt')")],
    ),
    "no as a choice": (GOOD + "augment:\n  flip: no\n", [(4, "augment.flip", "(received: 'no')")]),
    # What is required.
    "empty file": ("", [(1, "dataset", "this key is required")]),
    "comments only": ("# dataset:\n#   path: x\n", [(1, "dataset", "this key is required")]),
    "no dataset": ("image:\n  size: 64\n", [(1, "dataset", "this key is required")]),
    "dataset without a place": ("image: {}\ndataset: {}\n", [(2, "dataset", "set path to the folder of the pictures")]),
    "download without a place": (
        "dataset:\n  sources:\n    - kaggle: owner/name\n",
        [(1, "dataset", "set path to the folder of the pictures (fetch puts them there)")],
    ),
    "labels without columns": (
        GOOD + "  labels:\n    file: labels.csv\n",
        [(3, "dataset.labels.path", "this key is required"), (3, "dataset.labels.label", "this key is required")],
    ),
    "rule without a limit": (
        LABELS + "    classes:\n      good: {}\n",
        [(8, "dataset.labels.classes.good", "a rule needs below, at_most, above, at_least or values")],
    ),
    "rule of nulls": (
        LABELS + "    classes:\n      good: {below: null, values: ~}\n",
        [(8, "dataset.labels.classes.good", "a rule needs below, at_most, above, at_least or values")],
    ),
    "rule of no values": (
        LABELS + "    classes:\n      good: {values: []}\n",
        [(8, "dataset.labels.classes.good.values", "1 values or more")],
    ),
    "rule that is a number": (
        LABELS + "    classes:\n      good: 0.5\n",
        [(8, "dataset.labels.classes.good", "a mapping of keys to values (received: 0.5)")],
    ),
    "group_by that says nothing": (
        GOOD + "  split:\n    group_by: {}\n",
        [(4, "dataset.split.group_by", "write either folder: true or a pattern")],
    ),
    "group_by that says both": (
        GOOD + "  split:\n    group_by: {folder: true, pattern: x}\n",
        [(4, "dataset.split.group_by", "write either folder: true or a pattern")],
    ),
    # Patterns and paths.
    "bad regular expression": (
        GOOD + "  split:\n    group_by:\n      pattern: 'patient(\\d+'\n",
        [(5, "dataset.split.group_by.pattern", "not a regular expression: missing ), unterminated subpattern")],
    ),
    "regular expression beyond all limits": (
        GOOD + "  split:\n    group_by:\n      pattern: a{99999999999}\n",
        [(5, "dataset.split.group_by.pattern", "not a regular expression: the repetition number is too large")],
    ),
    "variable that is not set": (
        "dataset:\n  path: $TLCLI_NOT_SET/pictures\n",
        [
            (
                2,
                "dataset.path",
                "the environment variable $TLCLI_NOT_SET is not set (received: '$TLCLI_NOT_SET/pictures')",
            )
        ],
    ),
    "variable with a shell's default": (
        "dataset:\n  path: ${TLCLI_NOT_SET:-here}\n",
        [(2, "dataset.path", "the environment variable $TLCLI_NOT_SET:-here is not set")],
    ),
    "variable in weights": (
        GOOD + "backbone:\n  weights: $TLCLI_NOT_SET\n",
        [(4, "backbone.weights", "the environment variable $TLCLI_NOT_SET is not set")],
    ),
    "home of nobody": (
        "dataset:\n  path: ~nobody-is-called-so/x\n",
        [(2, "dataset.path", "there is no home folder for ~nobody-is-called-so")],
    ),
    "empty path": ("dataset:\n  path: ''\n", [(2, "dataset.path", "a path cannot be empty")]),
    "blank path": ("dataset:\n  path: '  '\n", [(2, "dataset.path", "a path cannot be empty")]),
    # Sources.
    "unknown kind of source": (
        SOURCES + "    - s3: bucket/key\n",
        [(4, "dataset.sources.0", "one of the keys 'kaggle', 'competition', 'url', 'archive', 'folder', 'package'")],
    ),
    "typo in a kind of source": (SOURCES + "    - kagle: a/b\n", [(4, "dataset.sources.0", "did you mean 'kaggle'?")]),
    "two kinds in one source": (
        SOURCES + "    - kaggle: a/b\n      url: https://host/a.zip\n",
        [(5, "dataset.sources.0.url", "unknown key; allowed here: files, kaggle, sha256, size, subdir, version")],
    ),
    "typo in a source": (
        SOURCES + "    - url: https://host/a.zip\n      sha: 0\n",
        [(5, "dataset.sources.0.sha", "did you mean 'sha256'?; allowed here: sha256, size, subdir, url")],
    ),
    "key of another kind of source": (
        SOURCES + "    - folder: x\n    - url: https://host/a.zip\n      version: 2\n",
        [(6, "dataset.sources.1.version", "unknown key; allowed here: sha256, size, subdir, url")],
    ),
    "version that is none": (
        SOURCES + "    - kaggle: a/b\n      version: 0\n",
        [(5, "dataset.sources.0.version", "greater than or equal to 1")],
    ),
    "one digest for several files": (
        SOURCES + f"    - kaggle: a/b\n      files: [a.zip, b.zip]\n      sha256: {'a' * 64}\n",
        [(4, "dataset.sources.0", "sha256 and size are those of one archive")],
    ),
    "file outside of the data set": (
        SOURCES + "    - competition: name\n      files: [../a.zip]\n",
        [(5, "dataset.sources.0.files.0", "a path below the data set")],
    ),
    "subdir outside of the archive": (
        SOURCES + "    - archive: a.zip\n      subdir: /etc\n",
        [(5, "dataset.sources.0.subdir", "a path below the data set")],
    ),
    "password in an address": (
        SOURCES + "    - url: https://me:secret@host/a.zip\n",
        [(4, "dataset.sources.0.url", "put them into ~/.netrc")],
    ),
    "link without a place for it": (
        "dataset:\n  sources:\n    - folder: x\n      link: true\n",
        [(1, "dataset", "set path to the folder of the pictures")],
    ),
    "limits below nothing": (
        "dataset:\n  path: x\n  limits:\n    max_files: 0\n    max_gb: -1\n    max_ratio: 0.5\n",
        [
            (4, "dataset.limits.max_files", "greater than or equal to 1"),
            (5, "dataset.limits.max_gb", "greater than 0"),
            (6, "dataset.limits.max_ratio", "greater than or equal to 1"),
        ],
    ),
    "kaggle without an owner": (
        SOURCES + "    - kaggle: name\n",
        [(4, "dataset.sources.0.kaggle", "(received: 'name')")],
    ),
    "kaggle by its page": (
        SOURCES + "    - kaggle: https://www.kaggle.com/datasets/a/b\n",
        [(4, "dataset.sources.0.kaggle", "string should match pattern")],
    ),
    "url without a file": (
        SOURCES + "    - url: https://host\n",
        [(4, "dataset.sources.0.url", "should match pattern")],
    ),
    "url of another protocol": (SOURCES + "    - url: ftp://host/a\n", [(4, "dataset.sources.0.url", "should match")]),
    "digest too short": (
        SOURCES + "    - url: https://host/a.zip\n      sha256: abc\n",
        [(5, "dataset.sources.0.sha256", "should match pattern '^[0-9a-f]{64}$' (received: 'abc')")],
    ),
    "source without a value": (SOURCES + "    - folder:\n", [(4, "dataset.sources.0.folder", "(received: None)")]),
    "source that is a text": (SOURCES + "    - kaggle\n", [(4, "dataset.sources.0", "mapping with one of the keys")]),
    "source that is a number": (SOURCES + "    - 3\n", [(4, "dataset.sources.0", "(received: 3)")]),
    "source that is nothing": (SOURCES + "    -\n", [(4, "dataset.sources.0", "(received: None)")]),
    "source that is a list": (SOURCES + "    - [kaggle]\n", [(4, "dataset.sources.0", "(received: ['kaggle'])")]),
    "sources without dashes": (SOURCES + "    kaggle: a/b\n", [(3, "dataset.sources", "input should be a list")]),
    "sources that are nothing": (SOURCES, [(3, "dataset.sources", "input should be a list (received: None)")]),
    # What YAML itself refuses, and what it would let pass.
    "doubled section": (GOOD + "image: {}\nimage: {}\n", [(4, "image", "this key stands twice, first in line 3")]),
    "doubled key": (
        GOOD + "train:\n  epochs: 3\n  seed: 1\n  epochs: 4\n",
        [(6, "train.epochs", "this key stands twice, first in line 4")],
    ),
    "doubled key in a list": (
        SOURCES + "    - folder: a\n      folder: b\n",
        [(5, "dataset.sources.0.folder", "this key stands twice, first in line 4")],
    ),
    "tab": (
        "dataset:\n\tpath: x\n",
        [(2, "", "not valid YAML: while scanning for the next token: found character '\\t'")],
    ),
    "unclosed quote": (
        "dataset:\n  path: 'x\nimage: {}\n",
        [(4, "", "not valid YAML: while scanning a quoted scalar begun in line 2: found unexpected end of stream")],
    ),
    "unclosed bracket": (
        GOOD + "head:\n  strengths: [1, 2\n",
        [(5, "", "not valid YAML: while parsing a flow sequence")],
    ),
    "bad indentation": ("dataset:\n  path: x\n   layout: auto\n", [(3, "", "not valid YAML: mapping values are not")]),
    "key without a colon": (GOOD + "image\n", [(4, "", "not valid YAML: while scanning a simple key begun in line 3")]),
    "alias of nothing": ("dataset:\n  path: *place\n", [(2, "", "not valid YAML: found undefined alias 'place'")]),
    "doubled anchor": (
        "dataset: &a\n  path: &a x\n",
        [(2, "", "found duplicate anchor 'a'; first occurrence begun in line 1: second occurrence")],
    ),
    "anchor inside itself": ("dataset: &a\n  path: *a\n", [(2, "", "not valid YAML: more than 20,000 values")]),
    "aliases of aliases": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        [(5, "", "not valid YAML: more than 20,000 values")],
    ),
    "nested without end": ("dataset: " + "[" * 5000, [(1, "", "not valid YAML: nested more than 20 deep")]),
    "two documents": (GOOD + "---\nimage: {}\n", [(3, "", "expected a single document in the stream")]),
    "list at the top": ("- dataset\n", [(1, "", "a config is a mapping of sections; received: ['dataset']")]),
    "text at the top": ("just words\n", [(1, "", "a config is a mapping of sections; received: 'just words'")]),
    "number at the top": ("3\n", [(1, "", "a config is a mapping of sections; received: 3")]),
    "list as a key": (GOOD + "? [a]\n: x\n", [(3, "", "not valid YAML: while constructing a mapping")]),
    "merge of a number": (GOOD + "<<: 3\n", [(3, "", "expected a mapping or list of mappings for merging")]),
    "python object": (
        "dataset: !!python/object/apply:os.system [ls]\n",
        [(1, "", "could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'")],
    ),
    "own tag": ("dataset: !folder x\n", [(1, "", "could not determine a constructor for the tag '!folder'")]),
    "binary value": ("dataset:\n  path: !!binary aGk=\n", [(2, "", "could not determine a constructor for the tag")]),
    "tag that does not fit": (GOOD + "train:\n  epochs: !!int ten\n", [(4, "", "not valid YAML: not a value: ")]),
    "empty number": (GOOD + "train:\n  epochs: !!float ''\n", [(4, "", "not valid YAML: not a value: ")]),
    "boolean that is none": (GOOD + "head:\n  standardize: !!bool x\n", [(4, "", "not valid YAML: not a value: ")]),
    "number of 5,000 digits": (GOOD + f"train:\n  seed: {'9' * 5000}\n", [(4, "", "not valid YAML: not a value: ")]),
    "half a character": ('dataset:\n  path: "\\ud800"\n', [(2, "", "surrogates not allowed")]),
    "NUL in a text": ('dataset:\n  path: "a\\0b"\n', [(2, "", "a text cannot hold a NUL character")]),
    "control character": (
        "dataset:\n  path: a\x07b\n",
        [(2, "", "not valid YAML: the character U+0007 is not allowed")],
    ),
    # Several mistakes at once, in the order of the file.
    "several mistakes": (
        "train:\n  epochs: '3'\n  lerning_rate: 1\nimage:\n  size: 8\n  size: 9\ndataset:\n  path: [x]\n",
        [
            (2, "train.epochs", "input should be a valid integer"),
            (3, "train.lerning_rate", "did you mean 'learning_rate'?"),
            (5, "image.size", "greater than or equal to 32 (received: 9)"),
            (6, "image.size", "this key stands twice, first in line 5"),
            (8, "dataset.path", "(received: ['x'])"),
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD.keys())
def test_mistake_is_named_with_file_line_key_and_reason(tmp_path: Path, text: str, expected: Expected) -> None:
    found = mistakes(tmp_path, text)
    assert [(m.where, m.key) for m in found] == [(f"c.yaml:{line}", key) for line, key, _ in expected]
    for mistake, (_, _, message) in zip(found, expected, strict=True):
        assert message in mistake.message


def test_hand_made_mistakes_are_150_at_least() -> None:
    assert len(BAD) + len(BAD_OVERRIDES) >= 150


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe\x00binary", b"dataset:\n  path: caf\xe9\n", bytes(range(256)), b"\x89PNG\r\n\x1a\n"],
    ids=["utf-16", "latin-1", "all bytes", "picture"],
)
def test_file_that_is_not_utf8_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"The config .*c\.yaml cannot be read: 'utf-8' codec") as caught:
        load_config(path)
    assert caught.value.exit_code == 2


def test_file_that_is_not_there_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(UsageError, match=re.escape(f"The config {path} cannot be read: ")):
            load_config(path)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, "\ufeff" + GOOD.replace("\n", "\r\n")).config.dataset.path == Path("pictures")


def test_control_character_is_found_in_its_line_with_any_line_end(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, "dataset:\r\n  layout: auto\r\n  path: \x00\r\n")
    assert mistake.where == "c.yaml:3"


MUTATIONS = 1000
STRANGE = [*"abc019 \t\n\r:-[]{}#&*!|>'\"%@`,?$~.\\\x00\x07=<_/+", "\ufeff", "\u2028", "é", "😀"]
WORDS = "null ~ '' [] {} [[1]] -1 0x1F 1e400 .nan 1e-3 true no *a | << 2020-99-99 $TLCLI_NOT_SET = @ ~nobody-is-so"
VALUES = [*WORDS.split(), "9" * 30, "{a: 1}", "&a b", "!!int x", "!!set {a}"]


def mutated(text: str, choose: random.Random) -> str:
    """The text after one to four changes: lines lost, doubled, shifted, uncommented, characters and values replaced."""
    lines = text.splitlines(keepends=True)
    for _ in range(choose.randint(1, 4)):
        number = choose.randrange(len(lines))
        line = lines[number]
        at = choose.randrange(len(line) + 1)
        strange = "".join(choose.choices(STRANGE, k=choose.randrange(4)))
        indent = " " * choose.randrange(7)
        changes = [
            "",
            line * 2,
            indent + line.lstrip(" "),
            line[:at] + strange + line[at + choose.randrange(3) :],
            f"{line.partition(':')[0]}: {choose.choice(VALUES)}\n",
            line.replace("#", "", 1),
        ]
        lines[number] = choose.choice(changes)
    return "".join(lines)


@pytest.mark.parametrize("seed", range(5))
def test_generated_mistakes_end_in_a_config_or_in_errors_with_file_and_line(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    texts = [path.read_text(encoding="utf-8") for path in shipped_configs().values()]
    refused: list[tuple[str, tuple[Mistake, ...]]] = []
    for _ in range(MUTATIONS):
        text = mutated(choose.choice(texts), choose)
        try:
            loaded(tmp_path, text)
        except ConfigError as error:
            refused.append((text, error.mistakes))
    for text, found in refused:
        assert found, text
        assert all(re.fullmatch(r".*/c\.yaml:\d+", mistake.where) for mistake in found), text
    assert MUTATIONS / 4 < len(refused) < MUTATIONS  # else the changes are too small, or too large, to test anything


def test_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "dataset: {path: x, split: {seed: 010}}\n"
        "train: {learning_rate: 1e-3, epochs: 0x10, batch_size: 0o17, seed: +5}\n"
        "augment: {rotation: 1.5E+1, zoom: .5, shift: 0.}\n"
        "head: {strengths: [1e3, 2.5, 7]}\n",
    ).config
    assert config.train.learning_rate == 0.001
    assert (config.train.epochs, config.train.batch_size, config.train.seed) == (16, 15, 5)
    assert config.dataset.split.seed == 10
    assert (config.augment.rotation, config.augment.zoom, config.augment.shift) == (15.0, 0.5, 0.0)
    assert config.head.strengths == (1000.0, 2.5, 7.0)


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
    config = loaded(tmp_path, "dataset: &place {path: &word pictures}\nbackbone: {weights: *word}\n").config
    assert config.backbone.weights == "pictures"
    text = GOOD + "  split: &shares {test: 0.2}\n  classes: [a, b]\naugment:\n  <<: *shares\n"
    (mistake,) = mistakes(tmp_path, text)
    assert (mistake.where, mistake.key) == ("c.yaml:3", "augment.test")


def test_paths_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("TLCLI_TEST_DATA", "/data/all")
    for written, meant in {
        "~/pictures": "/home/somebody/pictures",
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
        *("head.strengths=[1, 2.5, 1e3]", "image.size=64", "dataset.classes=[b, a]", "backbone.weights=a=b"),
    ).config
    assert config.train.epochs == 7
    assert config.train.reduce_on_plateau is not None
    assert config.train.reduce_on_plateau.patience == 5
    assert config.dataset.split.group_by is not None
    assert config.dataset.split.group_by.folder
    assert config.head.strengths == (1.0, 2.5, 1000.0)
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


BAD_OVERRIDES: dict[str, tuple[str, str, str]] = {
    "no value": ("train.epochs", "", "write --set section.key=value"),
    "no section": ("epochs=3", "", "write --set section.key=value"),
    "empty": ("", "", "write --set section.key=value"),
    "empty key": ("train.=3", "", "write --set section.key=value"),
    "empty section": (".epochs=3", "", "write --set section.key=value"),
    "typo": ("train.epoch=3", "train.epoch", "unknown key, did you mean 'epochs'?"),
    "typo in the section": ("trian.epochs=3", "trian", "unknown key, did you mean 'train'?"),
    "below a value": ("dataset.path.x=3", "dataset.path.x", "'path' is no mapping here; set it whole"),
    "into a list": ("dataset.classes.0=x", "dataset.classes.0", "'classes' is no mapping here; set it whole"),
    "key below nothing": ("train.epochs.x=3", "train.epochs", "input should be a valid integer"),
    "wrong kind": ("train.epochs=many", "train.epochs", "a valid integer (received: 'many')"),
    "quoted number": ("train.epochs='3'", "train.epochs", "a valid integer (received: '3')"),
    "out of range": ("train.epochs=0", "train.epochs", "greater than or equal to 1 (received: 0)"),
    "null": ("train.epochs=", "train.epochs", "a valid integer (received: None)"),
    "broken YAML": ("head.strengths=[1, 2", "head.strengths", "the value is not valid YAML: while parsing a flow"),
    "alias": ("train.epochs=*a", "train.epochs", "the value is not valid YAML: found undefined alias 'a'"),
    "tag": ("train.epochs=!!int x", "train.epochs", "the value is not valid YAML: not a value: "),
    "nested": (f"train.epochs={'[' * 5000}", "train.epochs", "the value is not valid YAML: nested more than 20 deep"),
    "two documents": ("train.epochs=1\n---\n2", "train.epochs", "expected a single document in the stream"),
    "shares": ("dataset.split={test: 0.6, validation: 0.6}", "dataset.split", "may take at most 0.9"),
    "size": ("image.size=20", "image.size", "greater than or equal to 32 (received: 20)"),
    "backbone": ("backbone.name=resnet5", "backbone.name", "did you mean 'resnet50'?"),
}


@pytest.mark.parametrize(("override", "key", "message"), BAD_OVERRIDES.values(), ids=BAD_OVERRIDES.keys())
def test_bad_set_is_named(tmp_path: Path, override: str, key: str, message: str) -> None:
    (mistake,) = mistakes(tmp_path, GOOD + "  classes: [a, b]\n", override)
    assert mistake.where == f"--set {override[:100]}"
    assert mistake.key == key
    assert message in mistake.message


def test_size_that_the_backbone_refuses_is_blamed_on_the_set(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, GOOD + "backbone: {name: xception}\n", "image.size=64")
    assert str(mistake) == "--set image.size=64: image.size: xception takes 71 or more (received: 64)"


def test_mistakes_of_the_file_come_first_then_those_of_set_in_their_order(tmp_path: Path) -> None:
    text = GOOD + "train:\n  epochs: 0\nimage:\n  size: 1\n"
    found = mistakes(tmp_path, text, "augment.nothing=a:1", "head.x", "backbone.pooling=min")
    assert [m.where for m in found] == [
        *("c.yaml:4", "c.yaml:6"),
        *("--set head.x", "--set augment.nothing=a:1", "--set backbone.pooling=min"),
    ]


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
    assert list(tree) == ["dataset", "image", "augment", "backbone", "head", "train", "evaluate"]
    assert tree["train"]["reduce_on_plateau"] == {"factor": 0.2, "patience": 3, "min_learning_rate": 1e-6}
    assert tree["image"]["size"] is None
    assert tree["dataset"]["path"] == "pictures"


# find_config


def test_without_a_name_the_local_default_is_found_then_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(None) == shipped_configs()["alien_predator"]
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/alien_predator.yaml").write_text(GOOD)
    assert find_config(None) == Path("configs/alien_predator.yaml")


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
    ("given", "hint"),
    [
        ("solar_cell", "; did you mean 'solar_cells'?"),
        ("mien.yaml", "; did you mean 'mine.yaml'?"),
        ("alien_predator.yml", "; did you mean 'alien_predator'?"),
        ("zzz", ""),
        ("", ""),
        (".", ""),
        ("no/such/folder/zzz.yaml", ""),
        ("~nobody-is-called-so/zzz.yaml", ""),
        ("x" * 5000, ""),
        ("a\0b", ""),
    ],
)  # fmt: skip
def test_config_that_is_not_there_gets_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(GOOD)
    names = "alien_predator, my_pictures, solar_cells"
    message = f"There is no config '{given}'; give the path of a YAML file or one of {names}{hint}"
    with pytest.raises(UsageError) as caught:
        find_config(given)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2
