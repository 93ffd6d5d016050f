"""The search itself, with an engine without a backbone: what it takes of the budget, and how it goes on."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from tests.features.extractors import extractor_of, row_of

from tlcli.datasets.index import LabelledImage
from tlcli.errors import DataError
from tlcli.evaluation.objectives import Objective
from tlcli.features.rows import Rows
from tlcli.features.store import Store
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.progress import Progress
from tlcli.tuning import sampled_heads, sampled_search, search, settings
from tlcli.tuning.candidates import Candidate, Images
from tlcli.tuning.clock import Clock, Pace
from tlcli.tuning.leaderboard import outcome_of
from tlcli.tuning.outcome import PassCost
from tlcli.tuning.sampled_search import try_sampled
from tlcli.tuning.search import Search
from tlcli.tuning.settings import PassSetting
from tlcli.tuning.winner import thresholds

WIDTH = 4
HOW = Minibatch(2, 32, "adam", 0.001, None, 2, 0.0)


class Known:
    """The trials of a search, in memory."""

    class Trial(NamedTuple):
        scores: tuple[float, ...]
        seconds: float

    def __init__(self) -> None:
        self.found: dict[str, Known.Trial] = {}

    def __len__(self) -> int:
        return len(self.found)

    def get(self, what: Mapping[str, object]) -> "Known.Trial | None":
        return self.found.get(json.dumps(what, sort_keys=True))

    def add(self, what: Mapping[str, object], scores: tuple[float, ...], seconds: float) -> "Known.Trial":
        assert seconds >= 0
        return self.found.setdefault(json.dumps(what, sort_keys=True), Known.Trial(scores, seconds))


class Listener(Progress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(autouse=True)
def few_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CS", (1e-3, 1e-2, 0.1))
    monkeypatch.setattr(settings, "KERNEL_CS", (1.0,))
    monkeypatch.setattr(settings, "GAMMAS", (1.0,))


def drawn(folder: Path, *counts: int) -> Images:
    """So many images of each class, of which the later are brighter."""
    random, found = np.random.default_rng(0), []
    for number, count in enumerate(counts):
        for each in range(count):
            path = folder / f"{number}_{each}.png"
            pixels = np.clip(random.normal(60 + 60 * number, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            found.append(LabelledImage(path, path.name, sha256, f"c{number}", "train", sha256))
    return images_of(found, np.repeat(np.arange(len(counts)), counts))


def images_of(images: list[LabelledImage], labels: np.ndarray) -> Images:
    rows = Rows.of(np.empty((len(labels), 0), np.float32), labels)
    return Images(tuple(images), tuple(f"c{number}" for number in range(labels.max() + 1)), rows, 0)


def candidate_of(key: str = "a", ms: float = 0.01) -> Candidate:
    extractor = extractor_of(Store(key * 64, row_of(WIDTH).blocks), WIDTH)
    return Candidate(PassSetting(f"net_{key}", (32, 32), "squash"), extractor, PassCost(ms, 1.0))


def search_of(images: Images, trials: Known, budget: float = 900, progress: Progress | None = None) -> Search:
    score = Objective.parse("accuracy").score
    return Search(images, score, "accuracy", trials, Clock(budget), progress or Progress())


def test_a_search_that_goes_on_without_time_fits_no_more_heads(tmp_path: Path) -> None:
    images, whole, one = drawn(tmp_path, 20, 20), Known(), candidate_of()
    search_of(images, whole).heads(one)
    groups = [key for key in whole.found if json.loads(key)["stage"] == "group"]
    for key in groups[len(groups) // 2 :]:
        del whole.found[key]
    before = len(whole)
    again = search_of(images, whole, 0)
    found = again.heads(one)
    assert found
    assert again.clock.is_cut
    assert len(whole) == before
    more = search_of(images, whole)
    more.heads(one)
    assert not more.clock.is_cut
    assert len(whole) == before + len(groups) - len(groups) // 2


def test_without_time_one_group_of_heads_is_fitted_on_the_best_pass_and_none_on_others(tmp_path: Path) -> None:
    again = search_of(drawn(tmp_path, 20, 20), Known(), 0)
    (group,) = {head.group for head in again.heads(candidate_of("a"), is_needed=True)}
    assert group.kind == "logistic_regression"
    assert again.heads(candidate_of("b")) == {}
    assert again.clock.is_cut


def test_heads_that_would_end_too_late_are_not_begun(tmp_path: Path) -> None:
    images, trials = drawn(tmp_path, 20, 20), Known()
    long = search_of(images, trials, 100)
    long.pace.heads_took(1000, 10)
    assert long.heads(candidate_of()) == {}
    assert long.clock.is_cut


def test_a_finished_search_is_read_again_after_its_features_were_removed(tmp_path: Path) -> None:
    images, trials = drawn(tmp_path, 20, 20), Known()
    objective = Objective.parse("f1_macro")
    first = search_of(images, trials)
    head = max(first.heads(candidate_of()), key=lambda one: one.C if one.kind == "logistic_regression" else 0)
    before = first.rows_of(candidate_of().extractor).features()
    shutil.rmtree(os.environ["TLCLI_CACHE"])
    again = search_of(images, trials)
    np.testing.assert_array_equal(again.rows_of(candidate_of().extractor).features(), before)
    shutil.rmtree(os.environ["TLCLI_CACHE"])
    assert thresholds(again, candidate_of(), head, objective) is not None


def test_a_class_of_two_images_has_no_inner_folds(tmp_path: Path) -> None:
    images, one = drawn(tmp_path, 20, 20, 2), candidate_of()
    rare = search_of(images, Known())
    finalists, tried = rare.halve([one])
    scored = {one.setting: rare.heads(one)}
    assert rare.folds.inner == ()
    outcome = outcome_of(rare, scored, {one.setting: one.cost}, tried, None, 1, 0)
    assert outcome.expected is None
    assert outcome.contenders
    assert [each.setting for each in finalists] == [one.setting]
    assert rare.folds.test_share == pytest.approx(0.5)


def test_why_mini_batch_heads_are_left_out_is_not_want_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")

    def too_small(*_: object) -> None:
        raise DataError("data.class_too_small", "A class is too small.", "Add images.")

    images, one = drawn(tmp_path, 20, 20), candidate_of()
    known = Known()
    scored = {one.setting: search_of(images, known).heads(one)}
    for cause, reason in (("small", "class_too_small"), ("optuna", "no_optuna")):
        with monkeypatch.context() as patch:
            if cause == "small":
                patch.setattr(sampled_heads.SampledFits, "scores", too_small)
            else:
                patch.setattr(sampled_heads, "is_installed", lambda: False)
            tried = search_of(images, known)
            try_sampled(tried, scored, [one], HOW)
        assert tried.no_minibatch == reason
        assert not tried.clock.is_cut


def test_a_round_of_mini_batch_heads_is_begun_only_where_it_would_end_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(sampled_search, "MINIBATCH_FIT", 1.0)
    images, one = drawn(tmp_path, 20, 20), candidate_of()
    trials = Known()
    scored = {one.setting: search_of(images, trials).heads(one)}
    before = len(trials)
    tried = search_of(images, trials, 1000)  # 35 fits of 40 images with 4 features: 5,600 s
    try_sampled(tried, scored, [one], HOW)
    assert tried.clock.is_cut
    assert tried.no_minibatch is None
    assert len(trials) == before


def test_a_pass_without_time_for_a_larger_sample_keeps_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_FIRST", 20)
    monkeypatch.setattr(search, "_FINALISTS", 1)
    images = drawn(tmp_path, 40, 40)
    going = search_of(images, Known(), 100)
    candidates = [candidate_of("a"), candidate_of("b", ms=1500.0)]  # 30 s of 20 images, and 90 s of 80
    going.reference = candidates[0].setting
    monkeypatch.setattr(Pace, "passed", lambda *_: None)
    _, tried = going.halve(candidates)
    (slow,) = (one for one in tried if one.setting == candidates[1].setting)
    assert slow.images == 20
    assert slow.score is not None
    assert slow.left_out
    assert going.clock.is_cut


def test_the_seconds_of_a_conversion_are_not_multiplied_by_the_images() -> None:
    pace, extractor = Pace(), candidate_of().extractor
    opened, seconds = pace.timed(extractor, "a")
    opened.open_engine(Progress()).close()
    assert len(seconds) == 1
    pace._opened["a"] = 20.0
    pace.passed(0.6, 0.6, 0.2, 200)
    assert pace.opening("a", is_converted=False) < 1
    assert pace.opening("b", is_converted=False) == 20
    assert pace.opening("b", is_converted=True) < 1
    assert pace.pass_seconds(6.0, 2000) == pytest.approx(8.0)
    assert pace.pass_seconds(0.0, 2000) == pytest.approx(2.0)


def test_a_pass_whose_images_are_stored_is_not_too_slow(tmp_path: Path) -> None:
    images, slow = drawn(tmp_path, 20, 20), candidate_of(ms=1e6)
    every = np.arange(40)
    assert search_of(images, Known(), 100).too_slow(slow, every)
    slow.extractor.extract([(images.all, slow.extractor.views)])
    assert not search_of(images, Known(), 100).too_slow(slow, every)


@pytest.mark.parametrize("rare", [1, 2, 6, 30])
def test_samples_keep_rare_classes_and_are_parts_of_larger_ones(rare: int) -> None:
    labels = np.repeat([0, 1], [2000, rare])
    one = LabelledImage(Path("x"), "x", "0", "c0", "train", "0")
    images = images_of([one] * len(labels), labels)
    small, large = images.sample(200), images.sample(600)
    assert np.isin(small, large).all()
    for chosen in (small, large):
        assert (labels[chosen] == 1).sum() >= min(rare, 10)
    assert 190 <= len(small) <= 215


def test_the_best_so_far_and_the_trials_are_told_in_every_stage(tmp_path: Path) -> None:
    images, one, heard = drawn(tmp_path, 20, 20), candidate_of(), Listener()
    told = search_of(images, Known(), progress=heard)
    told.halve([one])
    after_passes = len(heard.notes)
    told.heads(one)
    assert after_passes == 1
    assert len(heard.notes) == 2
    assert f"{len(told.trials):,} trials" in heard.notes[1]
