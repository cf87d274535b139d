"""Pyramids: smaller levels of masks and labels, for viewers that show a large scan as a whole.

Each pixel of a level is the largest of the 2 x 2 pixels of the level below. So what is found wins over what is not: a
thread of one pixel stays a thread at every level, where nearest neighbours would tear it and a majority would erase it.
No value comes up that was not there, which labels need; where classes or objects meet, the higher number wins. Areas
are therefore only to be measured at level 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from unetseg.output_kinds import Planes
from unetseg.zarr_arrays import StoredArray, create_array, shard_rows, write_rows

__all__ = ["Reduced", "add_levels", "halve", "level_count", "next_level", "pick_level", "reduced_levels", "thinned"]

_SMALLEST = 1024  # pixels: the larger side of a level that any viewer shows at once
_READ_ROWS = 512  # of a scan, read at once where it has no levels


def level_count(height: int, width: int) -> int:
    """How many levels a scan has, itself included: halved until its larger side is at most 1024 pixels."""
    levels = 1
    while -(-max(height, width) // 2 ** (levels - 1)) > _SMALLEST:
        levels += 1
    return levels


def halve(values: NDArray[Any]) -> NDArray[Any]:
    """The level above: ``(..., h, w)`` becomes ``(..., ceil(h / 2), ceil(w / 2))``."""
    tall = _larger(values[..., ::2, :], values[..., 1::2, :])
    return _larger(tall[..., ::2], tall[..., 1::2])


def _larger(even: NDArray[Any], odd: NDArray[Any]) -> NDArray[Any]:
    """The larger of two neighbours; an even one at the end may have none."""
    out = even.copy()
    both = out[..., : odd.shape[-2], : odd.shape[-1]]
    np.maximum(both, odd, out=both)
    return out


class Reduced:
    """A level of planes that are not in memory, made of those rows that are asked for.

    Args:
        planes: of level 0, ``(C, H, W)``.
        level: how often they are halved.

    Attributes:
        shape: of the level.
    """

    def __init__(self, planes: Planes, level: int) -> None:
        self._planes, self._level = planes, level
        classes, *sides = planes.shape
        self.shape: tuple[int, ...] = (classes, *(-(-side // 2**level) for side in sides))

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[Any]:
        """Rows of some classes, ``(c, h, w)``."""
        start, stop, _ = part[1].indices(self.shape[1])
        rows = max(_READ_ROWS >> self._level, 1)
        pieces = [(top, min(top + rows, stop)) for top in range(start, max(stop, start + 1), rows)]
        return np.concatenate([self._reduce(part[0], *piece) for piece in pieces], axis=1)

    def _reduce(self, classes: slice, start: int, stop: int) -> NDArray[Any]:
        found: NDArray[Any] = self._planes[classes, start << self._level : stop << self._level]
        for _ in range(self._level):
            found = halve(found)
        return found


def reduced_levels(planes: Planes) -> list[Planes]:
    """All levels of planes, those included; in memory where they are."""
    levels = [planes]
    for level in range(1, level_count(*planes.shape[1:])):
        below = levels[-1]
        levels.append(halve(below) if isinstance(below, np.ndarray) else Reduced(planes, level))
    return levels


def add_levels(folder: Path, *, chunk: int, first: StoredArray | None = None, known: NDArray[Any] | None = None) -> int:
    """Write the arrays ``1``, ``2`` ... of a local image whose array ``0`` is there.

    Args:
        folder: of the image.
        chunk: side of a chunk in pixels.
        first: array ``0``, where it is open.
        known: what array ``0`` holds, where that is in memory; else the levels are read and written shard by shard.

    Returns:
        How many levels there are now.
    """
    below = first or StoredArray(folder / "0")
    levels = level_count(*below.shape[-2:])
    for level in range(1, levels):
        array = _begin_level(folder / str(level), below, chunk)
        if known is None:
            _fill_level(array, below)
        else:
            known = halve(known)
            write_rows(array, 0, known)
        below = array
    return levels


def _begin_level(path: Path, below: StoredArray, chunk: int) -> StoredArray:
    shape, rows = next_level(below.shape, below.dtype, below.axes, chunk=chunk)
    return create_array(path, shape, below.dtype, chunk=chunk, rows=rows, axes=below.axes)


def next_level(shape: tuple[int, ...], dtype: DTypeLike, axes: str, *, chunk: int) -> tuple[tuple[int, ...], int]:
    """Shape of the array above one, and the rows of its shards.

    Args:
        shape: of the array below.
        dtype: of both.
        axes: of both, a letter for each.
        chunk: side of a chunk in pixels.
    """
    above = (*shape[:-2], *(-(-side // 2) for side in shape[-2:]))
    classes = shape[0] if axes.startswith("c") else 1
    # A shard is made of four times its pixels.
    return above, shard_rows((4 * classes, *above[-2:]), dtype, chunk=chunk)


def _fill_level(array: StoredArray, below: StoredArray) -> None:
    for window in _shards(array):
        *leading, tall, wide = window
        source = (*leading, _twice(tall, below.shape[-2]), _twice(wide, below.shape[-1]))
        array.write(window, halve(below.read(source)))


def _twice(part: slice, size: int) -> slice:
    return slice(2 * part.start, min(2 * part.stop, size))


def _shards(array: StoredArray) -> Iterator[tuple[slice, ...]]:
    """The parts of an array that are one file each."""
    starts = [range(0, size, shard) for size, shard in zip(array.shape, array.shard, strict=True)]
    for corner in product(*starts):
        ends = (min(start + shard, size) for start, shard, size in zip(corner, array.shard, array.shape, strict=True))
        yield tuple(slice(start, end) for start, end in zip(corner, ends, strict=True))


def pick_level(step: int, levels: int) -> int:
    """The level to read where every ``step``-th pixel is wanted: the coarsest that is not coarser."""
    return min(step.bit_length() - 1, levels - 1)


def thinned(planes: Planes, size: tuple[int, ...], *, step: int, level: int) -> NDArray[Any]:
    """Every ``step``-th pixel of the scan, of a level of it, with a band of the level in memory.

    Args:
        planes: of the level, ``(C, h, w)``.
        size: of the scan, ``(H, W)``.
        step: in pixels of the scan.
        level: how often the planes were halved.

    Returns:
        ``(C, ceil(H / step), ceil(W / step))``.
    """
    if step == 1:
        return np.asarray(planes[:, :])
    rows, columns = (np.arange(0, side, step) >> level for side in size)
    bands = [rows[rows // _READ_ROWS == number] for number in range(-(-planes.shape[1] // _READ_ROWS))]
    found = [planes[:, band[0] : band[-1] + 1][:, band - band[0]][..., columns] for band in bands if len(band)]
    return np.concatenate(found, axis=1)
