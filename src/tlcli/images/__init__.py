"""Decoding, resizing, augmentation, statistics and alignment of images."""
