"""The record of int8's agreement in run.json. It imports no NumPy: what only reads records starts fast."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """The agreement of int8 with the float precision on a sample; the fields are those of run.json."""

    against: str
    """The float precision."""
    images: int
    cosine_mean: float
    cosine_least: float
    label_agreement: float
    accuracy: float
    float_accuracy: float
