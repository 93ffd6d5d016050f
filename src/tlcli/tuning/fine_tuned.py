"""What fine-tuning brings the winner of a search, from what was measured on outer folds.

The last blocks are trained anew for each fold, which is dear, so that there may be fewer folds than other heads have.
The interval is therefore one over images: the standard error of each fold's gain, by the bootstrap, joined over the
folds. The variance is enlarged by what Nadeau and Bengio (2003) add for training sets that overlap, ``1 + k / (J - 1)``
of k of J folds: 1.25 for one of five, 2.25 for all.

Shapes: k folds that were trained for, J outer folds.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from tlcli.evaluation.paired_scores import PairedScore
from tlcli.tuning.outcome import Contender, FineTuned, PassCost
from tlcli.tuning.settings import HeadSetting, PassSetting

_Z = 1.959964
"""Of a 95 % interval."""


def fine_tuned_of(
    setting: PassSetting, head: HeadSetting, cost: PassCost, measured: Sequence[PairedScore], of_folds: int,
    images: int, blocks: int,
) -> FineTuned:  # fmt: skip
    """Joins the folds.

    Args:
        setting: the pass.
        head: the frozen head that fine-tuning starts from.
        cost: of the pass; the seconds of fine-tuning.
        measured: of each fold, beside the winner [k].
        of_folds: J
        images: that these folds hold out.
        blocks: that were trained.
    """
    folds = len(measured)
    inflation = 1 + folds / (of_folds - 1)
    scores, gains = np.array([one.score for one in measured]), np.array([one.gain for one in measured])
    half, half_gain = (
        _Z * sqrt(inflation * float(np.square(errors).sum())) / folds
        for errors in ([one.score_error for one in measured], [one.gain_error for one in measured])
    )
    score, gain = float(scores.mean()), float(gains.mean())
    most = 1.0 if scores.max() > 0 else 0.0  # of a negated loss
    contender = Contender(
        setting, head, cost, scores, (score - half, min(score + half, most)), (0.0 - gain - half_gain, half_gain - gain)
    )
    return FineTuned(contender, folds, of_folds, images, blocks, gain, (gain - half_gain, gain + half_gain))
