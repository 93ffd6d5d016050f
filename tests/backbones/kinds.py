"""Networks that stand for all rows of the catalog where a test is dear."""

KINDS = (
    "densenet121", "resnet50", "resnet50_v2", "mobilenet", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0",
    "efficientnet_v2_b0", "convnext_tiny", "xception", "inception_v3", "inception_resnet_v2", "nasnet_mobile", "vgg16",
    "efficientnet_lite0", "mobilenet_v2_torch",
)  # fmt: skip
"""One of each family of builders, in the order of the catalog."""
