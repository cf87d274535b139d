"""Cut-outs of stored scans with their masks drawn on.

They are read in windows of a limited size, so a picture of a scan costs the same however large the scan is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.dataset import Dataset
from unetseg.ome import COLOURS
from unetseg.pictures import data_uri, overlay, to_rgb
from unetseg.scan_record import ScanRecord

__all__ = ["IGNORED_COLOUR", "Window", "central_window", "draw_cutout", "find_cutout", "random_window", "sides"]

Window = tuple[slice, slice]
"""Rows and columns of a scan."""

IGNORED_COLOUR = "FFFFFF"
"""Of pixels that count nowhere; no class has it."""

_TILE = 1024  # pixels of a side that are read at once: a few milliseconds
_TRIES = 32  # tiles of a scan in which a class is looked for; in a large scan they are a small part
_SMALLEST, _LARGEST = 256, 512  # pixels of a cut-out's side: an object with what is around it, pixel by pixel
_MARGIN = 1.25  # side of a cut-out by that of what it is about


def find_cutout(dataset: Dataset, scan: ScanRecord, k: int, random: np.random.Generator) -> Window | None:
    """A square with all foreground of class k, or, where that is large, with a part of its outline.

    Args:
        dataset: that holds the scan.
        scan: where to look.
        k: number of the class.
        random: decides in which parts of a large scan to look first, and which part of an outline to show.

    Returns:
        Rows and columns within the scan, or None where no tile that was looked at holds the class.
    """
    tiles = _tiles(scan)
    within = None
    for number in random.permutation(len(tiles))[:_TRIES]:
        rows, columns = tiles[number]
        there = _bit(dataset.fields(scan, (rows, columns)), k)
        if not there.any():
            continue
        (row, column), side = _focus(there, random)
        window = _square(rows.start + row, columns.start + column, side, scan.shape)
        if not there.all():
            return window
        within = within or window  # better than nothing, but an outline is what people want to see
    return within


def central_window(scan: ScanRecord) -> Window:
    """The middle of a scan; all of it where it is small."""
    height, width = scan.shape
    return _square(height / 2, width / 2, _TILE, scan.shape)


def random_window(scan: ScanRecord, side: int, random: np.random.Generator) -> Window:
    """A square anywhere in a scan, of at most so many pixels a side."""
    height, width = scan.shape
    return _square(random.random() * height, random.random() * width, side, scan.shape)


def draw_cutout(dataset: Dataset, scan: ScanRecord, window: Window, *, side: int, only: int | None = None) -> str:
    """A picture of a window with its masks, as a ``data:`` address.

    Args:
        dataset: that holds the scan.
        scan: which one.
        window: rows and columns, as `find_cutout` gives them.
        side: largest width and height of the picture in pixels.
        only: number of the class to draw; None: all. What is ignored is always drawn.
    """
    step = -(-max(sides(window)) // side)
    rgb = to_rgb(dataset.image(scan, window)[::step, ::step])
    fields = dataset.fields(scan, window)[::step, ::step]
    ignored = len(dataset.index.classes)
    wanted = range(ignored) if only is None else [only]
    held = int(np.bitwise_or.reduce(fields, axis=None))
    shown = [k for k in (*wanted, ignored) if held >> k & 1]
    colours = [IGNORED_COLOUR if k == ignored else COLOURS[k % len(COLOURS)] for k in shown]
    masks = np.stack([_bit(fields, k) for k in shown], axis=-1) if shown else np.zeros((*fields.shape, 0), bool)
    return data_uri(overlay(rgb, masks, colours), side)


def sides(window: Window) -> tuple[int, int]:
    """Height and width of a window."""
    rows, columns = window
    return rows.stop - rows.start, columns.stop - columns.start


def _bit(fields: NDArray[np.unsignedinteger[Any]], k: int) -> NDArray[np.bool_]:
    """Where a bit is set."""
    there: NDArray[np.bool_] = (fields >> fields.dtype.type(k) & fields.dtype.type(1)).astype(bool)
    return there


def _tiles(scan: ScanRecord) -> list[Window]:
    """Cut a scan along its chunks, so that none is read twice."""
    step = max(1, _TILE // scan.chunk) * scan.chunk
    rows, columns = ([slice(at, min(at + step, size)) for at in range(0, size, step)] for size in scan.shape)
    return [(row, column) for row in rows for column in columns]


def _focus(there: NDArray[np.bool_], random: np.random.Generator) -> tuple[tuple[float, float], int]:
    """What to show of a mask ``(h, w)`` that is not empty: the middle of a square, and its side."""
    bounds = [np.flatnonzero(there.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    side = int(_MARGIN * max(last - first + 1 for first, last in bounds))
    if side <= _LARGEST:
        row, column = (float(first + last) / 2 for first, last in bounds)
        return (row, column), max(side, _SMALLEST)
    places = np.argwhere(there[:, 1:] != there[:, :-1])  # left and right borders; none: all of it is foreground
    row, column = places[random.integers(len(places))] if len(places) else (size / 2 for size in there.shape)
    return (float(row), float(column)), _LARGEST


def _square(row: float, column: float, side: int, shape: tuple[int, int]) -> Window:
    """A square around a place, within the scan."""
    return _span(row, side, shape[0]), _span(column, side, shape[1])


def _span(middle: float, length: int, size: int) -> slice:
    """So many places around a middle, moved to lie in ``[0, size)``; all of them where there are fewer."""
    start = max(0, min(round(middle - length / 2), size - length))
    return slice(start, min(start + length, size))
