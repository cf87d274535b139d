"""Scores of binary segmentations from counts of pixels.

Counts are ``(..., 4)``: true positives, false positives, false negatives, true negatives. They are additive, so scores
of tiles, scans or classes pooled together are scores of summed counts.

Conventions where something is missing: the functions follow their formula, and 0 / 0 is nan. So

- on a scan without the class whatever is marked makes precision, F-beta, Dice and IoU 0; where nothing is marked either
  they are nan, and recall is nan in both cases;
- where there are true pixels but nothing is predicted, recall, F-beta, Dice and IoU are 0, and precision is nan.

What tables and intervals make of that is in `unetseg.score_sums`.

Source of the definitions: Maier-Hein et al. 2024, "Metrics reloaded", doi:10.1038/s41592-023-02151-z.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unetseg.errors import UsageError
from unetseg.histograms import check_masks

__all__ = [
    "FN",
    "FP",
    "TN",
    "TP",
    "Counts",
    "Values",
    "check_decisions",
    "count",
    "dice",
    "divide",
    "f_beta",
    "iou",
    "precision",
    "recall",
    "specificity",
]

TP, FP, FN, TN = range(4)  # columns of counts

Counts = NDArray[np.int64]
Values = NDArray[np.float64]
Numbers = NDArray[np.int64] | NDArray[np.float64]


# --------------------------------------------------------------------------- counts


def count(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Counts:
    """Count the pixels of one scan.

    Args:
        y_true: masks, ``(..., K)`` int8, uint8 or bool: 1 foreground, 0 background, negative ignored.
        y_pred: decisions, ``(..., K)`` bool, or integers that are 0 or 1.

    Returns:
        ``(K, 4)`` int64 with columns `TP`, `FP`, `FN`, `TN`; ignored pixels are in none of them.
    """
    check_decisions(y_true, y_pred)
    return np.array([_count_class(y_true[..., k], y_pred[..., k] != 0) for k in range(y_true.shape[-1])])


def check_decisions(y_true: NDArray[Any], y_pred: NDArray[Any]) -> None:
    """Refuse masks and decisions that do not belong together, and predictions that are no decisions."""
    check_masks(y_true, y_pred)
    if y_pred.dtype.kind not in "biu":
        raise UsageError(f"y_pred must be decisions (bool), got {y_pred.dtype}; pass y_pred >= thresholds")
    lowest, highest = int(y_pred.min(initial=0)), int(y_pred.max(initial=0))
    if lowest < 0 or highest > 1:
        raise UsageError(f"y_pred must be 0 or 1, got {lowest} to {highest}; pass y_pred > 0")


def _count_class(truth: NDArray[Any], predicted: NDArray[np.bool_]) -> Counts:
    foreground, background = truth > 0, truth == 0
    tp, fp = np.count_nonzero(foreground & predicted), np.count_nonzero(background & predicted)
    fn, tn = np.count_nonzero(foreground) - tp, np.count_nonzero(background) - fp
    return np.array([tp, fp, fn, tn], np.int64)


# --------------------------------------------------------------------------- scores


def recall(counts: Numbers) -> Values:
    """``tp / (tp + fn)``, also sensitivity: ``(..., 4)`` to ``(...)``; nan without true pixels."""
    return divide(counts[..., TP], counts[..., TP] + counts[..., FN])


def precision(counts: Numbers) -> Values:
    """``tp / (tp + fp)``: ``(..., 4)`` to ``(...)``; nan where nothing is predicted."""
    return divide(counts[..., TP], counts[..., TP] + counts[..., FP])


def f_beta(counts: Numbers, *, beta: float = 1.0) -> Values:
    """``(1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp)``: ``(..., 4)`` to ``(...)``; b > 1 leans to recall."""
    weighted = (1 + beta**2) * counts[..., TP]
    return divide(weighted, weighted + beta**2 * counts[..., FN] + counts[..., FP])


def dice(counts: Numbers) -> Values:
    """``2 tp / (2 tp + fp + fn)``: ``(..., 4)`` to ``(...)``; equals F1 of the same counts (doi:10.2307/1932409)."""
    return f_beta(counts, beta=1.0)


def iou(counts: Numbers) -> Values:
    """``tp / (tp + fp + fn)``: ``(..., 4)`` to ``(...)``; Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x."""
    return divide(counts[..., TP], counts[..., TP] + counts[..., FP] + counts[..., FN])


def specificity(counts: Numbers) -> Values:
    """``tn / (tn + fp)``: ``(..., 4)`` to ``(...)``; nan without background."""
    return divide(counts[..., TN], counts[..., TN] + counts[..., FP])


def divide(numerator: ArrayLike, denominator: ArrayLike) -> Values:
    """Quotient, nan where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient: Values = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return quotient
