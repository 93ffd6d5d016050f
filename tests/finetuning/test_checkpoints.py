"""Which epoch of a training is chosen."""

import math

from tlcli.finetuning.checkpoints import best_of
from tlcli.finetuning.request import Epoch


def epochs(phase: str, *losses: float, total: int = 3) -> list[Epoch]:
    return [
        Epoch(phase, number, 0.001, 0.5, 0.5, loss, 0.5, 1.0, number in (0, total))
        for number, loss in enumerate(losses)
    ]  # fmt: skip


def test_the_end_of_a_schedule_is_chosen_never_its_middle() -> None:
    found = best_of([*epochs("rate 1", 0.5, 0.1, 0.2, 0.4), *epochs("rate 2", 0.5, 0.6, 0.5, 0.3)])
    assert found is not None
    assert (found.phase, found.epoch) == ("rate 2", 3)


def test_a_rate_that_was_given_up_or_diverged_is_not_chosen() -> None:
    found = best_of([*epochs("rate 1", 0.5, 0.2), *epochs("rate 2", 0.5, math.nan)])
    assert found is not None
    assert found.epoch == 0


def test_without_held_out_images_nothing_is_chosen() -> None:
    assert best_of(epochs("final", math.nan, math.nan, math.nan, math.nan)) is None
