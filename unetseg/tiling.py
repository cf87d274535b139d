"""Cut a scan into tiles whose kept parts equal the result on the whole scan.

A tile is read with a halo at least as wide as the network sees, at positions that its pooling grid shares with the
whole scan, and only its inner part is kept::

    outer (read)
    +--------------------------+
    |  halo                    |
    |     +--------------+     |
    |     | inner (kept) |     |
    |     +--------------+     |
    |                          |
    +--------------------------+

At the border of the scan there is no halo: the network pads there with zeros, as it does for the whole scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from unetseg.errors import UsageError

__all__ = ["Span", "Tile", "bands_of", "check_tile", "padded_size", "spans", "tiles_of"]


@dataclass(frozen=True)
class Span:
    """One axis of a tile, in pixels of the scan padded to a multiple of the stride.

    Attributes:
        inner: first pixel kept, and the first one after.
        outer: first pixel read, and the first one after.
    """

    inner: tuple[int, int]
    outer: tuple[int, int]

    @property
    def kept(self) -> slice:
        """Where the inner part lies within the tile."""
        return slice(self.inner[0] - self.outer[0], self.inner[1] - self.outer[0])


@dataclass(frozen=True)
class Tile:
    """A window of a scan: `rows` and `columns`."""

    rows: Span
    columns: Span


def padded_size(size: int, stride: int) -> int:
    """The smallest multiple of the stride that holds a side."""
    return -(-size // stride) * stride


def tiles_of(shape: tuple[int, int], *, tile: int, halo: int, stride: int) -> Iterator[Tile]:
    """All tiles of a scan, row by row; their inner parts cover it once, and all have the same size.

    Args:
        shape: height and width of the scan in pixels.
        tile: side of a tile in pixels, halo included; a scan side that is not longer is not cut.
        halo: pixels that the network sees on each side.
        stride: what tile positions and sizes must be multiples of.

    Raises:
        UsageError: a tile is too small to keep anything of it.
    """
    for rows, columns in product(*(spans(size, tile=tile, halo=halo, stride=stride) for size in shape)):
        yield Tile(rows, columns)


def spans(size: int, *, tile: int, halo: int, stride: int) -> list[Span]:
    """Cut one axis as `tiles_of` does: the fewest spans, all as long as each other, since engines like to see one size.

    Raises:
        UsageError: a tile is too small to keep anything of it.
    """
    whole, halo = padded_size(size, stride), padded_size(halo, stride)
    if size <= tile:
        return [Span((0, size), (0, whole))]
    tile = check_tile(tile, halo=halo, stride=stride)
    number = -(-(whole - 2 * halo) // (tile - 2 * halo))
    length = padded_size(-(-(whole + 2 * halo * (number - 1)) // number), stride)
    starts = [min(k * (length - 2 * halo), whole - length) for k in range(number)]
    ends = [start + length - halo for start in starts[:-1]] + [size]
    return [
        Span((begin, end), (start, start + length)) for begin, end, start in zip([0, *ends], ends, starts, strict=False)
    ]


def bands_of(height: int, *, rows: int, halo: int, stride: int) -> list[Span]:
    """Cut a scan into bands whose inner parts begin at multiples of ``rows``, so that each fills files of its own.

    Outer parts are as long as each other, those at the borders too: engines keep memory for each size that they see.

    Args:
        height: of the scan in pixels.
        rows: kept of each band, a multiple of the stride.
        halo: pixels that the network sees on each side.
        stride: what positions must be multiples of.
    """
    whole, halo = padded_size(height, stride), padded_size(halo, stride)
    length = min(rows + 2 * halo, whole)
    starts = (min(max(first - halo, 0), whole - length) for first in range(0, height, rows))
    return [
        Span((first, min(first + rows, height)), (start, start + length))
        for first, start in zip(range(0, height, rows), starts, strict=True)
    ]


def check_tile(tile: int, *, halo: int, stride: int) -> int:
    """Side of a tile in whole strides, of which something is kept.

    Args:
        tile: side in pixels, halo included.
        halo: in whole strides.
        stride: of the network.

    Raises:
        UsageError: nothing would be kept of it.
    """
    if tile // stride * stride <= 2 * halo:
        raise UsageError(
            f"predict.tile: must hold twice the network's halo of {halo} pixels and its stride of {stride}, "
            f"found {tile}; use at least {2 * halo + stride}"
        )
    return tile // stride * stride
