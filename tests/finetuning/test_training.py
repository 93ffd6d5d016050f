"""Which rows a training may see, and what it does where it diverges or takes long."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlcli.errors import UsageError
from tlcli.finetuning import training
from tlcli.finetuning.recipe import Recipe
from tlcli.finetuning.request import RECORD_FILE, Request, StoredMaps, Trained
from tlcli.finetuning.trainer import Rows
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_rows_that_are_scored_are_neither_trained_on_nor_chosen_by() -> None:
    held_out, plain = np.arange(8) % 4 == 0, np.arange(8) < 6
    rows = Rows(np.zeros((8, 32), np.uint8), np.arange(8), np.ones(8, np.float32), held_out, plain)
    assert rows.fitted.tolist() == [1, 2, 3, 5, 6, 7]
    assert rows.choosing.tolist() == [0, 4]
    assert rows.seen.all()
    some = rows._replace(scored=np.arange(8) >= 4)
    assert some.fitted.tolist() == [1, 2, 3]
    assert some.choosing.tolist() == [0]
    assert np.flatnonzero(some.seen).tolist() == [0, 1, 2, 3]


@dataclass
class Rehearsed:
    """Stands in for the network: the losses of each phase are given, and it always guesses."""

    request: Request
    losses: Mapping[str, Sequence[float]]
    seconds: float = 0.0
    """For each image."""
    rows: Rows = field(default_factory=lambda: _rows(10_000))
    task: Task = field(default_factory=lambda: Task(("a", "b")))
    on_gpu: bool = False
    is_finite: bool = True

    @property
    def recipe(self) -> Recipe:
        return self.request.recipe

    def train_epoch(
        self, chosen: "NDArray[np.int64]", phase: str, epoch: int, peak: float, total: int
    ) -> tuple[float, float]:
        assert len(chosen) <= len(self.rows.labels)
        assert (peak, total) == (float(phase.removeprefix("rate ")) if phase != "final" else peak, self.recipe.epochs)
        return self.losses.get(phase, [0.5] * total)[epoch - 1], 0.5

    def seconds_per_image(self) -> float:
        return self.seconds

    def probabilities(self, chosen: "NDArray[np.int64]") -> "NDArray[np.float64]":
        return np.full((len(chosen), 2), 0.5)

    def state(self) -> "dict[str, NDArray[np.float64]]":
        return {"weight": np.zeros(1)}

    def restore(self, state: Mapping[str, object]) -> None:
        assert state

    def reset(self, part: bool) -> None:
        pass

    def start_from(self, part: bool) -> None:
        pass

    def answer(self, folder: Path) -> None:
        pass


def _rows(count: int) -> Rows:
    numbers = np.arange(count)
    return Rows(
        np.zeros((count, 32), np.uint8), numbers % 2, np.ones(count, np.float32), numbers % 5 == 0, np.ones(count, bool)
    )


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, losses: Mapping[str, Sequence[float]], seconds: float = 0.0,
    blocks: Trained = 3, is_accepted: bool = False,
) -> list[dict[str, object]]:  # fmt: skip
    """The epochs of a training, of two rates."""
    recipe = Recipe(epochs=3, learning_rates=(0.1, 0.2))
    request = Request(
        "net", "catalog", (32, 32), "", blocks, StoredMaps(""), (), str(folder), 1, recipe, is_accepted
    )  # fmt: skip
    monkeypatch.setattr(training, "Trainer", lambda one: Rehearsed(one, losses, seconds))
    training.train(request, lambda _: None)
    found: list[dict[str, object]] = json.loads((folder / RECORD_FILE).read_text())
    return found


DIVERGED = [0.5, math.nan, math.nan]


def test_a_rate_that_diverges_is_left_and_the_others_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path, monkeypatch, {"rate 0.1": DIVERGED})
    assert [one["epoch"] for one in found if one["phase"] == "rate 0.1"] == [0, 1, 2]
    assert [one["epoch"] for one in found if one["phase"] == "rate 0.2"] == [0, 1, 2, 3]


@pytest.mark.parametrize("losses", [{"rate 0.1": DIVERGED, "rate 0.2": DIVERGED}, {"final": [math.nan] * 3}])
def test_where_all_rates_or_the_last_training_diverge_nothing_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: dict[str, list[float]]
) -> None:
    better = np.array([[0.9, 0.1], [0.1, 0.9]])
    if "final" in losses:  # a rate has to be better than the start, or none is trained with
        ended: list[int] = []

        def guess(self: Rehearsed, chosen: "NDArray[np.int64]") -> "NDArray[np.float64]":
            ended.append(len(chosen))
            return better[chosen % 2] if len(ended) > 3 else np.full((len(chosen), 2), 0.5)

        monkeypatch.setattr(Rehearsed, "probabilities", guess)
    with pytest.raises(UsageError) as refused:
        run(tmp_path, monkeypatch, losses)
    assert refused.value.code == "config.training_diverged"
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("seconds", "blocks", "is_accepted", "is_refused"),
    [(1.0, 3, False, True), (1.0, 3, True, False), (0.01, 3, False, False), (0.01, "all", False, True)],
)
def test_what_takes_long_on_a_cpu_has_to_be_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, blocks: Trained, is_accepted: bool,
    is_refused: bool,
) -> None:  # fmt: skip
    if not is_refused:
        assert run(tmp_path, monkeypatch, {}, seconds, blocks, is_accepted)
        return
    with pytest.raises(UsageError) as refused:
        run(tmp_path, monkeypatch, {}, seconds, blocks, is_accepted)
    assert refused.value.code == "config.cost_not_accepted"
