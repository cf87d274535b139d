"""The table of scores: a row per class, and three ways to average classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unetseg.errors import UsageError
from unetseg.histograms import Histograms
from unetseg.score_sums import SCORES, SURFACE_SCORES, check_counts, mean, scores_of_sums, summands
from unetseg.scores import FN, FP, TN, TP, Counts, Values, divide, specificity

__all__ = ["AGGREGATES", "Row", "check_names", "score_table"]

AGGREGATES = ("micro", "macro", "weighted")  # rows of a table that are no class

Row = dict[str, float | int | None]


def score_table(
    counts: Counts,
    classes: Sequence[str],
    thresholds: ArrayLike,
    histograms: Histograms,
    *,
    surfaces: Values | None = None,
) -> dict[str, Row]:
    """Every score of every class, and the three ways to average classes.

    ===========================  ===============================================================================
    column                       meaning in the row of a class
    ===========================  ===============================================================================
    ``recall, precision, f1``    of the pixels of all scans together
    ``dice, iou``                mean over the scans that hold the class (the "mean Dice" of papers)
    ``hausdorff95``              mean over the scans whose outlines were measured; lower is better
    ``surface_dice``             mean over the scans whose outlines were measured
    ``average_precision``        of the pixels of all scans together, over all thresholds
    ``threshold``                where the counts were taken
    ``support``                  scans that hold the class
    ``specificity``              of the pixels of all scans together
    ``scans_without``            scans that do not hold the class (and were not wholly ignored for it)
    ``false_positive_fraction``  mean over those scans of the fraction of pixels marked; None if there are none
    ===========================  ===============================================================================

    ``micro`` takes all classes as one: counts (for Dice and IoU: of each scan) and histograms are summed over classes;
    ``false_positive_fraction`` is the mean over all pairs of scan and absent class; outlines cannot be summed, so its
    ``hausdorff95`` and ``surface_dice`` are None. ``macro`` is the mean over classes, ``weighted`` that with weights
    1 / true pixels of the class. Both leave out what is not measurable and every class without a true pixel, and say
    how many remain: ``classes_measured``. Their ``support`` and ``scans_without`` count the scans that hold any class,
    and none; their threshold is None. The two columns of outlines are there only where ``surfaces`` is given.

    Args:
        counts: of each scan and class at ``thresholds``, ``(S, K, 4)``.
        classes: K names.
        thresholds: K thresholds.
        histograms: probabilities of the same pixels.
        surfaces: `SURFACE_SCORES` of each scan and class, ``(S, K, 2)``; nan where not measured.

    Returns:
        A row per class, then ``micro``, ``macro`` and ``weighted``. Not measurable is None.
    """
    check_names(counts, classes)
    _check_same_pixels(counts, histograms)
    limits = np.asarray(thresholds, np.float64)
    if limits.shape != (len(classes),):
        raise UsageError(f"thresholds must be {len(classes)} numbers, got shape {limits.shape}")
    outlines = _surface_rows(counts, surfaces)
    rows = {
        name: _row(counts[:, k : k + 1], histograms.curve(k).average_precision, limits[k]) | outlines[k]
        for k, name in enumerate(classes)
    }
    micro = _row(counts, histograms.pooled().curve(0).average_precision, np.nan) | dict.fromkeys(outlines[0])
    return rows | {"micro": micro} | _averages(list(rows.values()), micro, histograms.positives.sum(axis=1))


def check_names(counts: Counts, classes: Sequence[str]) -> None:
    """Refuse counts of another shape, and classes whose names are those of other rows."""
    check_counts(counts, classes)
    if reserved := set(classes) & set(AGGREGATES):
        raise UsageError(f"class names must not be {', '.join(AGGREGATES)}, got {sorted(reserved)}; rename the class")


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


def _surface_rows(counts: Counts, surfaces: Values | None) -> list[Row]:
    """The surface columns of each class; rows without columns where there are no surfaces."""
    if surfaces is None:
        return [{}] * counts.shape[1]
    scores = scores_of_sums(summands(counts, surfaces).sum(axis=0))[:, len(SCORES) :]
    return [dict(zip(SURFACE_SCORES, map(_plain, row), strict=True)) for row in scores]


def _row(counts: Counts, average_precision: float, threshold: float) -> Row:
    """The row of one class, ``(S, 1, 4)``, or of several taken as one, ``(S, K, 4)``."""
    merged = counts.sum(axis=1)
    values = dict(zip(SCORES, scores_of_sums(summands(merged[:, None]).sum(axis=0))[0], strict=True))
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
    return float(mean(divide(absent[:, FP], absent[:, FP] + absent[:, TN])))


def _averages(rows: Sequence[Row], micro: Row, positives: Counts) -> dict[str, Row]:
    """``macro`` and ``weighted``, of the rows of classes with any of their true pixels."""
    measured = [row for row, pixels in zip(rows, positives, strict=True) if pixels]
    scans = {key: micro[key] for key in ("support", "scans_without")}
    weights = {"macro": np.ones(len(measured)), "weighted": 1 / positives[positives > 0]}
    columns = [name for name in rows[0] if name not in (*scans, "threshold")]
    return {name: _averaged(measured, columns, each) | scans for name, each in weights.items()}


def _averaged(rows: Sequence[Row], columns: Sequence[str], weights: Values) -> Row:
    """Column by column the weighted mean of the rows of measured classes."""
    table = np.array([[row[column] for column in columns] for row in rows], np.float64).reshape(-1, len(columns))
    means = mean(table, axis=0, weights=weights[:, None])
    averaged = {column: _plain(value) for column, value in zip(columns, means, strict=True)}
    return {**averaged, "threshold": None, "classes_measured": len(rows)}


def _plain(value: Any) -> float | int | None:  # noqa: ANN401 (a NumPy or Python number)
    if isinstance(value, int):
        return value
    return None if np.isnan(value) else float(value)
