"""A catalogue of wrong configs and of wrong --set, each with the mistakes that must be named."""

GOOD = "dataset:\n  path: images\n"
LABELS = "dataset:\n  path: images\n  labels:\n    file: labels.csv\n    path: path\n    label: label\n"
SOURCES = "dataset:\n  path: images\n  sources:\n"
SECTIONS = "augment, backbone, dataset, evaluate, head, image, train"

Expected = list[tuple[int, str, str]]
"""Line, key, part of the message."""

BAD: dict[str, tuple[str, Expected]] = {
    # Keys that do not exist, one or more in every section.
    "typo in a section": (GOOD + "imgae:\n  size: 64\n", [(3, "imgae", "unknown key, did you mean 'image'?")]),
    "unknown section": (
        GOOD + "optimizer: adam\n",
        [(3, "optimizer", f"unknown key, is train.optimizer meant?; allowed here: {SECTIONS}")],
    ),
    "section in capitals": (GOOD + "Train:\n  epochs: 3\n", [(3, "Train", "unknown key, did you mean 'train'?")]),
    "key of several sections": (
        GOOD + "seed: 3\n",
        [(3, "seed", "unknown key, is dataset.split.seed or augment.seed or train.seed meant?; allowed here")],
    ),
    "number as a section": (GOOD + "3: x\n", [(3, "3", "unknown key; allowed here")]),
    "empty key": (GOOD + "'': x\n", [(3, "", "unknown key; allowed here")]),
    "typo in dataset": ("dataset:\n  pth: images\n", [(2, "dataset.pth", "did you mean 'path'?")]),
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
        [(4, "train.dropout", "unknown key, is head.dropout meant?; allowed here: batch_size, early_stopping, epochs")],
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
        "dataset: images\n",
        [(1, "dataset", "a mapping of keys to values (received: 'images')")],
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
        [(3, "dataset.split", "validation and test together may take at most 0.9 of the images")],
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
    "dataset without a place": ("image: {}\ndataset: {}\n", [(2, "dataset", "set path to the folder of the images")]),
    "download without a place": (
        "dataset:\n  sources:\n    - kaggle: owner/name\n",
        [(1, "dataset", "set path to the folder of the images (fetch puts them there)")],
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
        "dataset:\n  path: $TLCLI_NOT_SET/images\n",
        [
            (
                2,
                "dataset.path",
                "the environment variable $TLCLI_NOT_SET is not set (received: '$TLCLI_NOT_SET/images')",
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
        [(1, "dataset", "set path to the folder of the images")],
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
    # What files of other programs hold.
    "JSON with a comma too many": ('{"dataset": {"path": "x",}, "imgae": 1}', [(1, "imgae", "did you mean 'image'?")]),
    "INI": ("[dataset]\npath = x\n", [(2, "", "not valid YAML: ")]),
    "TOML": ('dataset.path = "x"\n', [(1, "", "a config is a mapping of sections; received: ")]),
    "Python": ("dataset = {'path': 'x'}\n", [(1, "", "not valid YAML: while parsing a block mapping")]),
    "web page": ("<!doctype html>\n<html>404</html>\n", [(1, "", "a config is a mapping of sections; received: ")]),
    "pointer of Git LFS": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        [(1, "", "a config is a mapping of")],
    ),
    "conflict of a merge": (
        "<<<<<<< HEAD\ndataset:\n  path: a\n=======\n  path: b\n>>>>>>> x\n",
        [(2, "", "not valid YAML: mapping values are not allowed here")],
    ),
    "Windows path in double quotes": ('dataset:\n  path: "C:\\Users\\x"\n', [(2, "", "not valid YAML: ")]),
    "typographic quotes as part of a number": (
        GOOD + "train:\n  epochs: \u201c3\u201d\n",
        [(4, "train.epochs", "integer")],
    ),
    "no-break space for an indentation": (
        "dataset:\n\u00a0\u00a0path: x\n",
        [(1, "dataset", "received: None"), (2, "\u00a0\u00a0path", "unknown key")],
    ),
    "colon of full width": ("dataset:\n  path\uff1a x\n", [(1, "dataset", "input should be a mapping of keys")]),
    "key in NFD": (GOOD + "image:\n  si\u0301ze: 64\n", [(4, "image.si\u0301ze", "did you mean 'size'?")]),
    "zero-width space in a key": (
        GOOD + "image:\n  size\u200b: 64\n",
        [(4, "image.size\u200b", "did you mean 'size'?")],
    ),
    "Arabic digits": (GOOD + "train:\n  epochs: \u0663\n", [(4, "train.epochs", "input should be a valid integer")]),
    "decimal comma": (GOOD + "train:\n  learning_rate: 0,001\n", [(4, "train.learning_rate", "a valid number")]),
    "percent sign": (GOOD + "  split:\n    test: 20%\n", [(4, "dataset.split.test", "(received: '20%')")]),
    "expression": (GOOD + "train:\n  learning_rate: 10**-3\n", [(4, "train.learning_rate", "(received: '10**-3')")]),
    "template that nobody filled in": (GOOD + "train: {epochs: {{ epochs }}}\n", [(3, "", "not valid YAML: ")]),
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
"""What is wrong, for people: the text, and its mistakes."""

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
"""What is wrong, for people: the option, the key, part of the message."""
