"""The config: seven sections, each value with its meaning, unit and range. Defaults live here and nowhere else."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tlcli.backbones.catalog import CATALOG
from tlcli.config.dataset import Dataset
from tlcli.config.section import Section, Seed, expand

Level = Annotated[int, Field(ge=0, le=255)]
Format = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM", "TGA"]
"""As Pillow names them."""


def _is_backbone(value: str) -> str:
    if value not in CATALOG:
        raise PydanticCustomError("choice", "no such backbone; allowed: {allowed}", {"allowed": ", ".join(CATALOG)})
    return value


def _expanded_weights(value: object) -> object:
    return value if value in ("imagenet", "random") else expand(value)


BackboneName = Annotated[str, AfterValidator(_is_backbone), Field(json_schema_extra={"enum": list(CATALOG)})]


class Image(Section):
    """How an image file becomes the array that the backbone sees; the same in train, evaluate and predict."""

    size: Annotated[int, Field(ge=32, le=1024)] | None = None
    """Side in pixels. Default: the size the backbone was trained at (224 for DenseNet201)."""
    resize: Literal["crop", "pad", "squash"] | None = None
    """crop: keep the aspect, cut the centre; pad: keep the aspect, fill the borders; squash: distort. Default: the
    backbone's own (see docs/backbones.md)."""
    background: tuple[Level, Level, Level] = (255, 255, 255)
    """Red, green, blue (0 to 255) behind transparent pixels and in pad's borders."""
    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
    """Formats that are read, decided by content, not by the file's name."""
    max_megapixels: Annotated[float, Field(gt=0, le=1000)] = 100.0
    """Larger images are refused before they are decoded."""
    max_side: Annotated[int, Field(gt=0)] = 16384
    """Pixels; larger images are refused."""
    max_file_mb: Annotated[float, Field(gt=0)] = 64.0
    """MiB; larger files are refused."""


class Augment(Section):
    """Augmented views: fixed random changes of each training image, computed once and kept."""

    views: Annotated[int, Field(ge=0, le=64)] = 0
    """Views of each training image beside the image itself; each costs one more pass through the backbone, once."""
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Directions in which half of the views are mirrored."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Degrees, to either side."""
    zoom: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share by which a view shrinks or grows."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the side, in either direction."""
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the full range that is added or taken."""
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share by which distances from the mean level shrink or grow."""
    seed: Seed = 0
    """Another seed, other views."""


class Int8(Section):
    """precision int8: what the backbone is quantised with, and how close to the float features it must be."""

    calibration_images: Annotated[int, Field(ge=8, le=1000)] = 64
    """Training images that NNCF measures the ranges of activations on. More take longer (64: 20 s for
    efficientnet_lite0) and help little; where images are very unlike one another, try 128."""
    sample: Annotated[int, Field(ge=1, le=10000)] = 200
    """Validation images that pass the backbone in float as well, to measure the agreement. Once: they are kept."""
    min_cosine: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Mean cosine between int8 and float features of the sample below which train refuses, before the long pass."""
    min_label_agreement: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Share of the sample that the fitted head must name alike on int8 and on float features."""
    max_accuracy_drop: Annotated[float, Field(ge=0, le=1)] = 0.02
    """By how much the head's accuracy on the sample may be lower on int8 features than on float ones."""


class BackboneSection(Section):
    """The frozen pretrained network."""

    name: BackboneName = "densenet201"
    """Which network (see docs/backbones.md)."""
    weights: Annotated[str, BeforeValidator(_expanded_weights, json_schema_input_type=str)] = "imagenet"
    """imagenet (from its publisher, once), random (a baseline), or the path of a .safetensors file."""
    pooling: Literal["avg", "max"] = "avg"
    """How the last feature map becomes one vector."""
    engine: Literal["auto", "openvino", "keras"] = "auto"
    """What runs it. auto: OpenVINO where it is installed."""
    precision: Literal["auto", "f32", "bf16", "int8"] = "auto"
    """Arithmetic of the frozen pass. auto: bf16 where the processor has it, which is faster, else f32. int8 is
    faster still and less exact, and is chosen by nothing but this key (see docs/precision.md)."""
    int8: Int8 = Int8()
    """Limits of precision int8."""


class HeadSection(Section):
    """The classifier on the features, and how it is fitted."""

    fit: Literal["logistic_regression", "minibatch"] = "logistic_regression"
    """logistic_regression: by L-BFGS, C by cross-validation. minibatch: epochs in Keras, see train.
    logistic_regression is the default because it is as accurate and has no rate to choose
    (bench/heads.py: solar cells 0.852 and 0.850, Alien vs. Predator 0.968 and 0.964)."""
    standardize: bool = True
    """Fit on features less their mean, divided by their standard deviation or, where it is smaller, by the mean of all
    features' deviations; folded into the weights."""
    class_weight: Literal["none", "balanced"] = "none"
    """balanced: every class has the same total weight, however many images it has."""
    Cs: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
        1 / 3000, 1 / 1000, 1 / 300, 1 / 100, 1 / 30, 1 / 10, 1 / 3,
    )  # fmt: skip
    """logistic_regression: candidates for the inverse regularisation strength, as in scikit-learn, tried from the
    smallest until the held-out loss is clearly worse than the best."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """logistic_regression: folds of the cross-validation, within the training images."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """minibatch: share of features dropped in each step."""


class ReduceOnPlateau(Section):
    """Lower the learning rate when the validation loss stops falling."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """What the rate is multiplied by."""
    patience: Annotated[int, Field(ge=1)] = 3
    """Epochs without a lower validation loss."""
    min_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    """It never falls below this."""


class Train(Section):
    """How the minibatch recipe trains; seed also divides the folds of logistic regression."""

    epochs: Annotated[int, Field(ge=1, le=10000)] = 30
    """Passes over the training features."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Rows a step."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """Keras's, with its defaults beside the learning rate."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    """At the start."""
    reduce_on_plateau: ReduceOnPlateau | None = ReduceOnPlateau()
    """null: the rate stays."""
    early_stopping: Annotated[int, Field(ge=1)] | None = 10
    """Epochs without a lower validation loss before training stops; the best weights are kept. null: train all epochs
    and keep the last weights."""
    seed: Seed = 0
    """Equal seeds give equal heads, bit for bit."""


class CrossValidation(Section):
    """Repeated cross-validation on training and validation images, of logistic regression: how sure the accuracy is,
    and what more images would bring."""

    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Parts, each held out once."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 3
    """How often the images are divided anew."""


class Evaluate(Section):
    """What evaluate does."""

    fail_under: Annotated[float, Field(ge=0, le=1)] | None = None
    """Exit code 3 when the test accuracy is lower (also --fail-under)."""
    figures: bool = True
    """Draw the figures."""
    report: bool = True
    """Measure how sure the numbers are, and write report.html and report.json."""
    cross_validation: CrossValidation | None = CrossValidation()
    """For the report. null: none."""


class Config(Section):
    """A tlcli config: what to train on, with which network, how. Paths are relative to the working directory; ~ and
    $VAR are expanded."""

    dataset: Dataset
    """The images."""
    image: Image = Image()
    """How an image becomes an array."""
    augment: Augment = Augment()
    """Augmented views of the training images."""
    backbone: BackboneSection = BackboneSection()
    """The frozen network."""
    head: HeadSection = HeadSection()
    """The classifier on its features."""
    train: Train = Train()
    """The minibatch recipe."""
    evaluate: Evaluate = Evaluate()
    """What evaluate does."""

    def with_backbone_defaults(self) -> Self:
        """The config with the size and the resize that the backbone decides written out."""
        row = CATALOG[self.backbone.name]
        image = {"size": self.image.size or row.size, "resize": self.image.resize or row.resize}
        return self.model_copy(update={"image": self.image.model_copy(update=image)})

    @model_validator(mode="after")
    def _size_fits_backbone(self) -> Self:
        least = CATALOG[self.backbone.name].min_size
        if self.image.size is not None and self.image.size < least:
            raise PydanticCustomError(
                "size", "{name} takes {least} or more (received: {size})",
                {"key": "image.size", "size": self.image.size, "name": self.backbone.name, "least": least},
            )  # fmt: skip
        return self
