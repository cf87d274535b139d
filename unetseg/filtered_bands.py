"""Holes filled and small objects dropped in masks larger than memory: band after band, strip of columns after strip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from unetseg.component_bands import Joined, Numbers, join, summary
from unetseg.mask_runs import Components, Runs, opposite
from unetseg.output_bands import Bands
from unetseg.output_kinds import OBJECTS

__all__ = ["filtered"]

Columns = tuple[int, int]
Numbered = tuple[Components, Numbers]


def filtered(raw: Bands, made: Sequence[Bands], *, min_pixels: int, max_hole_pixels: int) -> list[NDArray[np.int64]]:
    """Write masks, and numbered objects where they are wanted, without small holes and small objects.

    Args:
        raw: masks whose bands are all written.
        made: outputs to write, of masks, labels or objects; begun anew.
        min_pixels: objects of fewer pixels are dropped.
        max_hole_pixels: enclosed holes of at most so many pixels are filled; 0: none.

    Returns:
        The areas of the objects of each class, in pixels.
    """
    for bands in made:
        bands.discard()
        bands.begin()
    each = [_Class(raw, k, min_pixels, max_hole_pixels) for k in range(raw.shape[0])]
    for index, start in enumerate(raw.starts):
        _write(raw.strips, start, [one.numbered(index) for one in each], made)
    return [one.objects.areas for one in each]


def _write(strips: Sequence[Columns], start: int, each: Sequence[Numbered], made: Sequence[Bands]) -> None:
    """One band, strip after strip."""
    for columns in strips:
        numbers = np.stack([found.painted(objects, columns=columns) for found, objects in each])
        for bands in made:
            bands.write(start, columns[0], numbers if bands.kind is OBJECTS else (numbers > 0).astype(np.uint8))
    for bands in made:
        bands.commit(start)


class _Class:
    """The objects of one class."""

    def __init__(self, raw: Bands, k: int, min_pixels: int, max_hole_pixels: int) -> None:
        self._raw, self._k = raw, k
        self._holes: Joined | None = None
        if max_hole_pixels:
            self._holes = join([summary(self._background(start)) for start in raw.starts]).holes(max_hole_pixels)
        found = [summary(self._components(index)) for index in range(len(raw.starts))]
        self.objects = join(found).at_least(min_pixels)

    def numbered(self, index: int) -> Numbered:
        """The components of a band, and the object's number of each."""
        return self._components(index), self.objects.bands[index]

    def _components(self, index: int) -> Components:
        """Of a band, with its holes filled once they are known."""
        start = self._raw.starts[index]
        runs, holes = self._runs(start), self._filled(index)
        for columns in self._raw.strips:
            mask = self._mask(start, columns)
            runs.add(columns[0], mask if holes is None else mask | holes(columns))
        return runs.components()

    def _filled(self, index: int) -> Callable[[Columns], NDArray[np.bool_]] | None:
        """Tells the holes of a band that are filled, of some columns; None: there are none."""
        if self._holes is None or not (holes := self._holes.bands[index] > 0).any():
            return None
        background = self._background(self._raw.starts[index])
        return lambda columns: background.painted(holes, columns=columns)

    def _background(self, start: int) -> Components:
        """Of a band."""
        runs = self._runs(start)
        for columns in self._raw.strips:
            runs.add(columns[0], ~self._mask(start, columns))
        return runs.components(connectivity=opposite(2))

    def _runs(self, start: int) -> Runs:
        _, height, width = self._raw.shape
        return Runs((min(self._raw.rows, height - start), width))

    def _mask(self, start: int, columns: Columns) -> NDArray[np.bool_]:
        return self._raw.stored(self._k, start, columns).astype(bool)
