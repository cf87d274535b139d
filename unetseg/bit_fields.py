"""Masks of many classes as one integer per pixel: bit k is class k, the bit after the last class says "ignore".

Overlapping classes fit, one small array per scan holds them all, and equal masks are equal numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetseg.counting import count_values
from unetseg.errors import UsageError

__all__ = ["MOST_CLASSES", "count_fields", "field_dtype", "pack", "unpack", "unpack_guides"]

Fields = NDArray[np.unsignedinteger]

MOST_CLASSES = 63
"""A field is at most 64 bits, one of which says "ignore"."""

_TABLE_BITS = 16  # up to here a table of all fields is smaller than a patch


def field_dtype(classes: int) -> np.dtype[np.unsignedinteger]:
    """The smallest unsigned integer that holds a bit per class and one for "ignore".

    Raises:
        UsageError: more classes than 64 bits hold.
    """
    if classes > MOST_CLASSES:
        raise UsageError(f"classes: at most {MOST_CLASSES} can be stored, found {classes}; merge some")
    return np.dtype(next(f"uint{bits}" for bits in (8, 16, 32, 64) if classes + 1 <= bits))


def pack(masks: NDArray[np.int8]) -> Fields:
    """Turn one plane per class into bit fields.

    Args:
        masks: ``(H, W, K)``: 1 class, 0 not, -1 ignore (on all classes).

    Returns:
        ``(H, W)`` of `field_dtype`.
    """
    classes = masks.shape[-1]
    fields = np.zeros(masks.shape[:2], field_dtype(classes))
    for k in range(classes):
        fields |= (masks[..., k] == 1).astype(fields.dtype) << fields.dtype.type(k)
    fields[(masks < 0).any(axis=-1)] = 1 << classes
    return fields


def unpack(fields: Fields, classes: int) -> NDArray[np.int8]:
    """Turn bit fields into one plane per class.

    Args:
        fields: ``(H, W)`` unsigned integers.
        classes: K, how many there are.

    Returns:
        ``(H, W, K)``: 1 class, 0 not, -1 ignore (on all classes).
    """
    if classes < _TABLE_BITS:
        table = _unpacked(np.arange(2 << classes, dtype=np.uint32), classes)
        return table.take(fields, axis=0)
    return _unpacked(fields, classes)


def unpack_guides(fields: Fields, guides: int) -> NDArray[np.uint8]:
    """Turn bit fields into one plane per guide, ``(H, W, G)`` of 0 and 1; guides know no "ignore"."""
    return np.ascontiguousarray(unpack(fields, guides)).view(np.uint8)


def _unpacked(fields: Fields, classes: int) -> NDArray[np.int8]:
    bits = fields[..., np.newaxis] >> np.arange(classes, dtype=fields.dtype) & fields.dtype.type(1)
    masks = bits.astype(np.int8)
    masks[fields >> fields.dtype.type(classes) & fields.dtype.type(1) == 1] = -1
    return masks


def count_fields(fields: Fields) -> dict[int, int]:
    """How many pixels have each field that occurs."""
    values, counts = count_values([fields])
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
