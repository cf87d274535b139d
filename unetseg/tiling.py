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

__all__ = ["Span", "Tile", "padded_size", "tiles_of"]


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
    """All tiles of a scan, row by row; their inner parts cover it once.

    Args:
        shape: height and width of the scan in pixels.
        tile: side of a tile in pixels, halo included; a scan side that is not longer is not cut.
        halo: pixels that the network sees on each side.
        stride: what tile positions and sizes must be multiples of.

    Raises:
        UsageError: a tile is too small to keep anything of it.
    """
    halo = padded_size(halo, stride)
    if tile // stride * stride <= 2 * halo and max(shape) > tile:
        raise UsageError(
            f"predict.tile: must hold twice the network's halo of {halo} pixels and its stride of {stride}, "
            f"found {tile}; use at least {2 * halo + stride}"
        )
    for rows, columns in product(*(_spans(size, tile, halo, stride) for size in shape)):
        yield Tile(rows, columns)


def _spans(size: int, tile: int, halo: int, stride: int) -> list[Span]:
    """Spans along one axis; with a halo of whole strides, outer parts start and end at multiples of the stride."""
    whole = padded_size(size, stride)
    if size <= tile:
        return [Span((0, size), (0, whole))]
    step = tile // stride * stride - 2 * halo
    return [
        Span(inner=(start, min(start + step, size)), outer=(max(start - halo, 0), min(start + step + halo, whole)))
        for start in range(0, size, step)
    ]
