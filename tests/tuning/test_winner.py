"""What is asked of the winner: its answers for the images that each outer fold holds out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.tuning.test_search import HOW, Known, candidate_of, drawn, few_heads, search_of  # noqa: F401 - a fixture

from tlcli.images.augmentation import Augmentation, view_names
from tlcli.tuning.sampled_search import try_sampled
from tlcli.tuning.winner import outer_probabilities


@pytest.mark.parametrize("kind", ["logistic_regression", "kernel", "minibatch"])
@pytest.mark.parametrize("views", [0, 2])
def test_answers_of_the_winner_have_the_scores_of_the_search(
    tmp_path: Path, kind: str, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, one = drawn(tmp_path, 30, 30), candidate_of()
    if views:
        changes = Augmentation(flip="both", shift=0.1)
        decoder = replace(one.extractor.decoder, augmentation=changes)
        extractor = replace(one.extractor, decoder=decoder, views=tuple(view_names(views, changes)))
        one = replace(one, extractor=extractor)
    search = search_of(images, Known())
    scored = search.heads(one)
    if kind == "minibatch":
        pytest.importorskip("optuna")
        monkeypatch.setattr("tlcli.tuning.sampled_heads.ROUNDS", 1)
        try_sampled(search, {one.setting: scored}, [one], HOW)
    outer = list(search.folds.outer)
    head = next(head for head in scored if head.kind == kind and np.isfinite(scored[head][outer]).all())
    found = outer_probabilities(search, one, head, HOW)
    held = [search.folds.all[number][1] for number in outer]
    scores = [search.score(images.rows.labels[of], each) for of, each in zip(held, found, strict=True)]
    assert scores == pytest.approx(scored[head][outer].tolist())
