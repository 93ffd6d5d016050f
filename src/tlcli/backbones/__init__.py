"""Pretrained networks without their classifiers: which there are, their weights, how they are built and converted."""
