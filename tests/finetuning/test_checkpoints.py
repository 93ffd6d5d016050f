"""Which epoch of a training is chosen, and which trainings end early."""

import math
from dataclasses import replace

import pytest

from tlcli.finetuning.checkpoints import best_of, has_diverged, held_out_losses, is_given_up
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


@pytest.mark.parametrize(
    ("losses", "total", "given_up"),
    [
        ((0.5, 0.6, 0.7, 0.8), 5, False),  # the rate has still to fall
        ((0.5, 0.9, 0.8, 0.7, 0.6, 0.7, 0.8, 0.9), 10, False),  # late: 0.8, 0.9
        ((0.5, 0.9, 0.8, 0.7, 0.6, 0.7, 0.6, 0.9, 0.8, 0.7), 10, True),
        ((0.5, 0.9, 0.8, 0.7, 0.6, 0.7, 0.4, 0.9, 0.8, 0.7), 10, False),  # was better than the frozen head
        ((0.5, 0.9, 0.8, 0.7, 0.6, 0.7, 0.6, 0.9, 0.5, 0.7), 10, False),
        ((math.nan,) * 10, 10, False),  # nothing is held out
    ],
)
def test_a_rate_is_given_up_where_the_rest_of_its_schedule_cannot_help(
    losses: tuple[float, ...], total: int, given_up: bool
) -> None:
    assert is_given_up(epochs("rate 1", *losses, total=total), total, patience=3) == given_up


def test_only_an_epoch_diverges_never_a_start() -> None:
    start, epoch = epochs("rate 1", 0.5, 0.4)
    assert not has_diverged(replace(start, loss=math.nan))
    assert has_diverged(replace(epoch, loss=math.nan))
    assert not has_diverged(epoch)


def test_the_losses_on_held_out_images_are_those_of_the_start_and_of_the_best_end() -> None:
    found = [*epochs("rate 1", 0.5, 0.1, 0.2, 0.45), *epochs("rate 2", 0.5, 0.6, 0.5, 0.6)]
    assert held_out_losses(found) == (0.5, 0.45)
    assert held_out_losses(epochs("rate 1", 0.5, 0.4)) is None
    assert held_out_losses(epochs("final", math.nan, math.nan, math.nan, math.nan)) is None
