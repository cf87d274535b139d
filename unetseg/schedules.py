"""The learning rate over a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from unetseg.config import TrainConfig

__all__ = ["halvings", "learning_rate"]

_FINAL_RATE: Final = 0.01  # of the peak: where the cosine ends
_WARM_UP: Final = 0.05  # of the training: a linear rise, so that Adam's first steps do not throw the weights about
_FIRST_RATE: Final = 0.1  # of the peak
_PLATEAU_SHARE: Final = 3  # a plateau is this part of train.patience, so that halving is tried before stopping


def learning_rate(progress: float, config: TrainConfig, scores: Sequence[float] = ()) -> float:
    """The rate of one step: a linear warm-up, then by ``train.schedule``.

    ``cosine`` is a half cosine down to a hundredth (doi:10.48550/arXiv.1608.03983), ``plateau`` halves the rate where
    the scores have not risen for a third of ``train.patience``, ``constant`` stays.

    Args:
        progress: how far training is, in [0, 1].
        config: peak, schedule and patience.
        scores: validation scores of the epochs so far.
    """
    peak = config.learning_rate
    if progress < _WARM_UP:
        return peak * max(progress / _WARM_UP, _FIRST_RATE)
    if config.schedule == "constant":
        return peak
    if config.schedule == "plateau":
        return peak * 0.5 ** halvings(scores, max(config.patience // _PLATEAU_SHARE, 1))
    turn = (progress - _WARM_UP) / (1 - _WARM_UP)
    return peak * (_FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * turn)) / 2)


def halvings(scores: Sequence[float], wait: int) -> int:
    """How often ``wait`` epochs in a row brought no better score; the waiting begins anew after each time."""
    best, waited, count = -math.inf, 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == wait:
            waited, count = 0, count + 1
    return count
