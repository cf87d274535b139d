"""How often each value occurs: exact, and fast for the small integers that scans and masks are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["count_small", "count_values", "is_small"]

_CHANNELS = 4  # of a picture in which bytes are counted
_FEW = 16  # values that are counted one after the other in less time than a histogram takes


def is_small(dtype: np.dtype[Any]) -> bool:
    """Whether every value of a type has a place in a table: booleans and unsigned integers of up to 16 bits."""
    return dtype.kind in "bu" and dtype.itemsize <= 2


def count_small(values: NDArray[Any]) -> NDArray[np.int64]:
    """How often each value occurs, from 0 to the largest of the type.

    Args:
        values: of any shape, of a type that `is_small`.
    """
    if (counts := _count_few(values)) is not None:
        return counts
    if values.dtype.itemsize == 1:
        return _count_bytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
    return np.bincount(values.ravel(), minlength=1 << 16)


def _count_bytes(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pillow's histogram of a picture of four channels: bincount would widen every pixel to eight bytes first.

    With a table for every fourth pixel, equal neighbours need not wait for each other.
    """
    from PIL import Image

    whole = values.size // _CHANNELS * _CHANNELS
    picture = Image.frombuffer("RGBA", (whole // _CHANNELS, 1), values[:whole], "raw", "RGBA", 0, 1)
    counts = np.bincount(values[whole:], minlength=1 << 8)
    found = np.fromiter(picture.histogram(), np.int64)  # half the time that an array of the list takes
    counts += found.reshape(_CHANNELS, -1).sum(axis=0)
    return counts


def _count_few(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Counts of an array as masks are: few small numbers, or 0 and another; None for others.

    A histogram waits for its own last step wherever neighbours are equal; comparisons do not.
    """
    largest = int(values.max())
    candidates = range(largest + 1) if largest < _FEW else (0, largest)
    counts = np.zeros(1 << 8 * values.dtype.itemsize, np.int64)
    for value in candidates:
        counts[value] = np.count_nonzero(values == value)
    return counts if counts.sum() == values.size else None


def count_values(parts: Iterable[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The values that occur in several arrays of one type, in order, and how often each does."""
    counted = [_counted(part) for part in parts]
    values = np.concatenate([found for found, _ in counted])
    counts = np.concatenate([number for _, number in counted])
    if len(counted) == 1:
        return values, counts
    unique, place = np.unique(values, return_inverse=True)
    total = np.zeros(len(unique), np.int64)
    np.add.at(total, place, counts)
    return unique, total


def _counted(part: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if not is_small(part.dtype):
        return np.unique(part, return_counts=True)
    counts = count_small(part)
    values = np.flatnonzero(counts)
    return values, counts[values]
