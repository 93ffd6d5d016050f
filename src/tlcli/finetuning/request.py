"""What the training process is asked for, and what it answers: JSON, with arrays in safetensors beside it.

Shapes: N rows (images in all their views), D features that the head takes, U output units.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlcli.backbones.catalog import Layout
from tlcli.finetuning.recipe import Recipe
from tlcli.images.augmentation import Augmentation
from tlcli.images.preparation import Preparation

ROWS_FILE = "rows.safetensors"
"""keys uint8 [N, 32], labels int64 [N], held_out bool [N] (not trained on while the rate is chosen), plain bool [N]
(without augmentation), weights float32 [N] (of each row's loss); scored bool [N], where some are never trained on."""
START_FILE = "start.safetensors"
"""The frozen head: weights float32 [D, U] and bias [U]; the same fitted without the held-out images, part_weights and
part_bias; and the mean and scale [D] of the features."""
TAIL_FILE = "tail.safetensors"
"""The answer: the trained variables of the last blocks, by their paths in Keras."""
HEAD_FILE = "head.safetensors"
"""The answer: weights [D, U] and bias [U] of the head, for features as they are."""
HELD_OUT_FILE = "held_out.safetensors"
"""The answer: probabilities float64 [n, L] of the plain held-out images, at the end of the best of the trainings
that were not given them, in the order of their rows; n is 0 where none were held out. scored float64 [m, L]: of the
rows that are never trained on, by the final training."""
RECORD_FILE = "training.json"
"""The answer: the epochs."""
ANSWERS = (TAIL_FILE, HEAD_FILE, HELD_OUT_FILE, RECORD_FILE)
"""The files of an answer."""


Trained = int | Literal["all"]
"""How many of the last blocks are trained, or the whole network."""


@dataclass(frozen=True)
class StoredMaps:
    """Feature maps before the last blocks, and the features computed before them; the rows' keys are in ROWS_FILE."""

    store: str
    """Its key."""


@dataclass(frozen=True)
class ImageFiles:
    """Images, which are augmented as they are read."""

    paths: tuple[str, ...]
    digests: tuple[str, ...]
    """sha256 of the files."""
    preparation: Preparation
    augmentation: Augmentation


@dataclass(frozen=True)
class Request:
    """One training of a backbone's last blocks on stored activations, or of a whole backbone on images."""

    name: str
    """Of the backbone."""
    layout: Layout
    size: tuple[int, int]
    weights: str
    """Path of the weights that are fine-tuned."""
    blocks: Trained
    data: StoredMaps | ImageFiles
    inputs: tuple[str, ...]
    """Names of the blocks of features that the head takes."""
    folder: str
    """Holds ROWS_FILE and START_FILE, and receives the checkpoints and the answer."""
    threads: int
    recipe: Recipe
    accepts_cost: bool = True
    """Train on a CPU, too, what takes long there."""

    @property
    def place(self) -> Path:
        """``folder``"""
        return Path(self.folder)


@dataclass(frozen=True)
class Epoch:
    """One epoch."""

    phase: str
    """The rate that is tried, such as ``rate 0.0001``, or ``final``."""
    epoch: int
    """Counted from 1; 0 is the frozen head."""
    learning_rate: float
    """The peak."""
    loss: float
    """Mean over the rows trained on, with smoothed labels, each when it was trained on."""
    accuracy: float
    """Of the same."""
    held_out_loss: float
    """Log loss of the plain held-out images, calibrated; NaN in the final training, which holds none out."""
    held_out_accuracy: float
    seconds: float
    is_end: bool
    """Whether it is the start, or the last of its schedule: what can be chosen."""
