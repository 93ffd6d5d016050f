"""Whether the classes of a data set are unequal, so that the accuracy alone hides what becomes of the small ones.

Importing this imports neither NumPy nor scikit-learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass

UNEQUAL = 3
"""Classes are unequal where the largest has more than this many times the images of the smallest."""


@dataclass(frozen=True)
class ClassBalance:
    """The largest and the smallest class of a split; classes without images do not count."""

    most: str
    most_images: int
    least: str
    least_images: int
    images: int
    """Of all classes."""

    @property
    def is_unequal(self) -> bool:
        """See :data:`UNEQUAL`."""
        return self.most_images > UNEQUAL * self.least_images

    @property
    def majority_share(self) -> float:
        """What always predicting the largest class would reach on these images."""
        return self.most_images / self.images


def class_balance(counts: Mapping[str, int]) -> ClassBalance:
    """The balance of the classes, from the images of each; at least one has images."""
    present = {label: count for label, count in counts.items() if count}
    most, least = (choose(present, key=lambda label: present[label]) for choose in (max, min))
    return ClassBalance(most, present[most], least, present[least], sum(present.values()))
