"""The config: nine sections, each value with its meaning, unit and range; the only place of their defaults."""

import re
import unicodedata
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from tlcli.backbones.catalog import CATALOG, Backbone, EngineSetting, Interpolation
from tlcli.config.dataset import Dataset
from tlcli.config.section import ExpandedPath, Section, Seed, expand
from tlcli.evaluation.gates import ALLOWED, is_gate_name
from tlcli.evaluation.objectives import ALLOWED as METRICS
from tlcli.evaluation.objectives import OF_DECISIONS, Objective, is_objective
from tlcli.evaluation.transfer_gap import MIN_IMAGES
from tlcli.images.formats import DEFAULT_FORMATS, Format
from tlcli.images.tiles import MAX_TILES

Level = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(ge=0, le=1)]


def _are_metrics(limits: dict[str, float]) -> dict[str, float]:
    if unknown := [name for name in limits if not is_gate_name(name)]:
        raise PydanticCustomError(
            "unknown_metric", "'{name}' is no metric that a test can be required to reach. Allowed: {metrics}.",
            {"name": unknown[0], "metrics": ALLOWED},
        )  # fmt: skip
    return limits


GateLimits = Annotated[
    Annotated[Share, Tag("number")] | Annotated[dict[str, Share], AfterValidator(_are_metrics), Tag("metrics")],
    Discriminator(lambda value: "metrics" if isinstance(value, dict) else "number"),
]
"""A share, or one for each of several metrics."""
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0)]


def _in_catalog(value: str) -> str:
    if value not in CATALOG:
        raise PydanticCustomError("unknown_choice", "There is no such backbone.", {"allowed": ", ".join(CATALOG)})
    return value


def _expanded_weights(value: object) -> object:
    return value if value in ("imagenet", "random") else expand(value)


BackboneName = Annotated[str, AfterValidator(_in_catalog), Field(json_schema_extra={"enum": list(CATALOG)})]


_MAX_CANVAS = 100e6
"""Pixels of all tiles together."""
MAX_SIDE = 4096
"""Of image.size, in pixels: above, one image's feature maps would take gigabytes."""
_Side = Annotated[int, Field(ge=32, le=MAX_SIDE)]


def _is_no_text(value: object) -> object:
    """160x320 could be either way round: this program and most others print widths first, [height, width] is not."""
    if isinstance(value, str | dict):
        raise PydanticCustomError(
            "wrong_type",
            "Write [height, width], such as [160, 320] for 160 pixels high and 320 wide, or one side, such as 224.",
        )
    return value


InputSize = Annotated[
    Annotated[_Side, BeforeValidator(_is_no_text, json_schema_input_type=_Side), Tag("side")]
    | Annotated[tuple[_Side, _Side], Tag("sides")],
    Discriminator(lambda value: "sides" if isinstance(value, list | tuple) else "side"),
]
"""A side in pixels, or height and width."""


_Count = Annotated[int, Field(ge=1, le=MAX_TILES)]
_GRID_TEXT = r"^\s*(\d{1,4})\s*x\s*(\d{1,4})\s*$"
"""Rows and columns, as in 2x3."""


def _grid_of_text(value: str) -> tuple[int, ...]:
    matched = re.match(_GRID_TEXT, value)
    return tuple(map(int, matched.groups())) if matched else ()


def _is_tiles_word(value: object) -> object:
    if value != "native":
        raise PydanticCustomError(
            "unknown_choice", "Write [rows, columns], such as [2, 3] or 2x3, or native.", {"expected": "'native'"}
        )
    return value


def _form_of_tiles(value: object) -> str:
    if isinstance(value, list | tuple):
        return "grid"
    return "text" if isinstance(value, str) and re.match(_GRID_TEXT, value) else "word"


TilesSetting = Annotated[
    Annotated[tuple[_Count, _Count], Tag("grid")]
    | Annotated[
        tuple[_Count, _Count],
        BeforeValidator(_grid_of_text, json_schema_input_type=Annotated[str, Field(pattern=_GRID_TEXT)]),
        Tag("text"),
    ]
    | Annotated[
        Literal["native"], BeforeValidator(_is_tiles_word, json_schema_input_type=Literal["native"]), Tag("word")
    ],
    Discriminator(_form_of_tiles),
]
"""Rows and columns, or native."""
_Weight = Annotated[float, Field(ge=1e-6, le=1e6)]


def _is_metric(value: str) -> str:
    if not is_objective(value):
        raise PydanticCustomError(
            "unknown_objective", "Input should be a metric to aim at.", {"allowed": METRICS}
        )  # fmt: skip
    return value


def _is_of_thresholds(value: str) -> str:
    if value == "none":
        return value
    if not is_objective(value):
        raise PydanticCustomError(
            "unknown_objective", "Input should be none, or the metric that thresholds are chosen for.",
            {"allowed": f"none, {OF_DECISIONS}"},
        )  # fmt: skip
    if not Objective.parse(value).is_of_decisions:
        raise PydanticCustomError(
            "threshold_independent", "No threshold changes {metric}: it is a metric of the probabilities.",
            {"metric": value, "allowed": f"none, {OF_DECISIONS}"},
        )  # fmt: skip
    return value


def _is_class_weight(value: object) -> object:
    if value not in ("none", "balanced"):
        raise PydanticCustomError(
            "unknown_choice", "Input should be a word, or a mapping of classes to weights such as {example}.",
            {"allowed": "none, balanced", "example": "{defective: 3}"},
        )  # fmt: skip
    return value


ClassWeightSetting = Annotated[
    Annotated[Literal["none", "balanced"], BeforeValidator(_is_class_weight), Tag("word")]
    | Annotated[dict[str, _Weight], Field(min_length=1), Tag("weights")],
    Discriminator(lambda value: "weights" if isinstance(value, dict) else "word"),
]
"""A word, or a weight for each of several classes."""


def _is_layers_word(value: object) -> object:
    if value not in ("last", "all"):
        raise PydanticCustomError(
            "unknown_choice",
            "Write a list of layers, such as [{layer}], or last or all.",
            {"layer": value if isinstance(value, str) and value else "stage3", "expected": "'last' or 'all'"},
        )
    return value


def _are_distinct(layers: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := [layer for number, layer in enumerate(layers) if layer in layers[:number]]:
        raise PydanticCustomError("repeated_layer", "'{layer}' is in the list twice.", {"layer": repeated[0]})
    return layers


LayersSetting = Annotated[
    Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_are_distinct), Tag("names")]
    | Annotated[
        Literal["last", "all"],
        BeforeValidator(_is_layers_word, json_schema_input_type=Literal["last", "all"]),
        Tag("word"),
    ],
    Discriminator(lambda value: "names" if isinstance(value, list | tuple) else "word"),
]
"""Names of layers, or a word for them."""


def both_sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a size that may be the side of a square."""
    return (size, size) if isinstance(size, int) else size


class Image(Section):
    """Preprocessing: from an image file to the input of the backbone; the same in train, evaluate and predict."""

    size: InputSize | None = None
    """Side of the input in pixels, or [height, width]: [224, 448] for images that are twice as wide as high. Larger
    inputs show finer details and take longer, in proportion to their area. Default: the size the backbone was trained
    at (224 for DenseNet201)."""
    tiles: TilesSetting | None = None
    """[rows, columns] or RxC, as 2x3: each image is resized to a canvas that is cut into so many tiles of size, which
    overlap by an eighth; each passes the network, and the poolings are taken over all of them. native: as many tiles as
    the image has pixels for, so that it is not shrunk (64 at most). For details that are tiny in large images; the time
    is that of one image times the number of tiles. null: one input, no tiles."""
    resize: Literal["crop", "pad", "squash"] | None = None
    """crop: keep the aspect ratio, crop the centre. pad: keep the aspect ratio, pad the borders. squash: change the
    aspect ratio to that of size. Default: that of the backbone (see docs/backbones.md)."""
    crop_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """crop: the share kept of the largest part that has the aspect ratio of size; 0.875 cuts 23 % of a square image, 1
    nothing of it. Default: that of the backbone (see docs/backbones.md)."""
    interpolation: Interpolation | None = None
    """Resampling when an image is resized; nearest is without antialiasing. Default: that of the backbone, bicubic for
    all with a name."""
    background: tuple[Level, Level, Level] = (255, 255, 255)
    """Red, green, blue (0 to 255) of transparent pixels and of padding."""
    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = DEFAULT_FORMATS
    """Accepted formats, detected by content, not by file name."""
    levels: tuple[_Finite, _Finite] | Literal["data"] | None = None
    """The smallest and the largest value, which become black and white, of images with more than 8 bits: [0, 4095] for
    12-bit data in 16-bit files, [0, 4000] for reflectances. Values outside are clipped. data: the range of the training
    images, without 0.1 % of the values at either end of an image. null: 0 to 65535 for 16 bits, and each image's own
    range for 32 bits and floats."""
    bands: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=3)] | None = None
    """Numbers, from 1, of the bands that become red, green and blue ([4, 3, 2]) or grey ([8]), of images with other
    bands than these; transparency is then ignored. null: the image's own colours."""
    max_megapixels: Annotated[float, Field(gt=0, le=1000)] = 100.0
    """Maximum size of an image in megapixels (10^6 pixels), checked before decoding."""
    max_side: Annotated[int, Field(gt=0)] = 16384
    """Maximum width and height of an image in pixels."""
    max_file_mb: Annotated[float, Field(gt=0)] = 64.0
    """Maximum size of a file in MiB (2^20 bytes)."""

    @model_validator(mode="after")
    def _values_fit_together(self) -> Self:
        if isinstance(self.levels, tuple) and not self.levels[0] < self.levels[1]:
            raise PydanticCustomError(
                "levels_not_increasing", "The first level must be below the second. Received: {received}.",
                {"key": "levels", "received": str(list(self.levels))},
            )  # fmt: skip
        if self.bands is not None and len(self.bands) == 2:
            raise PydanticCustomError(
                "two_bands", "Name one band (grey) or three (red, green and blue). Received: {received}.",
                {"key": "bands", "received": str(list(self.bands))},
            )  # fmt: skip
        return self


class Augment(Section):
    """Augmented views: random changes of each training image, drawn once; their features are kept."""

    views: Annotated[int, Field(ge=0, le=64)] = 0
    """Augmented views per training image, besides the image itself; each passes the backbone once."""
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Directions of random flips, each with probability 0.5."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Maximum rotation in degrees, in either direction."""
    zoom: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Maximum zoom in or out, as a fraction."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Maximum translation, as a fraction of the side, horizontally and vertically."""
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Maximum change of brightness, as a fraction of the full range (255)."""
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Maximum change of contrast about the mean, as a fraction."""
    crop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Maximum fraction of the area that a random crop cuts off, of an aspect ratio from 3/4 to 4/3 of the image's; what
    is left is resized to the whole (a random resized crop)."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Maximum change of saturation, as a fraction."""
    seed: Seed = 0
    """Another seed gives other views."""


class Int8(Section):
    """Quantisation for precision int8, and how close to the float features its features must be."""

    calibration_images: Annotated[int, Field(ge=8, le=1000)] = 64
    """Training images on which NNCF measures the ranges of activations. More images take longer (64: 20 s for
    efficientnet_lite0) and improve little; try 128 for very heterogeneous images."""
    sample: Annotated[int, Field(ge=1, le=10000)] = 200
    """Validation images whose float features are computed as well, to measure the agreement; they are kept."""
    min_cosine: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Minimum mean cosine similarity of int8 and float features of the sample, checked before the frozen pass."""
    min_label_agreement: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Minimum fraction of the sample with the same predicted label on int8 and on float features."""
    max_accuracy_drop: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Maximum loss of accuracy on the sample, from float to int8 features."""


class BackboneSection(Section):
    """The frozen pretrained network."""

    name: BackboneName | None = "densenet201"
    """Architecture (see docs/backbones.md); null with path."""
    path: ExpandedPath | None = None
    """Your own network instead of a named one: an .onnx file, an OpenVINO .xml file, or a folder with one of them (see
    docs/own_network.md). preprocessor_config.json or timm's config.json beside it says how images are prepared."""
    output: Annotated[str, Field(min_length=1)] | None = None
    """path: the name of the tensor that is its last layer, an output or one inside. null: its first output that is a
    feature map, else tokens, else features."""
    mean: tuple[_Finite, _Finite, _Finite] | None = None
    """path: mean of red, green and blue on a 0..1 scale, subtracted from the input. null: that of the file beside it,
    else ImageNet's."""
    std: tuple[_Positive, _Positive, _Positive] | None = None
    """path: standard deviation of red, green and blue on a 0..1 scale, which the input is divided by. null: as mean."""
    weights: Annotated[str, BeforeValidator(_expanded_weights, json_schema_input_type=str)] = "imagenet"
    """imagenet: downloaded from the publisher once. random: a baseline. Else: the path of a file of Keras (.weights.h5,
    .h5, .keras), PyTorch (.pth, .pt, .bin) or safetensors, read as arrays only (see docs/backbones.md)."""
    layers: LayersSetting = "all"
    """Layers whose features the head takes. last: the last one. all: also the ends of the network's stages, which see
    finer details (see docs/layers.md). Or a list, such as [stage3, stage5, last]; tlcli backbones NAME lists them."""
    pooling: Literal["avg", "max", "avg_max", "cls", "mean_tokens"] = "avg_max"
    """Global pooling of each layer's feature map: average, maximum, or both side by side. Of a transformer's tokens
    (path): cls, the first one, or mean_tokens, the mean of those of the image; avg_max takes both. One pass computes
    all layers in all poolings, so that another choice computes nothing again."""
    engine: EngineSetting = "auto"
    """Inference engine. auto: Keras on a GPU that its backend (TensorFlow, JAX or PyTorch) sees, else OpenVINO where it
    is installed, else Keras on the CPU (see docs/speed.md)."""
    precision: Literal["auto", "f32", "bf16", "f16", "int8"] = "auto"
    """Arithmetic of the frozen pass. auto: bf16 where the CPU or the GPU supports it, which is faster; else f32 on a
    CPU, f16 on a GPU. int8: faster still on a CPU and less exact, never chosen by auto (see docs/precision.md)."""
    int8: Int8 = Int8()
    """Settings of precision int8."""

    @property
    def row(self) -> Backbone | None:
        """Its row of the catalog; None of an own network, which :func:`tlcli.config.build_features.backbone_row`
        reads."""
        return None if self.path is not None or self.name is None else CATALOG[self.name]

    @property
    def label(self) -> str:
        """What it is called: its name, or the path of an own network."""
        return str(self.path) if self.path is not None else str(self.name)

    @model_validator(mode="after")
    def _is_one_network(self) -> Self:
        if self.path is None and self.name is None:
            raise PydanticCustomError("no_backbone", "Set backbone.name or backbone.path.", {"key": "name"})
        if self.path is None:
            keys = [key for key in ("output", "mean", "std") if getattr(self, key) is not None]
            if keys:
                raise PydanticCustomError(
                    "needs_path", "backbone.{set} belongs to an own network: set backbone.path too, or leave it out.",
                    {"key": keys[0], "set": keys[0]},
                )  # fmt: skip
            return self
        if self.name is not None and "name" in self.model_fields_set:
            raise PydanticCustomError(
                "name_and_path",
                "Set backbone.name or backbone.path, not both; --set backbone.name=null undoes a name.",
                {"key": "path"},
            )  # fmt: skip
        if self.weights != "imagenet":
            raise PydanticCustomError(
                "weights_and_path", "The network of backbone.path has its own weights: leave backbone.weights out.",
                {"key": "weights"},
            )  # fmt: skip
        if self.engine == "keras":
            raise PydanticCustomError(
                "path_needs_openvino", "backbone.path needs OpenVINO: set backbone.engine to auto or openvino.",
                {"key": "engine"},
            )  # fmt: skip
        return self


class HeadSection(Section):
    """The classifier on the features, and how it is fitted."""

    fit: Literal["logistic_regression", "kernel", "minibatch", "finetune"] = "logistic_regression"
    """logistic_regression: by L-BFGS, C chosen by cross-validation. kernel: the same on features of an RBF kernel,
    which is non-linear; for up to 50,000 training images (see docs/layers.md). minibatch: mini-batch training, step by
    step as in Keras, see train. finetune: logistic regression first, then the backbone's last blocks together with it,
    see finetune. logistic_regression is the default because it is as accurate as minibatch and needs no
    learning rate (bench/heads.py: solar cells 0.865 and 0.860, Alien vs. Predator 0.965 and 0.969)."""
    standardize: bool = True
    """Subtract the mean of each feature and divide by its standard deviation, or by the mean of all standard deviations
    where that is larger; folded into the weights."""
    class_weight: ClassWeightSetting = "none"
    """What an image weighs in the loss. balanced: every class has the same total weight, whatever its number of images.
    Or a mapping, {defective: 3}, as scikit-learn has it: an image of the class counts so many times; classes that are
    not named count 1. Weights shift the probabilities towards the classes that weigh more; see thresholds, which leave
    them as they are."""
    thresholds: Annotated[str, AfterValidator(_is_of_thresholds)] = "none"
    """none: the answer is the most probable class. Or a metric: accuracy, balanced_accuracy, f1_macro, or for two
    classes recall@precision=0.9 (the highest recall of the second class with that precision). Then there is a threshold
    for each class, chosen for the metric on images that the heads were not fitted on, and the answer is the class whose
    probability is the largest multiple of its threshold. The probabilities stay as they are (see docs/honesty.md)."""
    Cs: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
        1 / 3000, 1 / 1000, 1 / 300, 1 / 100, 1 / 30, 1 / 10, 1 / 3, 1.0, 3.0, 10.0,
    )  # fmt: skip
    """logistic_regression: candidates for C, the inverse of regularisation strength as in scikit-learn (smaller values
    regularise more), tried from the smallest until the held-out loss is clearly worse than the best."""
    landmarks: Annotated[int, Field(ge=2, le=4000)] = 1000
    """kernel: training images that every image is compared with, kept in the model. More are slower, and more exact up
    to the number of training images."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """logistic_regression, kernel: folds of the cross-validation on the training images."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """minibatch: fraction of the features that is dropped in each step."""


class ReduceOnPlateau(Section):
    """Lower the learning rate when the validation loss stops improving."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Factor by which the learning rate is multiplied."""
    patience: Annotated[int, Field(ge=1)] = 3
    """Epochs without improvement of the validation loss before the rate is lowered."""
    min_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    """Lower bound of the learning rate."""


class Train(Section):
    """Mini-batch training (head.fit: minibatch); seed also draws the folds of logistic_regression."""

    epochs: Annotated[int, Field(ge=1, le=10000)] = 30
    """Maximum number of epochs."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Feature vectors per step."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """Keras optimizer, with its defaults but for the learning rate."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    """Initial learning rate."""
    reduce_on_plateau: ReduceOnPlateau | None = ReduceOnPlateau()
    """Schedule of the learning rate. null: constant."""
    early_stopping: Annotated[int, Field(ge=1)] | None = 10
    """Epochs without improvement of the validation loss before training stops; the best weights are kept. null: train
    all epochs and keep the last weights."""
    seed: Seed = 0
    """Seed of initialisation, shuffling and folds; equal seeds give equal heads, bit for bit."""


def _is_all_or_number(value: object) -> object:
    if value != "all":
        raise PydanticCustomError(
            "unknown_choice", "Write a number of blocks from 1 to 100, or all.", {"expected": "'all'"}
        )
    return value


BlocksSetting = Annotated[
    Annotated[int, Field(ge=1, le=100), Tag("number")]
    | Annotated[Literal["all"], BeforeValidator(_is_all_or_number, json_schema_input_type=Literal["all"]), Tag("word")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "number"),
]
"""How many of the last blocks, or the word for all."""


class Finetune(Section):
    """Fine-tuning (head.fit: finetune): trains the backbone's last blocks, or all of it, together with the head, from
    the head of logistic regression on (see docs/finetuning.md)."""

    blocks: BlocksSetting = 1
    """How many of the last blocks are trained: of DenseNet dense blocks, of ResNet residual units, of MobileNet and
    EfficientNet inverted residuals (see docs/finetuning.md). all: the whole network, on images that are augmented anew
    in each epoch; on a CPU, train says what that takes, and asks for --yes."""
    views: Annotated[int, Field(ge=0, le=100)] = 3
    """Augmented views of each training image that are trained on besides the image itself, in every epoch. Their
    changes are those of augment; where that has none, horizontal flips, and up to 10 % of shift and zoom. With
    blocks: all, each epoch has one view of each image, another one each time."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    """Passes over the training images, in all views: the length of the schedule."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    """Views per step."""
    learning_rates: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (3e-4, 1e-3)
    """Peak learning rates of AdamW that are tried on four fifths of the training images; the one with the lowest log
    loss on the others after the last epoch is taken, and all training images are trained on with it. Where none is
    better than the frozen head, nothing is trained."""
    patience: Annotated[int, Field(ge=1, le=1000)] = 3
    """Early stopping: epochs without a lower log loss on the held-out images after which a learning rate is given up,
    in the second half of its schedule, where the loss is still above that of the frozen head."""
    warm_up: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the steps in which the learning rate rises; it then falls to 0 along a cosine."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of each label that is spread over all classes."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """How strongly all weights are drawn back to where they started: the pretrained ones, and the head of logistic
    regression."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    """A block's learning rate is that of the block behind it times this; the last block and the head have the whole
    learning rate."""
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Mixes training images (their feature maps, with a number of blocks) in pairs, labels as well, with shares from
    Beta(mixup, mixup); 0 mixes none, 0.2 is usual."""
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Replaces rectangles of training images by those of others, labels in proportion, with areas from
    Beta(cutmix, cutmix); 0 replaces none, 1 is usual. With mixup, each is applied to half of the steps."""
    keep: Literal["better", "always"] = "better"
    """better: the model keeps the frozen backbone and its head unless the validation images give evidence that
    fine-tuning is better (95 %). always: it is kept without evidence, unless no learning rate ended better than the
    frozen head on the held-out training images, so that nothing was trained."""


class CrossValidation(Section):
    """Repeated cross-validation of logistic regression on training and validation images: the accuracy to choose
    between runs by, its uncertainty, and the learning curve."""

    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Number of folds."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 3
    """Repetitions with other folds."""


class Transfer(Section):
    """Does transfer help? Pretrained features against the same network with random weights, pixels and colour
    histograms (by tune also a small network trained from scratch), by cross-validation on a sample of the training and
    validation images."""

    images: Annotated[int, Field(ge=MIN_IMAGES, le=10000)] = 500
    """Images of the sample, about, stratified; near duplicates and groups stay together. Each costs one pass of the
    network with random weights, once. Fewer are taken where an image takes several passes (a larger image.size, or
    tiles), but not less than 100."""


class Evaluate(Section):
    """What evaluate measures and writes."""

    fail_under: GateLimits | None = None
    """Minimum test accuracy; or minimum values of several metrics, as in {accuracy: 0.9, accuracy.lower: 0.88,
    recall.defective: 0.95} (lower: the lower end of the 95 % interval). Below any of them evaluate ends with exit code
    3 (also --fail-under)."""
    figures: bool = True
    """Draw the figures."""
    report: bool = True
    """Measure the uncertainty of the metrics, and write report.html and report.json."""
    cross_validation: CrossValidation | None = CrossValidation()
    """Cross-validation by train, on training and validation images. null: none."""
    transfer: Transfer | None = Transfer()
    """Whether pretraining helps, measured by evaluate and tune on training and validation images. null: not
    measured."""

    @property
    def gates(self) -> dict[str, float]:
        """The minimum values of :attr:`fail_under` by the name of the metric."""
        if isinstance(self.fail_under, float):
            return {"accuracy": self.fail_under}
        return {unicodedata.normalize("NFC", name): limit for name, limit in (self.fail_under or {}).items()}


class Tune(Section):
    """What tune searches for."""

    metric: Annotated[str, AfterValidator(_is_metric)] = "accuracy"
    """accuracy, balanced_accuracy, log_loss, roc_auc, f1_macro, or recall@precision=0.9: the largest recall whose
    precision is at least that."""
    finetune: bool = False
    """Also try fine-tuning, as the section finetune says, at the end of the search and from its winner on, in half of
    the budget (also --finetune, and head.fit: finetune)."""


class Config(Section):
    """A tlcli config: the images, the backbone, and how to train. Paths are relative to the working directory; ~ and
    $VAR are expanded."""

    dataset: Dataset
    """The images."""
    image: Image = Image()
    """Preprocessing."""
    augment: Augment = Augment()
    """Augmented views of the training images."""
    backbone: BackboneSection = BackboneSection()
    """The frozen network."""
    head: HeadSection = HeadSection()
    """The classifier on its features."""
    train: Train = Train()
    """Mini-batch training."""
    finetune: Finetune = Finetune()
    """Fine-tuning of the backbone's last blocks."""
    evaluate: Evaluate = Evaluate()
    """What evaluate measures and writes."""
    tune: Tune = Tune()
    """What tune searches for."""

    @property
    def tunes_finetuning(self) -> bool:
        """Whether ``tlcli tune`` tries fine-tuning."""
        return self.tune.finetune or self.head.fit == "finetune"

    def with_backbone_defaults(self) -> Self:
        """The config with the defaults of its backbone, image.size, image.resize, image.interpolation and (for a crop)
        image.crop_fraction, filled in. Those of an own network are in its files, and stay open."""
        row = self.backbone.row
        if row is None:
            return self.model_copy(update={"backbone": self.backbone.model_copy(update={"name": None})})
        return self.with_defaults_of(row)

    def with_defaults_of(self, row: Backbone) -> Self:
        """The config with the defaults of a backbone filled in."""
        image: dict[str, object] = {
            "size": self.image.size or row.size, "interpolation": self.image.interpolation or row.interpolation,
        }  # fmt: skip
        if self.image.tiles != "native":
            image["resize"] = self.image.resize or row.resize
        if image.get("resize") == "crop":
            image["crop_fraction"] = self.image.crop_fraction or row.crop_fraction
        return self.model_copy(update={"image": self.image.model_copy(update=image)})

    @model_validator(mode="after")
    def _layers_exist(self) -> Self:
        if (row := self.backbone.row) is None:
            return self
        known = row.blocks.layers
        if isinstance(self.backbone.layers, tuple) and (unknown := set(self.backbone.layers) - set(known)):
            raise PydanticCustomError(
                "unknown_layer", "{name} has no layer '{layer}'. Allowed: last, all, or a list of {layers}.",
                {
                    "key": "backbone.layers", "layer": min(unknown), "name": self.backbone.name,
                    "layers": ", ".join(known),
                },
            )  # fmt: skip
        if self.backbone.pooling in ("cls", "mean_tokens"):
            raise PydanticCustomError(
                "unknown_pooling",
                "{name} has feature maps, no tokens. Allowed: avg, max, avg_max. Received: {received}.",
                {"key": "backbone.pooling", "name": self.backbone.name, "received": self.backbone.pooling},
            )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _tiles_are_bounded(self) -> Self:
        row = self.backbone.row
        height, width = both_sides(self.image.size or (row.size if row else 224))  # an own network's files say it
        rows, columns = self.image.tiles if isinstance(self.image.tiles, tuple) else (1, 1)
        if rows * columns > MAX_TILES:
            raise PydanticCustomError(
                "too_many_tiles", "An image has at most {most} tiles. Received: {received}.",
                {"key": "image.tiles", "received": f"{rows} x {columns}", "most": MAX_TILES},
            )  # fmt: skip
        if height * width * rows * columns > _MAX_CANVAS:
            raise PydanticCustomError(
                "tiles_too_large", "All tiles of an image have {most} megapixels or fewer. Received: {received}.",
                {
                    "key": "image.tiles", "most": f"{_MAX_CANVAS / 1e6:.0f}",
                    "received": f"{rows} x {columns} tiles of {height} x {width}",
                },
            )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _size_is_enough(self) -> Self:
        least, size = self.backbone.row.min_size if self.backbone.row else 1, self.image.size
        if size is not None and min(both_sides(size)) < least:
            raise PydanticCustomError(
                "size_too_small", "{name} needs {least} pixels or more a side. Received: {size}.",
                {
                    "key": "image.size", "size": str(size if isinstance(size, int) else list(size)),
                    "name": self.backbone.name, "least": least,
                },
            )  # fmt: skip
        return self
