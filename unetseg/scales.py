"""Masks for the outputs of a network at several scales: 1, 1/2, 1/4 ... of the size.

Each pixel of the smaller mask is what most pixels of its block are, so that the loss of a coarse output is measured
against masks of the same meaning: 1 in the class, 0 outside, -1 to ignore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import UsageError

__all__ = ["masks_at_scale", "scaled_targets"]

Masks = NDArray[np.int8]


def masks_at_scale(masks: NDArray[Any], factor: int) -> Masks:
    """Masks of 1 / ``factor`` of the size, by majority among the pixels that count.

    A block of which as many pixels are in the class as outside becomes 1: thin structures last longer. A block of which
    no pixel counts becomes -1. Blocks that stick out at the bottom or right cover what is there.

    Args:
        masks: ``(H, W, K)`` or ``(N, H, W, K)`` int8 (or bool, uint8): 1 in the class, 0 outside, negative to ignore.
        factor: Side of a block in pixels; 1 leaves the masks as they are.

    Returns:
        ``(..., ceil(H / factor), ceil(W / factor), K)`` int8: 1, 0 or -1.

    Raises:
        UsageError: for other shapes or types, and a factor below 1.
    """
    _check(masks, factor)
    if factor == 1:
        return masks.astype(np.int8, copy=False)
    sums = _block_sums(_votes(_padded(masks, factor), factor), factor)
    smaller: Masks = (sums > 0).astype(np.int8) - (sums == 0).astype(np.int8)
    return smaller


def scaled_targets(masks: NDArray[Any], scales: Mapping[str, int]) -> dict[str, Masks]:
    """The masks for every output of a network, as ``y`` of ``model.fit``.

    Args:
        masks: ``(N, H, W, K)`` int8 (or bool, uint8): 1 in the class, 0 outside, negative to ignore.
        scales: The factor of each output by name, as :func:`unetseg.heads.output_scales` tells it.

    Returns:
        Masks by name of the output, each made from the full masks.

    Example:
        >>> masks = np.ones((2, 64, 64, 3), np.int8)
        >>> targets = scaled_targets(masks, {"probabilities": 1, "probabilities_2": 2})
        >>> {name: target.shape for name, target in targets.items()}
        {'probabilities': (2, 64, 64, 3), 'probabilities_2': (2, 32, 32, 3)}
    """
    return {name: masks_at_scale(masks, factor) for name, factor in scales.items()}


def _check(masks: NDArray[Any], factor: int) -> None:
    if masks.ndim not in (3, 4):
        raise UsageError(f"masks must be (H, W, K) or (N, H, W, K), got {masks.shape}; add the class axis")
    if masks.dtype not in (np.int8, np.uint8, np.bool_):
        raise UsageError(f"masks must be int8, uint8 or bool, got {masks.dtype}; convert with masks.astype('int8')")
    if (highest := int(masks.max(initial=0))) > 1:
        raise UsageError(f"masks must be 1, 0 or negative (ignored), got {highest}; pass masks > 0")
    if factor < 1:
        raise UsageError(f"factor must be at least 1, got {factor}; 2 halves the size")


def _padded(masks: NDArray[Any], factor: int) -> NDArray[Any]:
    """Masks with whole blocks only; what is added does not count."""
    height, width = masks.shape[-3:-1]
    bottom, right = -height % factor, -width % factor
    if not bottom and not right:
        return masks
    around = [(0, 0)] * (masks.ndim - 3) + [(0, bottom), (0, right), (0, 0)]
    return np.pad(masks.astype(np.int8), around, constant_values=-1)


def _votes(masks: NDArray[Any], factor: int) -> NDArray[Any]:
    """One number per pixel, of which the sign of a block's sum is the block's mask.

    In the class it is b + 1, b being the pixels of a block, outside -b, and 0 where it does not count. So with as many
    votes for as against, the surplus of 1 decides for the class; one vote more against outweighs every surplus; and
    the sum is 0 only where no pixel counts.
    """
    pixels = factor * factor
    # The narrowest type that holds a block full of votes: adding up is several times faster than in int64.
    kind = np.min_scalar_type(-pixels * (pixels + 1)).type
    votes: NDArray[Any] = (masks > 0).astype(kind) * kind(2 * pixels + 1)
    votes -= (masks >= 0).astype(kind) * kind(pixels)
    return votes


def _block_sums(votes: NDArray[Any], factor: int) -> NDArray[Any]:
    """Sums of blocks: ``(..., H, W, K)`` to ``(..., H / factor, W / factor, K)``."""
    *samples, height, width, classes = votes.shape
    # Rows first, since whole rows lie one after the other in memory; adding slices is 4 times faster than sum() here.
    rows = votes.reshape(-1, factor, width * classes).sum(axis=1, dtype=votes.dtype)
    columns = rows.reshape(-1, factor, classes)
    sums: NDArray[Any] = columns[:, 0].copy()
    for column in range(1, factor):
        sums += columns[:, column]
    return sums.reshape(*samples, height // factor, width // factor, classes)
