"""Holes filled and small objects dropped in masks larger than memory, band after band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unetseg.component_bands import Joined, band_background, band_components, filled, join, numbered
from unetseg.output_bands import Bands
from unetseg.output_kinds import OBJECTS

__all__ = ["filtered"]


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
        numbers = np.stack([one.numbered(index, start) for one in each])
        for bands in made:
            bands.write(start, numbers if bands.kind is OBJECTS else (numbers > 0).astype(np.uint8))
    return [one.objects.areas for one in each]


class _Class:
    """The objects of one class."""

    def __init__(self, raw: Bands, k: int, min_pixels: int, max_hole_pixels: int) -> None:
        self._raw, self._planes, self._k = raw, raw.planes(), k
        self._holes: Joined | None = None
        if max_hole_pixels:
            self._holes = join([band_background(self._mask(i, start)) for i, start in self._bands()]).holes(
                max_hole_pixels
            )
        found = [band_components(self._mask(i, start)) for i, start in self._bands()]
        self.objects = join(found).at_least(min_pixels)

    def numbered(self, index: int, start: int) -> NDArray[np.uint32]:
        """The object's number in each pixel of a band, ``(h, W)``."""
        return numbered(self._mask(index, start), self.objects.bands[index])

    def _bands(self) -> list[tuple[int, int]]:
        return list(enumerate(self._raw.starts))

    def _mask(self, index: int, start: int) -> NDArray[np.bool_]:
        """One band, with its holes filled once they are known."""
        mask = self._planes[self._k : self._k + 1, start : start + self._raw.rows][0].astype(bool)
        return mask if self._holes is None else filled(mask, self._holes.bands[index])
