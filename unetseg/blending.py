"""Overlapping tiles that are blended: for networks that see the whole tile, so that no halo makes tiles exact.

Instance and group normalisation take their statistics from the tile, and neighbours disagree wherever they meet. So
each pixel is a mean over the tiles that hold it, whose weights fall off smoothly from the middle of a tile::

    first tile   |---------==========---------|
    second tile                |---------==========---------|
    weight       full at =, almost none at |

Half a tile of overlap and a Gaussian of an eighth of its side are nnU-Net's: Isensee et al. 2021,
https://doi.org/10.1038/s41592-020-01008-z. That takes up to four times the arithmetic of tiles that do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unetseg.tiling import Span, check_tile, padded_size

__all__ = ["BLENDED", "blended_bands", "finished", "importance", "overlapping", "shares"]

BLENDED: Final = "larger than a tile, so segmented in tiles that overlap and are blended: nearly as in one piece"
"""What is said of a scan that went this way."""

_SIGMA: Final = 1 / 8  # of a tile's side

Window = tuple[int, int]
"""First pixel of a tile along an axis, and the first one after."""


def overlapping(outer: Window, *, tile: int, halo: int, stride: int) -> list[Window]:
    """Tiles along an axis that overlap by half, all of one size; the last one ends with the scan.

    A band that begins and ends with tiles of the scan has just those of the scan.

    Args:
        outer: the padded scan, or a band as `blended_bands` makes them.
        tile: side of a tile in pixels.
        halo: pixels that the network's windows see on each side.
        stride: of the network; positions are multiples of it.

    Raises:
        UsageError: a tile is no larger than twice the halo, so that every pixel of it would miss some of its context.
    """
    first, last = outer
    length = min(padded_size(tile, stride), last - first)
    if length < last - first:
        check_tile(tile, halo=padded_size(halo, stride), stride=stride)
    step = max(length // 2 // stride * stride, stride)
    return [(start, start + length) for start in (*range(first, last - length, step), last - length)]


def blended_bands(height: int, *, rows: int, tile: int, halo: int, stride: int) -> list[Span]:
    """Cut a scan into bands whose outer parts hold every tile that has a share in their inner rows.

    Args:
        height: of the scan in pixels.
        rows: kept of each band.
        tile: side of a tile in pixels.
        halo: pixels that the network's windows see on each side.
        stride: of the network.
    """
    tiles = overlapping((0, padded_size(height, stride)), tile=tile, halo=halo, stride=stride)
    bands = []
    for first in range(0, height, rows):
        last = min(first + rows, height)
        touching = [(start, stop) for start, stop in tiles if start < last and stop > first]
        bands.append(Span((first, last), (touching[0][0], touching[-1][1])))
    return bands


def importance(length: int) -> NDArray[np.float64]:
    """Weights of the pixels of a tile along an axis, ``(length,)``; 1 in the middle, and nowhere 0."""
    offset = np.arange(length) - (length - 1) / 2
    weights: NDArray[np.float64] = np.exp(-0.5 * (offset / (_SIGMA * length)) ** 2)
    return weights


def shares(tiles: Sequence[Window]) -> list[NDArray[np.float32]]:
    """Each tile's share in the pixels along an axis: of all tiles together 1 in every pixel.

    The weight of a tile is the product of those of its row and its column, and so are shares.

    Args:
        tiles: in order, of one size.
    """
    first, weights = tiles[0][0], importance(tiles[0][1] - tiles[0][0])
    total = np.zeros(tiles[-1][1] - first)
    for start, stop in tiles:
        total[start - first : stop - first] += weights
    return [(weights / total[start - first : stop - first]).astype(np.float32) for start, stop in tiles]


def finished(tiles: Sequence[Window], size: int) -> list[int]:
    """Up to which pixel of a scan of that size all is said, once each tile along an axis is done."""
    return [*(following[0] for _, following in pairwise(tiles)), size]
