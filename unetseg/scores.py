"""Scores of binary segmentations from counts of pixels, with intervals that respect groups.

Counts are ``(..., 4)``: true positives, false positives, false negatives, true negatives. They are additive, so scores
of tiles, scans or classes pooled together are scores of summed counts.

Conventions where something is missing; not measurable is nan in arrays and None in tables:

- The functions follow their formula, and 0 / 0 is nan. So on a scan without the class whatever is marked makes
  precision, F-beta, Dice and IoU 0; where nothing is marked either they are nan, and recall is nan in both cases.
- Where there are true pixels but nothing is predicted, recall, F-beta, Dice and IoU are 0, and precision is nan.
- In tables, intervals and comparisons a class without a single true pixel is not measurable: all five are nan, and it
  is left out of averages, never averaged as 0. What is wrongly marked on scans without the class has its own number,
  ``false_positive_fraction``, and lowers specificity.

Source of the definitions: Maier-Hein et al. 2024, "Metrics reloaded", doi:10.1038/s41592-023-02151-z.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unetseg.config import EvaluateConfig
from unetseg.curves import Histograms, check_masks
from unetseg.errors import DataError, UsageError

__all__ = [
    "AGGREGATES",
    "FN",
    "FP",
    "SCORES",
    "TN",
    "TP",
    "Difference",
    "bootstrap_intervals",
    "count",
    "dice",
    "f_beta",
    "iou",
    "paired_difference",
    "precision",
    "recall",
    "score_table",
    "specificity",
]

TP, FP, FN, TN = range(4)  # columns of counts
SCORES = ("recall", "precision", "f1", "dice", "iou")  # scores that have an interval
_COMPARABLE = ("recall", "f1", "dice", "iou")  # measurable wherever the class is, whatever the model predicts
AGGREGATES = ("micro", "macro", "weighted")  # rows of a table that are no class

_MAX_VALUES = 1 << 22  # numbers held at once while drawing: 32 MB

Counts = NDArray[np.int64]
Values = NDArray[np.float64]
Numbers = NDArray[np.int64] | NDArray[np.float64]
Row = dict[str, float | int | None]
Interval = tuple[float, float] | None


# --------------------------------------------------------------------------- counts and their scores


def count(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Counts:
    """Count the pixels of one scan.

    Args:
        y_true: masks, ``(..., K)`` int8, uint8 or bool: 1 foreground, 0 background, negative ignored.
        y_pred: decisions, ``(..., K)`` bool, or integers that are 0 or 1.

    Returns:
        ``(K, 4)`` int64 with columns `TP`, `FP`, `FN`, `TN`; ignored pixels are in none of them.
    """
    check_masks(y_true, y_pred)
    if y_pred.dtype.kind not in "biu":
        raise UsageError(f"y_pred must be decisions (bool), got {y_pred.dtype}; pass y_pred >= thresholds")
    lowest, highest = int(y_pred.min(initial=0)), int(y_pred.max(initial=0))
    if lowest < 0 or highest > 1:
        raise UsageError(f"y_pred must be 0 or 1, got {lowest} to {highest}; pass y_pred > 0")
    return np.array([_count_class(y_true[..., k], y_pred[..., k] != 0) for k in range(y_true.shape[-1])])


def _count_class(truth: NDArray[Any], predicted: NDArray[np.bool_]) -> Counts:
    foreground, background = truth > 0, truth == 0
    tp, fp = np.count_nonzero(foreground & predicted), np.count_nonzero(background & predicted)
    fn, tn = np.count_nonzero(foreground) - tp, np.count_nonzero(background) - fp
    return np.array([tp, fp, fn, tn], np.int64)


def recall(counts: Numbers) -> Values:
    """``tp / (tp + fn)``, also sensitivity: ``(..., 4)`` to ``(...)``; nan without true pixels."""
    return _divide(counts[..., TP], counts[..., TP] + counts[..., FN])


def precision(counts: Numbers) -> Values:
    """``tp / (tp + fp)``: ``(..., 4)`` to ``(...)``; nan where nothing is predicted."""
    return _divide(counts[..., TP], counts[..., TP] + counts[..., FP])


def f_beta(counts: Numbers, *, beta: float = 1.0) -> Values:
    """``(1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp)``: ``(..., 4)`` to ``(...)``; b > 1 leans to recall."""
    weighted = (1 + beta**2) * counts[..., TP]
    return _divide(weighted, weighted + beta**2 * counts[..., FN] + counts[..., FP])


def dice(counts: Numbers) -> Values:
    """``2 tp / (2 tp + fp + fn)``: ``(..., 4)`` to ``(...)``; equals F1 of the same counts (doi:10.2307/1932409)."""
    return f_beta(counts, beta=1.0)


def iou(counts: Numbers) -> Values:
    """``tp / (tp + fp + fn)``: ``(..., 4)`` to ``(...)``; Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x."""
    return _divide(counts[..., TP], counts[..., TP] + counts[..., FP] + counts[..., FN])


def specificity(counts: Numbers) -> Values:
    """``tn / (tn + fp)``: ``(..., 4)`` to ``(...)``; nan without background."""
    return _divide(counts[..., TN], counts[..., TN] + counts[..., FP])


def _divide(numerator: ArrayLike, denominator: ArrayLike) -> Values:
    """Quotient, nan where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient: Values = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return quotient


def _mean(values: Values, *, axis: int = -1, weights: ArrayLike = 1.0) -> Values:
    """Weighted mean of what is not nan; nan where nothing is left."""
    present = ~np.isnan(values)
    weights = np.broadcast_to(np.asarray(weights, np.float64), values.shape)
    total = np.where(present, weights, 0.0).sum(axis)
    return _divide(np.where(present, values * weights, 0.0).sum(axis), total)


# --------------------------------------------------------------------------- additive sums


def _summands(counts: Counts) -> Values:
    """What must be added over scans to know all scores: ``(S, K, 4)`` to ``(S, K, 7)``.

    The four counts, the scan's Dice and IoU (0 where the class is absent), and whether the scan holds the class.
    """
    present = counts[..., TP] + counts[..., FN] > 0
    per_scan = [np.nan_to_num(score(counts)) for score in (dice, iou)]
    return np.concatenate([counts, np.stack([*per_scan, present], axis=-1)], axis=-1)


def _scores(sums: Values) -> Values:
    """`SCORES` of summed summands: ``(..., 7)`` to ``(..., 5)``.

    Recall, precision and F1 of all pixels together; Dice and IoU as means over the scans that hold the class. All nan
    where no scan holds it.
    """
    pooled, scans = sums[..., :4], sums[..., 6]
    means = [_divide(sums[..., column], scans) for column in (4, 5)]
    scores = np.stack([recall(pooled), precision(pooled), f_beta(pooled), *means], axis=-1)
    return np.where(scans[..., None] > 0, scores, np.nan)


def _check_counts(counts: NDArray[Any], classes: Sequence[str] | None = None) -> None:
    if counts.ndim != 3 or counts.shape[-1] != 4:
        raise UsageError(f"counts must be (scans, classes, 4), got {counts.shape}; stack what count() returns")
    if classes is None:
        return
    if len(classes) != counts.shape[1] or len(set(classes)) != len(classes):
        raise UsageError(f"classes must be {counts.shape[1]} different names, got {list(classes)}")
    if reserved := set(classes) & set(AGGREGATES):
        raise UsageError(f"class names must not be {', '.join(AGGREGATES)}, got {sorted(reserved)}; rename the class")


# --------------------------------------------------------------------------- table


def score_table(
    counts: Counts, classes: Sequence[str], thresholds: ArrayLike, histograms: Histograms
) -> dict[str, Row]:
    """Every score of every class, and the three ways to average classes.

    ===========================  ===============================================================================
    column                       meaning in the row of a class
    ===========================  ===============================================================================
    ``recall, precision, f1``    of the pixels of all scans together
    ``dice, iou``                mean over the scans that hold the class (the "mean Dice" of papers)
    ``average_precision``        of the pixels of all scans together, over all thresholds
    ``threshold``                where the counts were taken
    ``support``                  scans that hold the class
    ``specificity``              of the pixels of all scans together
    ``scans_without``            scans that do not hold the class (and were not wholly ignored for it)
    ``false_positive_fraction``  mean over those scans of the fraction of pixels marked; None if there are none
    ===========================  ===============================================================================

    ``micro`` takes all classes as one: counts (for Dice and IoU: of each scan) and histograms are summed over classes;
    ``false_positive_fraction`` is the mean over all pairs of scan and absent class. ``macro`` is the mean over
    classes, ``weighted`` the mean with weights 1 / true pixels of the class. Both leave out what is not measurable and
    every class without a true pixel, and say how many remain: ``classes_measured``. Their ``support`` and
    ``scans_without`` count the scans that hold any class, and none; their threshold is None.

    Args:
        counts: of each scan and class at ``thresholds``, ``(S, K, 4)``.
        classes: K names.
        thresholds: K thresholds.
        histograms: probabilities of the same pixels.

    Returns:
        A row per class, then ``micro``, ``macro`` and ``weighted``. Not measurable is None.
    """
    _check_counts(counts, classes)
    _check_same_pixels(counts, histograms)
    limits = np.asarray(thresholds, np.float64)
    if limits.shape != (len(classes),):
        raise UsageError(f"thresholds must be {len(classes)} numbers, got shape {limits.shape}")
    rows = {
        name: _row(counts[:, k : k + 1], histograms.curve(k).average_precision, limits[k])
        for k, name in enumerate(classes)
    }
    positives = histograms.positives.sum(axis=1)
    measured = [row for row, pixels in zip(rows.values(), positives, strict=True) if pixels]
    micro = _row(counts, histograms.pooled().curve(0).average_precision, np.nan)
    scans = {key: micro[key] for key in ("support", "scans_without")}
    macro = _averaged(measured, np.ones(len(measured))) | scans
    weighted = _averaged(measured, 1 / positives[positives > 0]) | scans
    return rows | {"micro": micro, "macro": macro, "weighted": weighted}


def _check_same_pixels(counts: Counts, histograms: Histograms) -> None:
    positives, negatives = histograms.positives.sum(axis=1), histograms.negatives.sum(axis=1)
    total = counts.sum(axis=0)
    here = np.stack([total[:, TP] + total[:, FN], total[:, FP] + total[:, TN]], axis=-1)
    there = np.stack([positives, negatives], axis=-1)
    if not np.array_equal(here, there):
        raise UsageError(
            "counts and histograms must be of the same pixels, got (foreground, background) pixels per class "
            f"{here.tolist()} and {there.tolist()}; take both from one pass over one split"
        )


def _row(counts: Counts, average_precision: float, threshold: float) -> Row:
    """The row of one class, ``(S, 1, 4)``, or of several taken as one, ``(S, K, 4)``."""
    merged = counts.sum(axis=1)
    values = dict(zip(SCORES, _scores(_summands(merged[:, None]).sum(axis=0))[0], strict=True))
    holding = merged[:, TP] + merged[:, FN] > 0
    without = ~holding & (merged.sum(axis=-1) > 0)
    numbers = {
        **values,
        "average_precision": average_precision,
        "threshold": threshold,
        "support": int(holding.sum()),
        "specificity": specificity(merged.sum(axis=0)),
        "scans_without": int(without.sum()),
        "false_positive_fraction": _false_positive_fraction(counts),
    }
    return {key: _plain(value) for key, value in numbers.items()}


def _false_positive_fraction(counts: Counts) -> float:
    """Mean over pairs of scan and class without true pixels of the fraction of their pixels that is marked."""
    absent = counts[counts[..., TP] + counts[..., FN] == 0]
    return float(_mean(_divide(absent[:, FP], absent[:, FP] + absent[:, TN])))


def _averaged(rows: Sequence[Row], weights: Values) -> Row:
    """Column by column the weighted mean of the rows of measured classes."""
    columns = [*SCORES, "average_precision", "specificity", "false_positive_fraction"]
    table = np.array([[row[column] for column in columns] for row in rows], np.float64).reshape(-1, len(columns))
    means = _mean(table, axis=0, weights=weights[:, None])
    averaged = {column: _plain(value) for column, value in zip(columns, means, strict=True)}
    return {**averaged, "threshold": None, "classes_measured": len(rows)}


def _plain(value: Any) -> float | int | None:  # noqa: ANN401 (a NumPy or Python number)
    if isinstance(value, int):
        return value
    return None if np.isnan(value) else float(value)


# --------------------------------------------------------------------------- bootstrap


def bootstrap_intervals(
    counts: Counts, classes: Sequence[str], groups: Sequence[str], config: EvaluateConfig
) -> dict[str, dict[str, Interval]]:
    """Percentile intervals of `SCORES` by drawing whole groups with replacement.

    Scans of one patient resemble each other; drawing scans or pixels would make the intervals far too narrow (Efron &
    Tibshirani 1993, doi:10.1201/9780429246593). A draw in which a class does not occur does not count for the class,
    and its ``macro`` is the mean over the classes that do occur.

    Args:
        counts: of each scan and class, ``(S, K, 4)``.
        classes: K names.
        groups: the group of each scan, S names.
        config: draws, confidence and seed.

    Returns:
        For each class and ``macro`` the ``(low, high)`` of each score; None where fewer than two groups hold it.
    """
    _check_counts(counts, classes)
    sums = _sum_groups(_summands(counts), groups)
    draws = np.concatenate([_scores(drawn) for drawn in _draws(sums, config)])
    holding = sums[..., 6] > 0
    enough = holding.sum(axis=0) >= 2
    intervals = {name: _intervals(draws[:, k], config, enough=bool(enough[k])) for k, name in enumerate(classes)}
    macro = _intervals(_mean(draws, axis=1), config, enough=int(holding.any(axis=1).sum()) >= 2)
    return intervals | {"macro": macro}


def _sum_groups(summands: Values, groups: Sequence[str]) -> Values:
    """Sums over the scans of each group: ``(S, ...)`` to ``(G, ...)``."""
    if len(groups) != len(summands) or not len(groups):
        raise UsageError(f"groups must name the group of each of {len(summands)} scans, got {len(groups)} names")
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), *summands.shape[1:]))
    np.add.at(sums, index, summands)
    return sums


def _draws(sums: Values, config: EvaluateConfig) -> Iterator[Values]:
    """Sums over groups drawn with replacement: ``(G, ...)`` to ``(some draws, ...)``, until all draws are done."""
    random = np.random.default_rng(config.seed)
    groups = len(sums)
    step = max(1, _MAX_VALUES // max(groups, sums[0].size))
    for start in range(0, config.draws, step):
        # How often each draw holds each group is multinomial: one matrix product replaces all the drawing.
        size = min(step, config.draws - start)
        yield np.tensordot(random.multinomial(groups, np.full(groups, 1 / groups), size=size), sums, 1)


def _intervals(draws: Values, config: EvaluateConfig, *, enough: bool) -> dict[str, Interval]:
    """An interval for each column of ``(D, 5)``."""
    return {score: _interval(draws[:, column], config) if enough else None for column, score in enumerate(SCORES)}


def _interval(draws: Values, config: EvaluateConfig) -> Interval:
    measured = draws[~np.isnan(draws)]
    if not measured.size:
        return None
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(measured, [tail, 1 - tail])
    return float(low), float(high)


# --------------------------------------------------------------------------- comparison of two models


@dataclass(frozen=True)
class Difference:
    """How much better model b is than model a, on the same scans.

    Attributes:
        mean_a: macro score of model a.
        mean_b: macro score of model b.
        difference: ``mean_b - mean_a``.
        low: lower end of the difference's interval; None with fewer than two groups that hold any class.
        high: upper end, likewise.
        probability_better: share of the draws in which b is better, ties counted half; None likewise.
    """

    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    probability_better: float | None


def paired_difference(
    counts_a: Counts, counts_b: Counts, groups: Sequence[str], score: str, config: EvaluateConfig
) -> Difference:
    """Compare the macro scores of two models on the same scans by a paired bootstrap over groups.

    Both models are scored on the same draws, so what makes a scan hard cancels out (doi:10.1201/9780429246593).

    Args:
        counts_a: of model a, ``(S, K, 4)``.
        counts_b: of model b, same scans and classes in the same order.
        groups: the group of each scan, S names.
        score: recall, f1, dice or iou. Precision is nan where a model marks nothing, so that the two means would be
            over other classes; average precision needs probabilities.
        config: draws, confidence and seed.

    Raises:
        UsageError: for another score, or counts that are not of the same masks.
        DataError: if the scans hold no class that could be measured.
    """
    column = _comparable(counts_a, counts_b, score)
    sums = [_sum_groups(_summands(counts), groups) for counts in (counts_a, counts_b)]
    mean_a, mean_b = (float(_mean(_scores(added.sum(axis=0))[..., column])) for added in sums)
    if np.isnan(mean_a):  # then mean_b is nan as well: that depends on the masks alone
        raise DataError(f"{score} cannot be compared: no class is measurable on the {len(groups)} scans; add scans")
    if int((sums[0][..., 6] > 0).any(axis=1).sum()) < 2:
        return Difference(mean_a, mean_b, mean_b - mean_a, low=None, high=None, probability_better=None)
    # The same seed draws the same groups for both, and the same arithmetic makes equal models differ by exactly 0.
    macro_a, macro_b = (
        np.concatenate([_mean(_scores(drawn)[..., column]) for drawn in _draws(added, config)]) for added in sums
    )
    gains = (macro_b - macro_a)[~np.isnan(macro_a)]
    low, high = _interval(gains, config) or (None, None)
    better = float(((gains > 0) + 0.5 * (gains == 0)).mean())
    return Difference(mean_a, mean_b, mean_b - mean_a, low=low, high=high, probability_better=better)


def _comparable(counts_a: Counts, counts_b: Counts, score: str) -> int:
    """The column of ``score``, once both models are known to be scored on the same masks."""
    if score not in _COMPARABLE:
        raise UsageError(f"score must be one of {', '.join(_COMPARABLE)}, got {score!r}; counts cannot compare others")
    _check_counts(counts_a)
    _check_counts(counts_b)
    truth_a, truth_b = (np.stack([c[..., TP] + c[..., FN], c[..., FP] + c[..., TN]]) for c in (counts_a, counts_b))
    if not np.array_equal(truth_a, truth_b):
        raise UsageError(
            f"counts_a and counts_b must be of the same scans and masks, got {counts_a.shape} and {counts_b.shape} "
            "with other numbers of true pixels; score both models on one split"
        )
    return SCORES.index(score)
