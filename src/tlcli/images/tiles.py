"""Tiles: an image much larger than the input of the network, cut into parts of that size which overlap."""

Size = tuple[int, int]
"""Height and width in pixels."""
