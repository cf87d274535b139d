"""Precision-recall curves: what every threshold would reach."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Counts", "Curve", "Values"]

BINS = 65_536  # q / 65536 is an exact float32, so y_pred >= threshold and the curve count the same pixels

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of one class at every threshold that makes a difference.

    A class without foreground is not measurable: recall, F-beta and average precision are nan.

    Attributes:
        thresholds: lower edges of the bins that hold pixels, ascending, ``(n,)`` float64, multiples of 1/65536.
        true_positives: foreground pixels at or above each threshold, ``(n,)`` int64.
        false_positives: background pixels at or above each threshold, ``(n,)`` int64.
        positives: foreground pixels in all.
    """

    thresholds: Values
    true_positives: Counts
    false_positives: Counts
    positives: int

    @cached_property
    def precision(self) -> Values:
        """``tp / (tp + fp)`` at each threshold, ``(n,)``."""
        # Never 0 / 0: the bin of the threshold itself holds a pixel.
        return self.true_positives / (self.true_positives + self.false_positives)

    @cached_property
    def recall(self) -> Values:
        """``tp / positives`` at each threshold, ``(n,)``; nan without foreground."""
        if self.positives == 0:
            return np.full(len(self.thresholds), np.nan)
        return self.true_positives / self.positives

    @property
    def average_precision(self) -> float:
        """``sum((R_n - R_(n-1)) * P_n)`` from the highest threshold down, as scikit-learn defines it.

        Not the trapezoidal area, which is too optimistic (Davis & Goadrich 2006, doi:10.1145/1143844.1143874).
        """
        steps = -np.diff(self.recall, append=0.0)
        return float((steps * self.precision).sum()) if self.positives else float("nan")

    def f_beta(self, beta: float) -> Values:
        """``(1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp)`` at each threshold, ``(n,)``; nan without foreground."""
        if self.positives == 0:
            return np.full(len(self.thresholds), np.nan)
        weighted = (1 + beta**2) * self.true_positives
        return weighted / (weighted + beta**2 * (self.positives - self.true_positives) + self.false_positives)
