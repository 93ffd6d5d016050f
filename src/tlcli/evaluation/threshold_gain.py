"""What thresholds bring, as cross_validation.json has it. Importing this imports neither NumPy nor SciPy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ThresholdGain:
    """What thresholds bring, with those for a fold chosen on the images of the other folds, so that it does not
    flatter."""

    __pydantic_config__ = {"allow_inf_nan": False}  # noqa: RUF012 - read by pydantic, no field

    objective: str
    most_probable: float
    """The metric of the most probable classes, mean over the folds; of recall@precision the recall."""
    chosen: float
    """With thresholds."""
    gain_ci95: tuple[float, float]
    """Of the difference, corrected for overlapping training folds (Nadeau and Bengio 2003)."""
    precision: float | None = None
    """Of recall@precision: the precision that is reached, over all folds; None also where nothing is answered with the
    class."""
