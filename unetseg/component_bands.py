"""Connected components of masks larger than memory: found in bands of rows, joined by small summaries.

A mask is cut into bands of whole rows, of any heights. Each band is computed alone, in any order and by any process,
strip of columns after strip (`unetseg.mask_runs.Runs`), and only what `BandComponents` holds comes together::

    pass 1, where holes are filled:  background = components of ~mask, of each band
                                     holes = join(summaries).holes(max_hole_pixels)
    pass 2:                          found = components of mask | background.painted(holes.bands[i] > 0), of each band i
                                     objects = join(summaries).at_least(min_pixels)
    pass 3, where masks are written: found.painted(objects.bands[i])

Counts and areas alone need pass 2 of the masks as they are: ``join(summaries).areas``. However the scan is cut, the
results equal those of `unetseg.components` on the whole mask, whose conventions hold here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import UsageError
from unetseg.mask_runs import Components, Connectivity, contacts, grouped

__all__ = [
    "BandComponents",
    "BorderRow",
    "Joined",
    "join",
    "summary",
]

Numbers = NDArray[np.uint32]


@dataclass(frozen=True)
class BorderRow:
    """The foreground of one row of pixels.

    Attributes:
        starts: columns where its R runs start, ``(R,)``.
        ends: the columns after their last pixels, ``(R,)``.
        component: of each run, counted within the band from 0, ``(R,)``.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    component: NDArray[np.int64]


@dataclass(frozen=True)
class BandComponents:
    """What a band tells about its components: as much as its first and last rows and its components are many.

    Attributes:
        areas: in pixels, ``(number,)``, in raster order of the components' first pixels within the band.
        at_sides: which touch the left or the right edge, ``(number,)``.
        top: the first row.
        bottom: the last row.
        width: of the band, in pixels.
        connectivity: that was used.
    """

    areas: NDArray[np.int64]
    at_sides: NDArray[np.bool_]
    top: BorderRow
    bottom: BorderRow
    width: int
    connectivity: Connectivity


@dataclass(frozen=True)
class Joined:
    """The objects of a whole scan.

    Attributes:
        areas: in pixels, ``(number,)``, in raster order of the objects' first pixels.
        at_border: which touch the border of the scan, ``(number,)``.
        bands: per band the object that each of its components belongs to: 1 to `number`, or 0 for one that was dropped;
            all that a worker needs to know to paint that band.
    """

    areas: NDArray[np.int64]
    at_border: NDArray[np.bool_]
    bands: tuple[Numbers, ...]

    def only(self, wanted: NDArray[np.bool_]) -> Joined:
        """Without the objects that are not wanted, and their numbers closed up.

        Args:
            wanted: ``(number,)``.
        """
        if wanted.all():
            return self
        renumbered = np.concatenate([[0], np.where(wanted, np.cumsum(wanted), 0)]).astype(np.uint32)
        bands = tuple(renumbered[numbers] for numbers in self.bands)
        return Joined(self.areas[wanted], self.at_border[wanted], bands)

    def at_least(self, min_pixels: int) -> Joined:
        """The objects of this many pixels and more."""
        return self.only(self.areas >= min_pixels)

    def holes(self, max_pixels: int) -> Joined:
        """Of components of background: those that objects enclose and that have at most this many pixels."""
        return self.only(~self.at_border & (self.areas <= max_pixels))


def join(bands: Sequence[BandComponents]) -> Joined:
    """Join the components that meet at the borders of neighbouring bands.

    Args:
        bands: of one scan, from top to bottom.

    Raises:
        UsageError: no bands, or bands that cannot be of one scan.
    """
    if len({(band.width, band.connectivity) for band in bands}) != 1:
        found = [f"width {band.width}, connectivity {band.connectivity}" for band in bands]
        raise UsageError(f"bands must be those of one scan: of one width, with one connectivity; got {found or 'none'}")
    first = np.cumsum([0, *(len(band.areas) for band in bands)])  # number of each band's first component
    upper, lower = [first[:0]], [first[:0]]
    for index, (above, below) in enumerate(pairwise(bands)):
        runs, others = (below.top.starts, below.top.ends), (above.bottom.starts, above.bottom.ends)
        run, other = contacts(runs, others, connectivity=above.connectivity)
        lower.append(first[index + 1] + below.top.component[run])
        upper.append(first[index] + above.bottom.component[other])
    objects, of_component = grouped(int(first[-1]), np.concatenate(lower), np.concatenate(upper))
    areas = np.zeros(objects, np.int64)
    np.add.at(areas, of_component, np.concatenate([band.areas for band in bands]))
    at_border = np.zeros(objects, bool)
    at_border[of_component[_at_border(bands)]] = True
    return Joined(areas, at_border, tuple(np.split((of_component + 1).astype(np.uint32), first[1:-1])))


def summary(found: Components) -> BandComponents:
    """What a band tells of the components found in it."""
    height, width = found.shape
    top, bottom = _row(found, 0), _row(found, height - 1)
    return BandComponents(found.areas, found.at_sides, top, bottom, width, found.connectivity)


def _row(found: Components, row: int) -> BorderRow:
    """The runs of one row, in columns."""
    start = row * (found.shape[1] + 1)
    within = slice(*np.searchsorted(found.starts, [start, start + found.shape[1]]))
    return BorderRow(found.starts[within] - start, found.ends[within] - start, found.component[within].copy())


def _at_border(bands: Sequence[BandComponents]) -> NDArray[np.bool_]:
    """Which components of all bands touch the border of the scan."""
    touching = [band.at_sides.copy() for band in bands]
    touching[0][bands[0].top.component] = True
    touching[-1][bands[-1].bottom.component] = True
    return np.concatenate(touching)
