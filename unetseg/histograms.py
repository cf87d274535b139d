"""Histograms of probabilities: one pass over the pixels, constant memory.

Probabilities fall into 65,536 bins, so millions of pixels become two rows of counts per class. The rows add up over
tiles, scans and workers, and every threshold can be judged, or chosen anew, without running the network again.

Everywhere: ``y_true`` is ``(..., K)`` int8, uint8 or bool with 1 = foreground, 0 = background and (int8 only)
negative = ignored, which counts nowhere; ``y_pred`` is ``(..., K)`` float probabilities in [0, 1]; K is the number of
classes.

Example:
    >>> histograms = Histograms.empty(1)
    >>> histograms.add(np.array([[1], [1], [0]], np.uint8), np.array([[1.0], [0.75], [0.25]], np.float32))
    >>> histograms.curve(0).recall.tolist()
    [1.0, 1.0, 0.5]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.curves import BINS, Counts, Curve
from unetseg.errors import UsageError
from unetseg.tally import blocks, check_block, is_dask, tally, tally_dask

__all__ = ["BINS", "Histograms", "check_masks"]


@dataclass(frozen=True, eq=False)
class Histograms:
    """How many pixels of each class have which probability.

    A probability ``p`` falls into bin ``min(floor(p * 65536), 65535)``.

    Attributes:
        positives: foreground pixels per bin, ``(K, BINS)`` int64.
        negatives: background pixels per bin, ``(K, BINS)`` int64.
    """

    positives: Counts
    negatives: Counts

    def __post_init__(self) -> None:
        shape = self.positives.shape
        if len(shape) != 2 or shape[1] != BINS or shape != self.negatives.shape:
            raise UsageError(
                f"positives and negatives must both be (classes, {BINS}), got {shape} and {self.negatives.shape}; "
                "start with Histograms.empty(classes)"
            )

    @classmethod
    def empty(cls, classes: int) -> Histograms:
        """Histograms of ``classes`` classes that hold no pixel yet."""
        return cls(np.zeros((classes, BINS), np.int64), np.zeros((classes, BINS), np.int64))

    def add(self, y_true: NDArray[Any], y_pred: NDArray[np.floating]) -> None:
        """Count the pixels of a scan or tile, in place; on an error nothing is counted.

        Args:
            y_true: masks, ``(..., K)`` int8, uint8 or bool; negative is ignored. May be memory-mapped, or a Dask
                array, chunked in any way, which is then counted in parallel by Dask's scheduler.
            y_pred: probabilities, ``(..., K)`` float in [0, 1], also where ``y_true`` is negative; arrays likewise.

        Raises:
            UsageError: for shapes that do not match, other types, masks that are not 0/1, or probabilities outside
                [0, 1].
        """
        _check_kinds(y_true, y_pred, classes=len(self.positives))
        if not np.issubdtype(y_pred.dtype, np.floating):
            raise UsageError(f"y_pred must be float probabilities, got {y_pred.dtype}; divide 8-bit planes by 255")
        counted = (tally_dask if is_dask(y_true) or is_dask(y_pred) else tally)(y_true, y_pred)
        self.negatives[:] += counted[:, 0]
        self.positives[:] += counted[:, 1]

    def __add__(self, other: Histograms) -> Histograms:
        if self.positives.shape != other.positives.shape:
            raise UsageError(
                f"histograms of {len(self.positives)} and of {len(other.positives)} classes cannot be added; "
                "merge only histograms of one dataset"
            )
        return Histograms(self.positives + other.positives, self.negatives + other.negatives)

    def pooled(self) -> Histograms:
        """All classes as if they were one, ``(1, BINS)``; the basis of micro-averaged scores."""
        return Histograms(self.positives.sum(0, keepdims=True), self.negatives.sum(0, keepdims=True))

    def curve(self, k: int) -> Curve:
        """The precision-recall curve of class ``k``."""
        positives, negatives = self.positives[k], self.negatives[k]
        occupied = np.flatnonzero(positives + negatives)
        return Curve(
            thresholds=occupied / BINS,
            true_positives=_from_above(positives[occupied]),
            false_positives=_from_above(negatives[occupied]),
            positives=int(positives.sum()),
        )


def check_masks(y_true: NDArray[Any], y_pred: NDArray[Any], *, classes: int | None = None) -> None:
    """Refuse masks that do not belong to their predictions, or are not 0, 1 and negative.

    Args:
        y_true: masks, ``(..., K)``.
        y_pred: predictions of the same shape; their type is not looked at.
        classes: K, where it is known.
    """
    _check_kinds(y_true, y_pred, classes=classes)
    for truth, _ in blocks(y_true, y_pred):
        check_block(truth)


def _check_kinds(y_true: NDArray[Any], y_pred: NDArray[Any], *, classes: int | None) -> None:
    if y_true.shape != y_pred.shape or y_true.ndim < 1:
        raise UsageError(f"y_true and y_pred must both be (..., classes), got {y_true.shape} and {y_pred.shape}")
    if classes is not None and y_true.shape[-1] != classes:
        raise UsageError(
            f"the last axis must hold {classes} classes, got shape {y_true.shape}; move the class axis there"
        )
    if y_true.dtype not in (np.int8, np.uint8, np.bool_):
        raise UsageError(f"y_true must be int8, uint8 or bool, got {y_true.dtype}; convert with y_true.astype('int8')")


def _from_above(counts: Counts) -> Counts:
    """Sums from each entry to the last: pixels at or above each threshold."""
    return counts[::-1].cumsum()[::-1]
