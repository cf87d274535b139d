"""Precision-recall curves and thresholds from histograms: one pass over the pixels, constant memory.

Probabilities fall into 65,536 bins, so millions of pixels become two rows of counts per class. The rows add up over
tiles, scans and workers, and every threshold can be judged, or chosen anew, without running the network again.

Everywhere: ``y_true`` is ``(..., K)`` int8, uint8 or bool with 1 = foreground, 0 = background and (int8 only)
negative = ignored, which counts nowhere; ``y_pred`` is ``(..., K)`` float probabilities in [0, 1]; K is the number of
classes.

Example:
    >>> histograms = Histograms.empty(1)
    >>> histograms.add(np.array([[1], [1], [0]], np.uint8), np.array([[1.0], [0.75], [0.25]], np.float32))
    >>> choose_threshold(histograms.curve(0), EvaluateConfig()).value
    0.5
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from unetseg.config import EvaluateConfig
from unetseg.errors import BundleError, UsageError
from unetseg.storage import write_bytes

__all__ = ["BINS", "Curve", "Histograms", "Threshold", "check_masks", "choose_threshold", "load_curves", "save_curves"]

BINS = 65_536  # q / 65536 is an exact float32, so y_pred >= threshold and the curve count the same pixels
_FALLBACK = 0.5  # threshold of a class without any foreground: nothing can be said about it

_BLOCK = 1 << 20  # values handled at once: a peak of about 30 MB, and enough to outweigh clearing the bins
_SLOTS = BINS + 1  # probability 1 has a slot of its own, which is cheaper than capping every pixel

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


# --------------------------------------------------------------------------- histograms


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
            y_true: masks, ``(..., K)`` int8, uint8 or bool; negative is ignored. May be memory-mapped.
            y_pred: probabilities, ``(..., K)`` float in [0, 1], also where ``y_true`` is negative.

        Raises:
            UsageError: for shapes that do not match, other types, masks that are not 0/1, or probabilities outside
                [0, 1].
        """
        check_masks(y_true, y_pred, classes=len(self.positives))
        _check_probabilities(y_pred)
        for truth, probabilities in _blocks(y_true, y_pred):
            for k, (negatives, positives) in enumerate(_tally(truth, probabilities)):
                self.negatives[k] += negatives
                self.positives[k] += positives

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
    if y_true.shape != y_pred.shape or y_true.ndim < 1:
        raise UsageError(f"y_true and y_pred must both be (..., classes), got {y_true.shape} and {y_pred.shape}")
    if classes is not None and y_true.shape[-1] != classes:
        raise UsageError(
            f"the last axis must hold {classes} classes, got shape {y_true.shape}; move the class axis there"
        )
    if y_true.dtype not in (np.int8, np.uint8, np.bool_):
        raise UsageError(f"y_true must be int8, uint8 or bool, got {y_true.dtype}; convert with y_true.astype('int8')")
    highest = max((int(truth.max()) for truth, _ in _blocks(y_true, y_pred)), default=0)
    if highest > 1:
        raise UsageError(f"y_true must be 1 (foreground), 0 or negative (ignored), got {highest}; pass y_true > 0")


def _check_probabilities(y_pred: NDArray[Any]) -> None:
    if not np.issubdtype(y_pred.dtype, np.floating):
        raise UsageError(f"y_pred must be float probabilities, got {y_pred.dtype}; divide 8-bit planes by 255")
    for block, _ in _blocks(y_pred, y_pred):
        for value in (float(block.min()), float(block.max())):
            if not 0 <= value <= 1:  # written so that not-a-number fails as well
                raise UsageError(
                    f"y_pred must lie in [0, 1], got {value}; apply the sigmoid to logits, and look for "
                    "not-a-number in the scan or the weights"
                )


def _blocks(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Cut along the first axes, as views: a reshape would load the whole of a memory-mapped array."""
    y_true, y_pred = np.atleast_2d(y_true), np.atleast_2d(y_pred)
    if y_pred.size == 0:
        return
    row = y_pred[0].size
    if row > _BLOCK and y_pred.ndim > 2:
        for truth, probabilities in zip(y_true, y_pred, strict=True):
            yield from _blocks(truth, probabilities)
        return
    step = max(1, _BLOCK // row)
    for start in range(0, len(y_pred), step):
        yield y_true[start : start + step], y_pred[start : start + step]


def _tally(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Iterator[tuple[Counts, Counts]]:
    """For each class its background and foreground pixels per bin, each ``(BINS,)``."""
    # Scaling by a power of two is exact in float32 and float64; in float16 it would overflow.
    slots = np.multiply(y_pred, BINS, dtype=np.result_type(y_pred, np.float32)).astype(np.int32)
    # The sign shifts ignored pixels, background and foreground into three rows of slots: one count serves all.
    slots += np.multiply(np.sign(y_true.view(np.int8)), _SLOTS, dtype=np.int32)
    slots += _SLOTS
    for k in range(slots.shape[-1]):
        rows = np.bincount(slots[..., k].ravel(), minlength=3 * _SLOTS).reshape(3, _SLOTS)
        rows[:, BINS - 1] += rows[:, BINS]
        yield rows[1, :BINS], rows[2, :BINS]


def _from_above(counts: Counts) -> Counts:
    """Sums from each entry to the last: pixels at or above each threshold."""
    return counts[::-1].cumsum()[::-1]


# --------------------------------------------------------------------------- curve


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


# --------------------------------------------------------------------------- thresholds


@dataclass(frozen=True)
class Threshold:
    """A chosen threshold; a pixel is foreground where ``y_pred >= value`` (in float32 or float64, not float16).

    Attributes:
        value: a multiple of 1/65536, so that the numbers below are exact.
        reached: whether the criterion was met; if not, ``value`` is a fall-back.
        precision: precision at ``value``; None where nothing is predicted or there is no foreground.
        recall: recall at ``value``; None without foreground.
        score: what ``value`` is best in: recall, precision or F-beta, and F1 for a fall-back; None without foreground.
        reason: one sentence for people.
    """

    value: float
    reached: bool
    precision: float | None
    recall: float | None
    score: float | None
    reason: str


def choose_threshold(curve: Curve, config: EvaluateConfig) -> Threshold:
    """Choose the threshold of one class by ``config.criterion``.

    ================================  ==============  =====================  ==============================
    criterion                         highest         among thresholds with  ties
    ================================  ==============  =====================  ==============================
    ``f_beta``                        F-beta          (all)                  the highest threshold
    ``recall_at_precision``           recall          precision >= target    the highest: more precision
    ``precision_at_recall``           precision       recall >= target       the lowest: more recall
    ``fixed``                         (none)          ``fixed_threshold``, rounded to 1/65536
    ================================  ==============  =====================  ==============================

    Between two bins that hold pixels every threshold counts the same; the middle of that gap is returned, because
    there a tiny numeric difference (another engine, another processor) changes nothing. A fixed threshold is not moved.

    Args:
        curve: the class on the validation split.
        config: criterion, beta, target and fixed_threshold.

    Returns:
        The threshold. Where the criterion cannot be met ``reached`` is False and the value is that of the best F1, or
        0.5 for a class without foreground.
    """
    if config.criterion == "fixed":
        return _fixed(curve, config)
    if curve.positives == 0:
        reason = f"not chosen: no foreground pixel to judge {config.criterion} by; fell back to {_FALLBACK}"
        return Threshold(_FALLBACK, False, None, None, None, reason)
    scores, allowed, aim = _criterion(curve, config)
    if not allowed.any():
        return _fallback(curve, aim)
    ties = np.flatnonzero(allowed & (scores == scores[allowed].max()))
    index = int(ties[0] if config.criterion == "precision_at_recall" else ties[-1])
    return _at(curve, index, scores, reached=True, reason=f"{aim}: {scores[index]:.4f}")


def _criterion(curve: Curve, config: EvaluateConfig) -> tuple[Values, NDArray[np.bool_], str]:
    """The score to be maximal, the thresholds that may be taken, and both in words."""
    if config.criterion == "f_beta":
        return curve.f_beta(config.beta), np.full(curve.thresholds.shape, True), f"highest F{config.beta:g}"
    if config.criterion == "recall_at_precision":
        aim = f"highest recall with precision >= {config.target:g}"
        return curve.recall, curve.precision >= config.target, aim
    aim = f"highest precision with recall >= {config.target:g}"
    return curve.precision, curve.recall >= config.target, aim


def _fallback(curve: Curve, aim: str) -> Threshold:
    scores = curve.f_beta(1.0)
    index = int(np.flatnonzero(scores == scores.max())[-1])
    reason = (
        f"not reached: no threshold for the {aim} (highest precision: {curve.precision.max():.4f}); "
        f"fell back to the highest F1: {scores[index]:.4f}"
    )
    return _at(curve, index, scores, reached=False, reason=reason)


def _at(curve: Curve, index: int, scores: Values, *, reached: bool, reason: str) -> Threshold:
    """The threshold in the middle of the gap below ``thresholds[index]``."""
    bins = np.rint(curve.thresholds * BINS).astype(int)
    above_lower = bins[index - 1] + 1 if index else 0  # upper edge of the next lower occupied bin
    return Threshold(
        value=float((bins[index] + above_lower) // 2 / BINS),
        reached=reached,
        precision=float(curve.precision[index]),
        recall=float(curve.recall[index]),
        score=float(scores[index]),
        reason=reason,
    )


def _fixed(curve: Curve, config: EvaluateConfig) -> Threshold:
    value = min(round(config.fixed_threshold * BINS), BINS - 1) / BINS
    index = int(np.searchsorted(curve.thresholds, value))  # the lowest occupied bin that is still predicted
    reason = f"fixed at {config.fixed_threshold:g}, not chosen from the data"
    if curve.positives == 0:
        return Threshold(value, True, None, None, None, reason)
    if index == len(curve.thresholds):
        return Threshold(value, True, None, 0.0, 0.0, reason)
    score = float(curve.f_beta(config.beta)[index])
    return Threshold(value, True, float(curve.precision[index]), float(curve.recall[index]), score, reason)


# --------------------------------------------------------------------------- files


def save_curves(path: Path, histograms: Histograms, classes: Sequence[str]) -> None:
    """Write histograms as a small ``.npz`` file, so that new thresholds need no inference.

    Only occupied bins are stored: ``slots`` is ``k * 65536 + bin`` of each. Readers see the old file or the new.

    Args:
        path: the file; replaced if it exists.
        histograms: of K classes.
        classes: the K names.
    """
    if len(classes) != len(histograms.positives):
        raise UsageError(f"classes must be {len(histograms.positives)} names, got {list(classes)}")
    slots = np.flatnonzero(histograms.positives + histograms.negatives)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        bins=np.array(BINS),
        classes=np.array(list(classes), dtype=str),
        slots=slots.astype(np.int64),
        positives=histograms.positives.ravel()[slots],
        negatives=histograms.negatives.ravel()[slots],
    )
    write_bytes(path, buffer.getvalue())


def load_curves(path: Path) -> tuple[Histograms, tuple[str, ...]]:
    """Read what `save_curves` wrote: the histograms and the names of their classes.

    Raises:
        FileNotFoundError: if there is no such file.
        BundleError: if the file is damaged, or holds something else. Nothing in it is ever executed (no pickles).
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return _unpack(stored)
    except (ValueError, TypeError, KeyError, IndexError, EOFError, BadZipFile, zlib.error) as error:
        raise BundleError(f"{path}: not a file of curves, or damaged ({error}); evaluate the model again") from error


def _unpack(stored: Any) -> tuple[Histograms, tuple[str, ...]]:  # noqa: ANN401 (numpy.lib.npyio.NpzFile)
    if int(stored["bins"]) != BINS:
        raise ValueError(f"{stored['bins']} bins instead of {BINS}")
    classes = tuple(str(name) for name in stored["classes"])
    histograms = Histograms.empty(len(classes))
    histograms.positives.reshape(-1)[stored["slots"]] = stored["positives"]
    histograms.negatives.reshape(-1)[stored["slots"]] = stored["negatives"]
    return histograms, classes
