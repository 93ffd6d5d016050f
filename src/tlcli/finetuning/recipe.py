"""How a network is fine-tuned: linear probing first, then all of it at a small rate (LP-FT, Kumar et al. 2022).

The head of the frozen fit is the start; then last blocks, or the whole network, and head are trained together with
AdamW, warm-up and cosine decay, label smoothing, and weight decay towards where they started. Batch normalisation stays
in inference mode.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Settings of a training."""

    epochs: int = 5
    """Passes over the training images in all their views."""
    batch_size: int = 64
    learning_rates: tuple[float, ...] = (3e-4, 1e-3)
    """Peaks that are tried on a part of the training images; the one with the lowest loss on the rest, at the end of
    its schedule, is taken."""
    patience: int = 3
    """Epochs without a lower loss on the rest after which a peak is given up: in the second half of its schedule, where
    the loss is above that of the frozen head."""
    warm_up: float = 0.1
    """Share of the steps in which the rate rises to its peak."""
    label_smoothing: float = 0.1
    """Share of a label that is spread over all classes."""
    weight_decay: float = 0.05
    """How strongly weights are drawn back to where they started, in units of the learning rate."""
    layer_decay: float = 0.9
    """The learning rate of a block is that of the block behind it times this; the head and the last block have it
    whole."""
    mixup: float = 0.0
    """Images are mixed in pairs, with shares from Beta(mixup, mixup); 0 mixes none."""
    cutmix: float = 0.0
    """Rectangles of images are replaced by those of others, with areas from Beta(cutmix, cutmix); 0 replaces none."""
    seed: int = 0
    """Of the order of the rows, and of mixing."""

    def rate(self, peak: float, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of so many: linear warm-up, then a half cosine to 0."""
        rising = max(1, round(self.warm_up * steps))
        if step < rising:
            return peak * (step + 1) / rising
        return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
