"""Pretrained networks without their classifiers: which there are, their weights, and how they are built and converted."""
