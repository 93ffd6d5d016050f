"""A catalogue of wrong configs and of wrong --set, each with the problems that must be reported."""

GOOD = "dataset:\n  path: images\n"
LABELS = "dataset:\n  path: images\n  labels:\n    file: labels.csv\n    path: path\n    label: label\n"
SOURCES = "dataset:\n  path: images\n  sources:\n"

Expected = list[tuple[int, str, str, str]]
"""Line, key, code, and the value or suggestion that the message must contain."""

BAD: dict[str, tuple[str, Expected]] = {
    # Keys that do not exist, one or more in every section.
    "typo in a section": (GOOD + "imgae:\n  size: 64\n", [(3, "imgae", "config.unknown_key", "image")]),
    "unknown section": (
        GOOD + "optimizer: adam\n",
        [(3, "optimizer", "config.unknown_key", "train.optimizer")],
    ),
    "section in capitals": (GOOD + "Train:\n  epochs: 3\n", [(3, "Train", "config.unknown_key", "train")]),
    "key of several sections": (
        GOOD + "seed: 3\n",
        [(3, "seed", "config.unknown_key", "dataset.split.seed or augment.seed or train.seed")],
    ),
    "number as a section": (GOOD + "3: x\n", [(3, "3", "config.unknown_key", "")]),
    "empty key": (GOOD + "'': x\n", [(3, "", "config.unknown_key", "")]),
    "typo in dataset": ("dataset:\n  pth: images\n", [(2, "dataset.pth", "config.unknown_key", "path")]),
    "typo in labels": (LABELS + "    colums: [a]\n", [(7, "dataset.labels.colums", "config.unknown_key", "columns")]),
    "typo in a rule": (
        LABELS + "    classes:\n      good: {belwo: 0.5}\n",
        [(8, "dataset.labels.classes.good.belwo", "config.unknown_key", "below")],
    ),
    "typo in split": (
        GOOD + "  split:\n    validaton: 0.2\n",
        [(4, "dataset.split.validaton", "config.unknown_key", "validation")],
    ),
    "typo in group_by": (
        GOOD + "  split:\n    group_by:\n      patern: x\n",
        [(5, "dataset.split.group_by.patern", "config.unknown_key", "pattern")],
    ),
    "typo in image": (GOOD + "image:\n  siez: 64\n", [(4, "image.siez", "config.unknown_key", "size")]),
    "typo in augment": (GOOD + "augment:\n  view: 3\n", [(4, "augment.view", "config.unknown_key", "views")]),
    "typo in backbone": (GOOD + "backbone:\n  nmae: vgg16\n", [(4, "backbone.nmae", "config.unknown_key", "name")]),
    "typo in head": (GOOD + "head:\n  dropuot: 0.5\n", [(4, "head.dropuot", "config.unknown_key", "dropout")]),
    "typo in train": (
        GOOD + "train:\n  learning-rate: 0.1\n",
        [(4, "train.learning-rate", "config.unknown_key", "learning_rate")],
    ),
    "typo in reduce_on_plateau": (
        GOOD + "train:\n  reduce_on_plateau:\n    patiense: 3\n",
        [(5, "train.reduce_on_plateau.patiense", "config.unknown_key", "patience")],
    ),
    "typo in evaluate": (
        GOOD + "evaluate:\n  figure: true\n",
        [(4, "evaluate.figure", "config.unknown_key", "figures")],
    ),
    "key of another section": (
        GOOD + "train:\n  dropout: 0.5\n",
        [(4, "train.dropout", "config.unknown_key", "head.dropout")],
    ),
    # Values of the wrong kind.
    "number in quotes": (
        GOOD + "train:\n  epochs: '30'\n",
        [(4, "train.epochs", "config.wrong_type", "'30'")],
    ),
    "fraction in quotes": (
        GOOD + "  split:\n    test: '0.2'\n",
        [(4, "dataset.split.test", "config.wrong_type", "'0.2'")],
    ),
    "text for a number": (
        GOOD + "train:\n  learning_rate: fast\n",
        [(4, "train.learning_rate", "config.wrong_type", "'fast'")],
    ),
    "fraction for a whole number": (
        GOOD + "train:\n  epochs: 1.5\n",
        [(4, "train.epochs", "config.wrong_type", "1.5")],
    ),
    "boolean for a number": (
        GOOD + "train:\n  epochs: true\n",
        [(4, "train.epochs", "config.wrong_type", "True")],
    ),
    "yes for a boolean": (
        GOOD + "head:\n  standardize: yes\n",
        [(4, "head.standardize", "config.wrong_type", "'yes'")],
    ),
    "off for a boolean": (
        GOOD + "evaluate:\n  figures: off\n",
        [(4, "evaluate.figures", "config.wrong_type", "'off'")],
    ),
    "number for a boolean": (
        GOOD + "evaluate:\n  figures: 1\n",
        [(4, "evaluate.figures", "config.wrong_type", "1")],
    ),
    "number for a text": (
        LABELS.replace("file: labels.csv", "file: 3"),
        [(4, "dataset.labels.file", "config.wrong_type", "3")],
    ),
    "number for a path": ("dataset:\n  path: 3\n", [(2, "dataset.path", "config.wrong_type", "3")]),
    "thousands with a low line": (
        GOOD + "train:\n  batch_size: 1_000\n",
        [(4, "train.batch_size", "config.wrong_type", "'1_000'")],
    ),
    "time of day for a number": (
        GOOD + "  split:\n    seed: 1:30\n",
        [(4, "dataset.split.seed", "config.wrong_type", "'1:30'")],
    ),
    "null for a number": (
        GOOD + "train:\n  epochs: null\n",
        [(4, "train.epochs", "config.wrong_type", "None")],
    ),
    "nothing for a choice": (
        GOOD + "image:\nhead:\n  fit:\n",
        [
            (3, "image", "config.wrong_type", "None"),
            (5, "head.fit", "config.unknown_choice", "None"),
        ],
    ),
    "nothing for a section": ("dataset:\n", [(1, "dataset", "config.wrong_type", "None")]),
    "text for a section": (
        "dataset: images\n",
        [(1, "dataset", "config.wrong_type", "'images'")],
    ),
    "list for a section": (
        GOOD + "train:\n  - epochs: 3\n",
        [(3, "train", "config.wrong_type", "[{'epochs': 3}]")],
    ),
    "list for split": (
        GOOD + "  split: [0.7, 0.2, 0.1]\n",
        [(3, "dataset.split", "config.wrong_type", "[0.7, 0.2, 0.1]")],
    ),
    "list for the rules": (
        LABELS + "    classes: [good, bad]\n",
        [(7, "dataset.labels.classes", "config.wrong_type", "['good', 'bad']")],
    ),
    "list for a number": (
        GOOD + "train:\n  epochs: [30]\n",
        [(4, "train.epochs", "config.wrong_type", "[30]")],
    ),
    "mapping for a number": (GOOD + "train:\n  epochs: {at: 30}\n", [(4, "train.epochs", "config.wrong_type", "")]),
    "mapping for a list": (GOOD + "  classes: {a: 1, b: 2}\n", [(3, "dataset.classes", "config.wrong_type", "")]),
    "text for a list": (
        GOOD + "head:\n  Cs: 10\n",
        [(4, "head.Cs", "config.wrong_type", "10")],
    ),
    "text among numbers": (
        GOOD + "head:\n  Cs:\n    - 10\n    - many\n",
        [(6, "head.Cs.1", "config.wrong_type", "'many'")],
    ),
    "number among texts": (
        GOOD + "  classes: [cat, 3]\n",
        [(3, "dataset.classes.1", "config.wrong_type", "3")],
    ),
    # Values out of range.
    "negative epochs": (
        GOOD + "train:\n  epochs: -1\n",
        [(4, "train.epochs", "config.out_of_range", "-1")],
    ),
    "zero batch": (GOOD + "train:\n  batch_size: 0\n", [(4, "train.batch_size", "config.out_of_range", "")]),
    "zero learning rate": (
        GOOD + "train:\n  learning_rate: 0\n",
        [(4, "train.learning_rate", "config.out_of_range", "0")],
    ),
    "infinite learning rate": (
        GOOD + "train:\n  learning_rate: .inf\n",
        [(4, "train.learning_rate", "config.out_of_range", "inf")],
    ),
    "learning rate beyond all floats": (
        GOOD + "train:\n  learning_rate: 1e999\n",
        [(4, "train.learning_rate", "config.out_of_range", "inf")],
    ),
    "no number for a share": (
        GOOD + "  split:\n    test: .nan\n",
        [(4, "dataset.split.test", "config.out_of_range", "nan")],
    ),
    "factor above one": (
        GOOD + "train:\n  reduce_on_plateau:\n    factor: 1.0\n",
        [(5, "train.reduce_on_plateau.factor", "config.out_of_range", "1.0")],
    ),
    "dropout of everything": (GOOD + "head:\n  dropout: 1\n", [(4, "head.dropout", "config.out_of_range", "1")]),
    "one fold": (GOOD + "head:\n  folds: 1\n", [(4, "head.folds", "config.out_of_range", "1")]),
    "no Cs": (GOOD + "head:\n  Cs: []\n", [(4, "head.Cs", "config.wrong_length", "[]")]),
    "negative C": (GOOD + "head:\n  Cs: [-1]\n", [(4, "head.Cs.0", "config.out_of_range", "")]),
    "share as percent": (
        GOOD + "  split:\n    test: 20\n",
        [(4, "dataset.split.test", "config.out_of_range", "20")],
    ),
    "negative fraction": (
        GOOD + "  split:\n    validation: -0.1\n",
        [(4, "dataset.split.validation", "config.out_of_range", "")],
    ),
    "shares that leave no training": (
        GOOD + "  split:\n    validation: 0.5\n    test: 0.5\n",
        [(3, "dataset.split", "config.fractions_too_large", "")],
    ),
    "bad fraction above one": (
        GOOD + "  max_bad_fraction: 2\n",
        [(3, "dataset.max_bad_fraction", "config.out_of_range", "")],
    ),
    "one class": (GOOD + "  classes: [cat]\n", [(3, "dataset.classes", "config.wrong_length", "['cat']")]),
    "negative seed": (GOOD + "train:\n  seed: -1\n", [(4, "train.seed", "config.out_of_range", "")]),
    "seed beyond 32 bits": (GOOD + "train:\n  seed: 4294967296\n", [(4, "train.seed", "config.out_of_range", "")]),
    "seed of 400 digits": (GOOD + f"train:\n  seed: {'9' * 400}\n", [(4, "train.seed", "config.out_of_range", "")]),
    "tiny size": (GOOD + "image:\n  size: 16\n", [(4, "image.size", "config.out_of_range", "16")]),
    "huge size": (GOOD + "image:\n  size: 4097\n", [(4, "image.size", "config.out_of_range", "")]),
    "huge width": (GOOD + "image:\n  size: [64, 4097]\n", [(4, "image.size.1", "config.out_of_range", "")]),
    "three sizes": (GOOD + "image:\n  size: [64, 64, 3]\n", [(4, "image.size", "config.wrong_length", "")]),
    "one size in a list": (
        GOOD + "image:\n  size: [64]\n",
        [(4, "image.size.1", "config.missing_value", "[height, width]")],
    ),
    "size in words": (GOOD + "image:\n  size: 224x224\n", [(4, "image.size", "config.wrong_type", "[height, width]")]),
    "height below the backbone's": (
        GOOD + "backbone:\n  name: xception\nimage:\n  size: [64, 640]\n",
        [(6, "image.size", "config.size_too_small", "[64, 640]")],
    ),
    "tiles in words": (
        GOOD + "image:\n  tiles: many\n",
        [(4, "image.tiles", "config.unknown_choice", "[rows, columns]")],
    ),
    "too many blocks": (GOOD + "finetune:\n  blocks: 101\n", [(4, "finetune.blocks", "config.out_of_range", "100")]),
    "blocks in words": (GOOD + "finetune:\n  blocks: most\n", [(4, "finetune.blocks", "config.unknown_choice", "all")]),
    "many tiles in words": (GOOD + "image:\n  tiles: 9x9\n", [(4, "image.tiles", "config.too_many_tiles", "9 x 9")]),
    "no tiles in words": (
        GOOD + "image:\n  tiles: 0x4\n  resize: pad\n",
        [(4, "image.tiles", "config.unknown_choice", "[rows, columns]")],
    ),
    "no columns in words": (GOOD + "image:\n  tiles: 2x0\n", [(4, "image.tiles.1", "config.out_of_range", "")]),
    "three numbers of tiles": (
        GOOD + "image:\n  tiles: [2, 3, 4]\n",
        [(4, "image.tiles", "config.wrong_length", "[rows, columns]")],
    ),
    "no tiles": (GOOD + "image:\n  tiles: [0, 4]\n", [(4, "image.tiles.0", "config.out_of_range", "")]),
    "one number of tiles": (
        GOOD + "image:\n  tiles: 4\n",
        [(4, "image.tiles", "config.unknown_choice", "[rows, columns]")],
    ),
    "one layer in words": (
        GOOD + "backbone:\n  layers: stage3\n",
        [(4, "backbone.layers", "config.unknown_choice", "[stage3]")],
    ),
    "a layer twice": (
        GOOD + "backbone:\n  layers: [stage3, last, stage3]\n",
        [(4, "backbone.layers", "config.repeated_layer", "stage3")],
    ),
    "too many tiles": (GOOD + "image:\n  tiles: [9, 8]\n", [(4, "image.tiles", "config.too_many_tiles", "64")]),
    "tiles of too many pixels": (
        GOOD + "image:\n  size: 2048\n  tiles: [6, 6]\n",
        [(5, "image.tiles", "config.tiles_too_large", "100")],
    ),
    "size below the backbone's": (
        GOOD + "backbone:\n  name: xception\nimage:\n  resize: pad\n  size: 64\n",
        [(7, "image.size", "config.size_too_small", "64")],
    ),
    "background beyond 255": (
        GOOD + "image:\n  background: [256, -1, 0]\n",
        [
            (4, "image.background.0", "config.out_of_range", "256"),
            (4, "image.background.1", "config.out_of_range", "-1"),
        ],
    ),
    "background of two": (
        GOOD + "image:\n  background: [0, 0]\n",
        [(4, "image.background.2", "config.missing_value", "")],
    ),
    "background of four": (
        GOOD + "image:\n  background: [0, 0, 0, 0]\n",
        [(4, "image.background", "config.wrong_length", "")],
    ),
    "background by name": (
        GOOD + "image:\n  background: white\n",
        [(4, "image.background", "config.wrong_type", "'white'")],
    ),
    "no formats": (GOOD + "image:\n  formats: []\n", [(4, "image.formats", "config.wrong_length", "")]),
    "format by its ending": (
        GOOD + "image:\n  formats: [JPG]\n",
        [(4, "image.formats.0", "config.unknown_choice", "JPEG")],
    ),
    "zero megapixels": (
        GOOD + "image:\n  max_megapixels: 0\n",
        [(4, "image.max_megapixels", "config.out_of_range", "")],
    ),
    "too many views": (GOOD + "augment:\n  views: 65\n", [(4, "augment.views", "config.out_of_range", "")]),
    "rotation beyond half a turn": (
        GOOD + "augment:\n  rotation: 181\n",
        [(4, "augment.rotation", "config.out_of_range", "")],
    ),
    "fail_under of an unknown metric": (
        GOOD + "evaluate:\n  fail_under: {accuracy: 0.9, log_loss: 0.3}\n",
        [(4, "evaluate.fail_under", "config.unknown_metric", "")],
    ),
    "fail_under of a metric as percent": (
        GOOD + "evaluate:\n  fail_under:\n    recall.cat: 90\n",
        [(5, "evaluate.fail_under.recall.cat", "config.out_of_range", "")],
    ),
    "thresholds for a metric of the probabilities": (
        GOOD + "head:\n  thresholds: roc_auc\n",
        [(4, "head.thresholds", "config.threshold_independent", "")],
    ),
    "thresholds for an unknown metric": (
        GOOD + "head:\n  thresholds: balanced_acuracy\n",
        [(4, "head.thresholds", "config.unknown_objective", "balanced_accuracy")],
    ),
    "thresholds for a precision in per cent": (
        GOOD + "head:\n  thresholds: recall@precision=90\n",
        [(4, "head.thresholds", "config.unknown_objective", "")],
    ),
    "a threshold": (GOOD + "head:\n  thresholds: 0.3\n", [(4, "head.thresholds", "config.wrong_type", "")]),
    "class weight of a class as text": (
        GOOD + "head:\n  class_weight: {cat: heavy}\n",
        [(4, "head.class_weight.cat", "config.wrong_type", "")],
    ),
    "class weight of 0": (
        GOOD + "head:\n  class_weight:\n    cat: 0\n",
        [(5, "head.class_weight.cat", "config.out_of_range", "")],
    ),
    "unknown word for class weights": (
        GOOD + "head:\n  class_weight: balance\n",
        [(4, "head.class_weight", "config.unknown_choice", "balanced")],
    ),
    "class weights as a list": (
        GOOD + "head:\n  class_weight: [1, 3]\n",
        [(4, "head.class_weight", "config.unknown_choice", "")],
    ),
    "class weights without a class": (
        GOOD + "head:\n  class_weight: {}\n",
        [(4, "head.class_weight", "config.wrong_length", "")],
    ),
    "fail_under as percent": (
        GOOD + "evaluate:\n  fail_under: 90\n",
        [(4, "evaluate.fail_under", "config.out_of_range", "")],
    ),
    # Choices.
    "typo in a backbone": (
        GOOD + "backbone:\n  name: densenet20\n",
        [
            (
                4,
                "backbone.name",
                "config.unknown_choice",
                "densenet201",
            )
        ],
    ),
    "backbone as Keras writes it": (
        GOOD + "backbone:\n  name: DenseNet201\n",
        [(4, "backbone.name", "config.unknown_choice", "densenet201")],
    ),
    "nothing like a backbone": (
        GOOD + "backbone:\n  name: zzz\n",
        [(4, "backbone.name", "config.unknown_choice", "")],
    ),
    "typo in an optimizer": (
        GOOD + "train:\n  optimizer: adma\n",
        [(4, "train.optimizer", "config.unknown_choice", "adam")],
    ),
    "choice in capitals": (GOOD + "image:\n  resize: Crop\n", [(4, "image.resize", "config.unknown_choice", "crop")]),
    "unknown engine": (
        GOOD + "backbone:\n  engine: tensorrt\n",
        [(4, "backbone.engine", "config.unknown_choice", "'tensorrt'")],
    ),
    "no as a choice": (GOOD + "augment:\n  flip: no\n", [(4, "augment.flip", "config.unknown_choice", "'no'")]),
    # What is required.
    "empty file": ("", [(1, "dataset", "config.missing_key", "")]),
    "comments only": ("# dataset:\n#   path: x\n", [(1, "dataset", "config.missing_key", "")]),
    "no dataset": ("image:\n  size: 64\n", [(1, "dataset", "config.missing_key", "")]),
    "dataset without a path": ("image: {}\ndataset: {}\n", [(2, "dataset", "config.no_path", "")]),
    "download without a place": (
        "dataset:\n  sources:\n    - kaggle: owner/name\n",
        [(1, "dataset", "config.no_path", "")],
    ),
    "labels without columns": (
        GOOD + "  labels:\n    file: labels.csv\n",
        [(3, "dataset.labels", "config.wrong_labels", "")],
    ),
    "rule without a limit": (
        LABELS + "    classes:\n      good: {}\n",
        [(8, "dataset.labels.classes.good", "config.empty_rule", "")],
    ),
    "rule of nulls": (
        LABELS + "    classes:\n      good: {below: null, values: ~}\n",
        [(8, "dataset.labels.classes.good", "config.empty_rule", "")],
    ),
    "rule of no values": (
        LABELS + "    classes:\n      good: {values: []}\n",
        [(8, "dataset.labels.classes.good.values", "config.wrong_length", "")],
    ),
    "rule that is a number": (
        LABELS + "    classes:\n      good: 0.5\n",
        [(8, "dataset.labels.classes.good", "config.wrong_type", "0.5")],
    ),
    "group_by that says nothing": (
        GOOD + "  split:\n    group_by: {}\n",
        [(4, "dataset.split.group_by", "config.wrong_group_by", "")],
    ),
    "group_by that says both": (
        GOOD + "  split:\n    group_by: {folder: true, pattern: x}\n",
        [(4, "dataset.split.group_by", "config.wrong_group_by", "")],
    ),
    # Patterns and paths.
    "bad regular expression": (
        GOOD + "  split:\n    group_by:\n      pattern: 'patient(\\d+'\n",
        [(5, "dataset.split.group_by.pattern", "config.invalid_pattern", "")],
    ),
    "regular expression beyond all limits": (
        GOOD + "  split:\n    group_by:\n      pattern: a{99999999999}\n",
        [(5, "dataset.split.group_by.pattern", "config.invalid_pattern", "")],
    ),
    "variable that is not set": (
        "dataset:\n  path: $TLCLI_NOT_SET/images\n",
        [
            (
                2,
                "dataset.path",
                "config.unset_variable",
                "'$TLCLI_NOT_SET/images'",
            )
        ],
    ),
    "variable with a shell's default": (
        "dataset:\n  path: ${TLCLI_NOT_SET:-here}\n",
        [(2, "dataset.path", "config.unset_variable", "")],
    ),
    "variable in weights": (
        GOOD + "backbone:\n  weights: $TLCLI_NOT_SET\n",
        [(4, "backbone.weights", "config.unset_variable", "")],
    ),
    "home of an unknown user": (
        "dataset:\n  path: ~nobody-is-called-so/x\n",
        [(2, "dataset.path", "config.unknown_user", "")],
    ),
    "empty path": ("dataset:\n  path: ''\n", [(2, "dataset.path", "config.empty_path", "")]),
    "blank path": ("dataset:\n  path: '  '\n", [(2, "dataset.path", "config.empty_path", "")]),
    # Sources.
    "unknown kind of source": (
        SOURCES + "    - s3: bucket/key\n",
        [(4, "dataset.sources.0", "config.unknown_source", "")],
    ),
    "typo in a kind of source": (
        SOURCES + "    - kagle: a/b\n",
        [(4, "dataset.sources.0", "config.unknown_source", "kaggle")],
    ),
    "two kinds in one source": (
        SOURCES + "    - kaggle: a/b\n      url: https://host/a.zip\n",
        [(5, "dataset.sources.0.url", "config.unknown_key", "")],
    ),
    "typo in a source": (
        SOURCES + "    - url: https://host/a.zip\n      sha: 0\n",
        [(5, "dataset.sources.0.sha", "config.unknown_key", "sha256")],
    ),
    "key of another kind of source": (
        SOURCES + "    - folder: x\n    - url: https://host/a.zip\n      version: 2\n",
        [(6, "dataset.sources.1.version", "config.unknown_key", "")],
    ),
    "version that is none": (
        SOURCES + "    - kaggle: a/b\n      version: 0\n",
        [(5, "dataset.sources.0.version", "config.out_of_range", "")],
    ),
    "one digest for several files": (
        SOURCES + f"    - kaggle: a/b\n      files: [a.zip, b.zip]\n      sha256: {'a' * 64}\n",
        [(4, "dataset.sources.0", "config.digest_of_several_files", "")],
    ),
    "file outside of the data set": (
        SOURCES + "    - competition: name\n      files: [../a.zip]\n",
        [(5, "dataset.sources.0.files.0", "config.outside_path", "")],
    ),
    "subdir outside of the archive": (
        SOURCES + "    - archive: a.zip\n      subdir: /etc\n",
        [(5, "dataset.sources.0.subdir", "config.outside_path", "")],
    ),
    "password in an address": (
        SOURCES + "    - url: https://me:secret@host/a.zip\n",
        [(4, "dataset.sources.0.url", "config.password_in_url", "")],
    ),
    "link without a path for it": (
        "dataset:\n  sources:\n    - folder: x\n      link: true\n",
        [(1, "dataset", "config.no_path", "")],
    ),
    "limits below nothing": (
        "dataset:\n  path: x\n  limits:\n    max_files: 0\n    max_gb: -1\n    max_ratio: 0.5\n",
        [
            (4, "dataset.limits.max_files", "config.out_of_range", ""),
            (5, "dataset.limits.max_gb", "config.out_of_range", ""),
            (6, "dataset.limits.max_ratio", "config.out_of_range", ""),
        ],
    ),
    "kaggle without an owner": (
        SOURCES + "    - kaggle: name\n",
        [(4, "dataset.sources.0.kaggle", "config.wrong_format", "'name'")],
    ),
    "kaggle by its page": (
        SOURCES + "    - kaggle: https://www.kaggle.com/datasets/a/b\n",
        [(4, "dataset.sources.0.kaggle", "config.wrong_format", "")],
    ),
    "url without a file": (
        SOURCES + "    - url: https://host\n",
        [(4, "dataset.sources.0.url", "config.wrong_format", "")],
    ),
    "url of another protocol": (
        SOURCES + "    - url: ftp://host/a\n",
        [(4, "dataset.sources.0.url", "config.wrong_format", "")],
    ),
    "digest too short": (
        SOURCES + "    - url: https://host/a.zip\n      sha256: abc\n",
        [(5, "dataset.sources.0.sha256", "config.wrong_format", "'abc'")],
    ),
    "source without a value": (
        SOURCES + "    - folder:\n",
        [(4, "dataset.sources.0.folder", "config.wrong_type", "None")],
    ),
    "source that is a text": (SOURCES + "    - kaggle\n", [(4, "dataset.sources.0", "config.unknown_source", "")]),
    "source that is a number": (SOURCES + "    - 3\n", [(4, "dataset.sources.0", "config.unknown_source", "3")]),
    "source that is nothing": (SOURCES + "    -\n", [(4, "dataset.sources.0", "config.unknown_source", "None")]),
    "source that is a list": (
        SOURCES + "    - [kaggle]\n",
        [(4, "dataset.sources.0", "config.unknown_source", "['kaggle']")],
    ),
    "sources without dashes": (SOURCES + "    kaggle: a/b\n", [(3, "dataset.sources", "config.wrong_type", "")]),
    "sources that are nothing": (SOURCES, [(3, "dataset.sources", "config.wrong_type", "None")]),
    # What YAML itself refuses, and what it would let pass.
    "duplicate section": (GOOD + "image: {}\nimage: {}\n", [(4, "image", "config.duplicate_key", "line 3")]),
    "duplicate key": (
        GOOD + "train:\n  epochs: 3\n  seed: 1\n  epochs: 4\n",
        [(6, "train.epochs", "config.duplicate_key", "line 4")],
    ),
    "duplicate key in a list": (
        SOURCES + "    - folder: a\n      folder: b\n",
        [(5, "dataset.sources.0.folder", "config.duplicate_key", "line 4")],
    ),
    "tab": (
        "dataset:\n\tpath: x\n",
        [(2, "", "config.not_yaml", "")],
    ),
    "unclosed quote": (
        "dataset:\n  path: 'x\nimage: {}\n",
        [(4, "", "config.not_yaml", "")],
    ),
    "unclosed bracket": (
        GOOD + "head:\n  Cs: [1, 2\n",
        [(5, "", "config.not_yaml", "")],
    ),
    "bad indentation": ("dataset:\n  path: x\n   layout: auto\n", [(3, "", "config.not_yaml", "")]),
    "key without a colon": (GOOD + "image\n", [(4, "", "config.not_yaml", "")]),
    "alias of nothing": ("dataset:\n  path: *place\n", [(2, "", "config.not_yaml", "")]),
    "duplicate anchor": (
        "dataset: &a\n  path: &a x\n",
        [(2, "", "config.not_yaml", "")],
    ),
    "anchor inside itself": ("dataset: &a\n  path: *a\n", [(2, "", "config.not_yaml", "")]),
    "aliases of aliases": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        [(5, "", "config.not_yaml", "")],
    ),
    "nested without end": ("dataset: " + "[" * 5000, [(1, "", "config.not_yaml", "")]),
    "two documents": (GOOD + "---\nimage: {}\n", [(3, "", "config.not_yaml", "")]),
    "list at the top": ("- dataset\n", [(1, "", "config.not_a_mapping", "")]),
    "text at the top": ("just words\n", [(1, "", "config.not_a_mapping", "")]),
    "number at the top": ("3\n", [(1, "", "config.not_a_mapping", "")]),
    "list as a key": (GOOD + "? [a]\n: x\n", [(3, "", "config.not_yaml", "")]),
    "merge of a number": (GOOD + "<<: 3\n", [(3, "", "config.not_yaml", "")]),
    "python object": (
        "dataset: !!python/object/apply:os.system [ls]\n",
        [(1, "", "config.not_yaml", "")],
    ),
    "own tag": ("dataset: !folder x\n", [(1, "", "config.not_yaml", "")]),
    "binary value": ("dataset:\n  path: !!binary aGk=\n", [(2, "", "config.not_yaml", "")]),
    "tag that does not fit": (GOOD + "train:\n  epochs: !!int ten\n", [(4, "", "config.not_yaml", "")]),
    "empty number": (GOOD + "train:\n  epochs: !!float ''\n", [(4, "", "config.not_yaml", "")]),
    "boolean that is none": (GOOD + "head:\n  standardize: !!bool x\n", [(4, "", "config.not_yaml", "")]),
    "number of 5,000 digits": (GOOD + f"train:\n  seed: {'9' * 5000}\n", [(4, "", "config.not_yaml", "")]),
    "half a character": ('dataset:\n  path: "\\ud800"\n', [(2, "", "config.not_yaml", "")]),
    "NUL in a text": ('dataset:\n  path: "a\\0b"\n', [(2, "", "config.not_yaml", "")]),
    "control character": (
        "dataset:\n  path: a\x07b\n",
        [(2, "", "config.not_yaml", "U+0007")],
    ),
    # What files of other programs hold.
    "JSON with a comma too many": (
        '{"dataset": {"path": "x",}, "imgae": 1}',
        [(1, "imgae", "config.unknown_key", "image")],
    ),
    "INI": ("[dataset]\npath = x\n", [(2, "", "config.not_yaml", "")]),
    "TOML": ('dataset.path = "x"\n', [(1, "", "config.not_a_mapping", "")]),
    "Python": ("dataset = {'path': 'x'}\n", [(1, "", "config.not_yaml", "")]),
    "web page": ("<!doctype html>\n<html>404</html>\n", [(1, "", "config.not_a_mapping", "")]),
    "pointer of Git LFS": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        [(1, "", "config.not_a_mapping", "")],
    ),
    "conflict of a merge": (
        "<<<<<<< HEAD\ndataset:\n  path: a\n=======\n  path: b\n>>>>>>> x\n",
        [(2, "", "config.not_yaml", "")],
    ),
    "Windows path in double quotes": ('dataset:\n  path: "C:\\Users\\x"\n', [(2, "", "config.not_yaml", "")]),
    "typographic quotes as part of a number": (
        GOOD + "train:\n  epochs: \u201c3\u201d\n",
        [(4, "train.epochs", "config.wrong_type", "")],
    ),
    "no-break space for an indentation": (
        "dataset:\n\u00a0\u00a0path: x\n",
        [(1, "dataset", "config.wrong_type", ""), (2, "\u00a0\u00a0path", "config.unknown_key", "")],
    ),
    "colon of full width": ("dataset:\n  path\uff1a x\n", [(1, "dataset", "config.wrong_type", "")]),
    "key in NFD": (GOOD + "image:\n  si\u0301ze: 64\n", [(4, "image.si\u0301ze", "config.unknown_key", "size")]),
    "zero-width space in a key": (
        GOOD + "image:\n  size\u200b: 64\n",
        [(4, "image.size\u200b", "config.unknown_key", "size")],
    ),
    "Arabic digits": (GOOD + "train:\n  epochs: \u0663\n", [(4, "train.epochs", "config.wrong_type", "")]),
    "decimal comma": (GOOD + "train:\n  learning_rate: 0,001\n", [(4, "train.learning_rate", "config.wrong_type", "")]),
    "percent sign": (GOOD + "  split:\n    test: 20%\n", [(4, "dataset.split.test", "config.wrong_type", "'20%'")]),
    "expression": (
        GOOD + "train:\n  learning_rate: 10**-3\n",
        [(4, "train.learning_rate", "config.wrong_type", "'10**-3'")],
    ),
    "template that nobody filled in": (GOOD + "train: {epochs: {{ epochs }}}\n", [(3, "", "config.not_yaml", "")]),
    # Several problems at once, in the order of the file.
    "several problems": (
        "train:\n  epochs: '3'\n  lerning_rate: 1\nimage:\n  size: 8\n  size: 9\ndataset:\n  path: [x]\n",
        [
            (2, "train.epochs", "config.wrong_type", ""),
            (3, "train.lerning_rate", "config.unknown_key", "learning_rate"),
            (6, "image.size", "config.duplicate_key", "line 5"),
            (6, "image.size", "config.out_of_range", "9"),
            (8, "dataset.path", "config.wrong_type", "['x']"),
        ],
    ),
}
"""By description: the text, and its problems."""

BAD_OVERRIDES: dict[str, tuple[str, str, str, str]] = {
    "no value": ("train.epochs", "", "config.wrong_override", ""),
    "no section": ("epochs=3", "", "config.wrong_override", ""),
    "empty": ("", "", "config.wrong_override", ""),
    "empty key": ("train.=3", "", "config.wrong_override", ""),
    "empty section": (".epochs=3", "", "config.wrong_override", ""),
    "typo": ("train.epoch=3", "train.epoch", "config.unknown_key", "epochs"),
    "typo in the section": ("trian.epochs=3", "trian", "config.unknown_key", "train"),
    "below a value": ("dataset.path.x=3", "dataset.path.x", "config.not_a_mapping", ""),
    "into a list": ("dataset.classes.0=x", "dataset.classes.0", "config.not_a_mapping", ""),
    "key below nothing": ("train.epochs.x=3", "train.epochs", "config.wrong_type", ""),
    "wrong kind": ("train.epochs=many", "train.epochs", "config.wrong_type", "'many'"),
    "quoted number": ("train.epochs='3'", "train.epochs", "config.wrong_type", "'3'"),
    "out of range": ("train.epochs=0", "train.epochs", "config.out_of_range", "0"),
    "null": ("train.epochs=", "train.epochs", "config.wrong_type", "None"),
    "broken YAML": ("head.Cs=[1, 2", "head.Cs", "config.not_yaml", ""),
    "alias": ("train.epochs=*a", "train.epochs", "config.not_yaml", ""),
    "tag": ("train.epochs=!!int x", "train.epochs", "config.not_yaml", ""),
    "nested": (f"train.epochs={'[' * 5000}", "train.epochs", "config.not_yaml", ""),
    "two documents": ("train.epochs=1\n---\n2", "train.epochs", "config.not_yaml", ""),
    "fractions": ("dataset.split={test: 0.6, validation: 0.6}", "dataset.split", "config.fractions_too_large", ""),
    "size": ("image.size=20", "image.size", "config.out_of_range", "20"),
    "backbone": ("backbone.name=resnet5", "backbone.name", "config.unknown_choice", "resnet50"),
}
"""By description: the option, the key, the code, and the value or suggestion that the message must contain."""
