"""What fine-tuning brings, joined over folds."""

import pytest

from tlcli.evaluation.paired_scores import PairedScore
from tlcli.tuning.fine_tuned import fine_tuned_of
from tlcli.tuning.outcome import FineTuned, PassCost
from tlcli.tuning.settings import HeadSetting, PassSetting

HEAD = HeadSetting("finetune", ("last",), "avg", True, "none", 0.1)


def joined(*gains: float, score: float = 0.9) -> FineTuned:
    """Of folds with standard errors of 1 point."""
    measured = [PairedScore(score, 0.02, gain, 0.01) for gain in gains]
    return fine_tuned_of(PassSetting("a", (32, 32), "crop"), HEAD, PassCost(1, 1), measured, 5, 100, 1)


def test_one_fold_has_an_interval_and_all_a_narrower_one() -> None:
    one, whole = joined(0.03), joined(*[0.03] * 5)
    assert one.gain_ci95 == pytest.approx((0.03 - 0.0219, 0.03 + 0.0219), abs=1e-4)  # 1.96 x 0.01 x sqrt(1.25)
    assert whole.gain_ci95 == pytest.approx((0.03 - 0.01315, 0.03 + 0.01315), abs=1e-4)  # 1.96 x 0.01 x sqrt(2.25 / 5)
    assert one.contender.behind == pytest.approx((-one.gain_ci95[1], -one.gain_ci95[0]))
    assert (one.folds, whole.folds, len(whole.contender.scores)) == (1, 5, 5)


@pytest.mark.parametrize(("gain", "helps", "hurts"), [(0.03, True, False), (0.01, False, False), (-0.03, False, True)])
def test_evidence_is_an_interval_without_0(gain: float, helps: bool, hurts: bool) -> None:
    found = joined(gain)
    assert (found.helps, found.hurts) == (helps, hurts)


def test_intervals_of_scores_end_where_scores_do() -> None:
    assert joined(0.0, score=0.99).contender.interval[1] == 1.0
    assert joined(0.0, score=-0.01).contender.interval[1] == 0.0


def test_equals_have_differences_without_a_sign() -> None:
    found = fine_tuned_of(
        PassSetting("a", (32, 32), "crop"), HEAD, PassCost(1, 1), [PairedScore(1.0, 0.0, 0.0, 0.0)], 5, 9, 1
    )
    assert str(found.contender.behind) == "(0.0, 0.0)"
    assert not found.helps
