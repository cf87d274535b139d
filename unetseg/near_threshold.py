"""How much of what a model marks was a close decision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetseg.decisions import Decision

__all__ = ["near_threshold"]

_HALFWAY = 0.5  # near: closer to the threshold than to 0 or 1
_CERTAIN_OF_ARGMAX = 0.5  # from here a class has won, whatever the probabilities of the others are
_FEW = 1e-3  # of a scan's pixels: fewer that may be marked are no reason to look at it


def near_threshold(levels: NDArray[np.int64], decision: Decision) -> NDArray[np.float64]:
    """Share of the marked and nearly marked pixels whose probability is near the threshold: 0 is sure, 1 is guessing.

    *Formula*: ``|{t / 2 <= p <= (1 + t) / 2}| / max(|{p >= t / 2}|, n / 1000)``, of n pixels and the threshold t of the
    class; with t = 0.5 near is from 0.25 to 0.75. For argmax t is 0.5. In a scan of which less than a thousandth may be
    the class, a few pixels of noise so count little.

    Args:
        levels: how many pixels of each class have which probability, in steps of 1/255, ``(K, 256)``.
        decision: what a pixel is.

    Returns:
        One number per class, in [0, 1].

    >>> levels = np.zeros((1, 256), int)
    >>> levels[0, [0, 100, 255]] = 70, 10, 20
    >>> near_threshold(levels, Decision("thresholds", (0.5,)))
    array([0.33333333])
    """
    p = np.linspace(0, 1, levels.shape[1])
    cuts = decision.thresholds if decision.rule == "thresholds" else [_CERTAIN_OF_ARGMAX] * len(levels)
    t = np.asarray(cuts)[:, np.newaxis]
    candidates = np.where(p >= _HALFWAY * t, levels, 0)
    near = np.where(p <= t + _HALFWAY * (1 - t), candidates, 0)
    shares: NDArray[np.float64] = near.sum(axis=1) / np.maximum(candidates.sum(axis=1), _FEW * levels.sum(axis=1))
    return shares
