"""How far predicted outlines lie from true ones: Hausdorff-95 and surface Dice.

The outline of a mask is its pixels with a background pixel (or the scan's border) above, below, left or right.
Distances are between pixel centres, and every outline pixel weighs the same.

Conventions:

- A class that is absent from the scan is not measurable: both are nan, also where something was predicted.
- There, but nothing predicted: Hausdorff-95 is the scan's diagonal, which is longer than any distance in it; surface
  Dice is 0.
- Ignored pixels count as background in both masks. What is predicted on them is neither right nor wrong, and where the
  true object and the prediction both run into them, their outlines meet there, as they do at the scan's border.

Sources: Huttenlocher et al. 1993, doi:10.1109/34.232073 (Hausdorff distance); Nikolov et al. 2021, doi:10.2196/26151
(surface Dice at a tolerance); Maier-Hein et al. 2024, "Metrics reloaded", doi:10.1038/s41592-023-02151-z.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from unetseg.errors import UsageError
from unetseg.scores import check_decisions

__all__ = ["surface_distances"]

_PERCENTILE = 95  # of each direction's distances; the greatest one alone would be about a single pixel
_ROUNDING = 1e-9  # relative: three pixels of 0.1 are within 0.3, although 3 * 0.1 > 0.3

Mask = NDArray[np.bool_]
Values = NDArray[np.float64]
Spacing = tuple[float, float]


def surface_distances(
    y_true: NDArray[Any], y_pred: NDArray[Any], *, spacing: Spacing = (1.0, 1.0), tolerance: float
) -> Values:
    """Hausdorff-95 and surface Dice of each class on one scan.

    Args:
        y_true: masks, ``(H, W, K)`` int8, uint8 or bool: 1 foreground, 0 background, negative ignored.
        y_pred: decisions, ``(H, W, K)`` bool, or integers that are 0 or 1.
        spacing: ``(y, x)`` size of a pixel; (1, 1) measures in pixels.
        tolerance: distance in the unit of ``spacing`` up to which outlines agree.

    Returns:
        ``(K, 2)`` float64. Column 0: Hausdorff-95 in the unit of ``spacing``, the greater of the 95th percentiles of
        the distances from true outline to predicted and back. Column 1: surface Dice, the share of both outlines'
        pixels that lie within ``tolerance`` of the other outline. nan where the class is absent.

    Raises:
        UsageError: for shapes or types that do not fit, masks that are not 0/1, a spacing or tolerance out of range.
    """
    _check(y_true, y_pred, spacing, tolerance)
    found = [_one_class(y_true[..., k], y_pred[..., k], spacing, tolerance) for k in range(y_true.shape[-1])]
    return np.array(found, np.float64).reshape(-1, 2)


def _check(y_true: NDArray[Any], y_pred: NDArray[Any], spacing: Spacing, tolerance: float) -> None:
    check_decisions(y_true, y_pred)
    if y_true.ndim != 3:
        raise UsageError(f"y_true must be (H, W, classes), got {y_true.shape}; add the missing axis")
    if len(spacing) != 2 or not all(0 < side < math.inf for side in spacing):
        raise UsageError(f"spacing must be the two sides (y, x) of a pixel, above 0, got {spacing}")
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"tolerance must be 0 or a distance in the unit of spacing, got {tolerance}")


def _one_class(y_true: NDArray[Any], y_pred: NDArray[Any], spacing: Spacing, tolerance: float) -> tuple[float, float]:
    true, predicted = y_true > 0, (y_pred != 0) & (y_true >= 0)
    if not true.any():
        return math.nan, math.nan
    if not predicted.any():
        return math.hypot(y_true.shape[0] * spacing[0], y_true.shape[1] * spacing[1]), 0.0
    forth, back = _distances(*_cropped(true, predicted), spacing)
    hausdorff = max(np.percentile(forth, _PERCENTILE), np.percentile(back, _PERCENTILE))
    within = np.concatenate([forth, back]) <= tolerance * (1 + _ROUNDING)
    return float(hausdorff), float(within.mean())


def _cropped(true: Mask, predicted: Mask) -> tuple[Mask, Mask]:
    """Both masks in the smallest box that holds both, so that small objects in huge scans are quick."""
    box = ndimage.find_objects((true | predicted).view(np.int8))[0]
    return true[box], predicted[box]


def _distances(true: Mask, predicted: Mask, spacing: Spacing) -> tuple[Values, Values]:
    """Distance of each true outline pixel to the predicted outline, and of each predicted one to the true outline."""
    # A tree of the outlines' pixels is as exact as distance maps, and its memory grows with outlines, not with areas.
    outlines = [_outline(mask) * np.asarray(spacing) for mask in (true, predicted)]
    trees = [KDTree(outline, balanced_tree=False, compact_nodes=False) for outline in outlines]
    return trees[1].query(outlines[0])[0], trees[0].query(outlines[1])[0]


def _outline(mask: Mask) -> NDArray[np.intp]:
    """Coordinates of the outline's pixels, ``(n, 2)``."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))
