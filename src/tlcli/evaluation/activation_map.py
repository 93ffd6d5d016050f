"""Class activation maps: which positions of an image speak for a class (Zhou et al. 2016, "Learning Deep Features for
Discriminative Localization").

Shapes: h and w positions of the last feature map, D features.
"""

from typing import TYPE_CHECKING

import numpy as np

from tlcli.heads.head import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray


def activation_map(maps: "NDArray[np.float32]", head: Head, label: int) -> "NDArray[np.float64]":
    """The evidence for a class at each position: above 0 it speaks for the class, below 0 against it.

    A position's value is the log odds ln(p / (1 - p)) of the class that the head would give to an image that has this
    position's features everywhere, linearised where there are more than two classes
    (:meth:`~tlcli.heads.task.Task.log_odds`). The mean over positions is exactly the image's own log odds of the class
    before calibration.

    Args:
        maps: the features of each position, [h, w, D].
        head: the classifier.
        label: number of the class.

    Returns:
        [h, w], in units of log odds (natural logarithm).
    """
    return head.task.log_odds(head.logits(maps), label)
