"""Stored numbers to colours: what min-is-white, inks and luminance stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cmyk_to_rgb", "inverted"]


def inverted(data: NDArray[Any], bits: int) -> NDArray[Any]:
    """Min-is-white as min-is-black, and back.

    Args:
        data: Bilevel or integer, of any shape.
        bits: How many of an unsigned number's bits are used.

    Returns:
        Of the same shape and type.
    """
    if data.dtype.kind in "bi":
        return np.asarray(~data)
    return np.asarray((2**bits - 1 - data).astype(data.dtype))


def cmyk_to_rgb(inks: NDArray[Any]) -> NDArray[Any]:
    """Cyan, magenta, yellow and black as red, green and blue, without a colour profile, as Pillow does for 8 bits.

    Args:
        inks: ``(H, W, 4)`` uint8 or uint16.

    Returns:
        ``(H, W, 3)`` of the same type.
    """
    full = int(np.iinfo(inks.dtype).max)
    rgb = np.empty((*inks.shape[:2], 3), inks.dtype)
    light = full - inks[..., 3].astype(np.uint32)
    for channel in range(3):
        # uint32 holds the product of two uint16; half of full rounds to the nearest
        rgb[..., channel] = light - (inks[..., channel] * light + full // 2) // full
    return rgb
