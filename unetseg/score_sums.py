"""What is added over scans so that all scores of any set of scans are known: the ground of tables and intervals.

Conventions; not measurable is nan in arrays and None in tables:

- A class without a single true pixel in the scans is not measurable: all its scores are nan, and it is left out of
  means over classes, never averaged as 0. What is wrongly marked on scans without the class has its own number in the
  table, ``false_positive_fraction``, and lowers specificity.
- Recall, precision and F1 are of the pixels of all scans together; Dice, IoU, Hausdorff-95 and surface Dice are means
  over the scans that hold the class; the last two leave out scans whose outlines were not measured.
- A class that is there and nowhere predicted has recall, F1, Dice, IoU and surface Dice 0, no precision, and as its
  Hausdorff-95 the mean of the scans' diagonals (see `unetseg.surface_distances`).
- A wholly ignored scan changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unetseg.errors import UsageError
from unetseg.scores import FN, TP, Counts, Values, dice, divide, f_beta, iou, precision, recall

__all__ = [
    "MEASURED",
    "PRESENT",
    "SCORES",
    "SURFACE_SCORES",
    "add_groups",
    "check_counts",
    "class_scores",
    "mean",
    "scores_of_sums",
    "summands",
]

SCORES = ("recall", "precision", "f1", "dice", "iou")  # columns of scores from counts alone
SURFACE_SCORES = ("hausdorff95", "surface_dice")  # and of those that need outlines

# Columns of summands. The first two say whether a scan counts, and once added how many do.
PRESENT, MEASURED = 6, 7
_DICE, _IOU, _SURFACES = 4, 5, slice(8, 10)


def summands(counts: Counts, surfaces: Values | None = None) -> Values:
    """What must be added over scans: ``(S, K, 4)`` to ``(S, K, 7)``, or ``(S, K, 10)`` with surfaces.

    The four counts, the scan's Dice and IoU, whether the scan holds the class, whether its outlines were measured, and
    its two surface scores. What is not measurable on a scan is 0, which adds nothing.

    Args:
        counts: of each scan and class, ``(S, K, 4)``.
        surfaces: `SURFACE_SCORES` of each scan and class, ``(S, K, 2)``; nan where the class is absent, and where
            outlines were not measured.
    """
    present = counts[..., TP] + counts[..., FN] > 0
    per_scan = [np.where(present, score(counts), 0.0) for score in (dice, iou)]
    columns = [counts, np.stack([*per_scan, present], axis=-1)]
    if surfaces is not None:
        measured = _measured(surfaces, present)
        columns += [measured[..., None], np.nan_to_num(surfaces)]
    return np.concatenate(columns, axis=-1)


def _measured(surfaces: Values, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the outlines of a class were measured, ``(S, K)``."""
    if surfaces.shape != (*present.shape, len(SURFACE_SCORES)):
        raise UsageError(
            f"surfaces must be (scans, classes, {len(SURFACE_SCORES)}) for counts of {present.shape}, got "
            f"{surfaces.shape}; stack what surface_distances() returns"
        )
    measured = np.asarray(~np.isnan(surfaces).any(axis=-1))
    if wrong := np.argwhere(measured & ~present).tolist():
        raise UsageError(
            f"surfaces must be nan where a scan does not hold the class, got numbers at (scan, class) {wrong[0]}; take "
            "counts and surfaces of the same masks"
        )
    return measured


def scores_of_sums(sums: Values) -> Values:
    """Scores of summed summands: ``(..., 7)`` to ``(..., 5)``, `SCORES`; with surfaces ``(..., 10)`` to ``(..., 7)``.

    All nan where no scan holds the class.
    """
    pooled, scans = sums[..., :4], sums[..., PRESENT]
    means = [divide(sums[..., column], scans) for column in (_DICE, _IOU)]
    scores = np.stack([recall(pooled), precision(pooled), f_beta(pooled), *means], axis=-1)
    scores = np.where(scans[..., None] > 0, scores, np.nan)
    if sums.shape[-1] <= MEASURED:
        return scores
    return np.concatenate([scores, divide(sums[..., _SURFACES], sums[..., MEASURED, None])], axis=-1)


def class_scores(counts: Counts) -> Values:
    """`SCORES` of each class over all scans: ``(S, K, 4)`` to ``(K, 5)``; nan where not measurable."""
    check_counts(counts)
    return scores_of_sums(summands(counts).sum(axis=0))


def add_groups(per_scan: Values, groups: Sequence[str]) -> Values:
    """Sums over the scans of each group, groups in alphabetical order: ``(S, ...)`` to ``(G, ...)``."""
    if len(groups) != len(per_scan) or not len(groups):
        raise UsageError(f"groups must name the group of each of {len(per_scan)} scans, got {len(groups)} names")
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), *per_scan.shape[1:]))
    np.add.at(sums, index, per_scan)
    return sums


def mean(values: Values, *, axis: int = -1, weights: ArrayLike = 1.0) -> Values:
    """Weighted mean of what is not nan; nan where nothing is left."""
    present = ~np.isnan(values)
    weights = np.broadcast_to(np.asarray(weights, np.float64), values.shape)
    total = np.where(present, weights, 0.0).sum(axis)
    return divide(np.where(present, values * weights, 0.0).sum(axis), total)


def check_counts(counts: NDArray[Any], classes: Sequence[str] | None = None) -> None:
    """Refuse counts that are not ``(S, K, 4)``, and names that are not K different ones."""
    if counts.ndim != 3 or counts.shape[-1] != 4:
        raise UsageError(f"counts must be (scans, classes, 4), got {counts.shape}; stack what count() returns")
    if classes is not None and (len(classes) != counts.shape[1] or len(set(classes)) != len(classes)):
        raise UsageError(f"classes must be {counts.shape[1]} different names, got {list(classes)}")
