"""Which scan a training patch is cut from, and where: anywhere, or around a pixel of some class.

A foreground patch draws its class first, each class of the split alike, then a scan that holds it, then one of its
pixels there. So a class that only one scan in a hundred has is seen as often as one that all have. Among scans, the
root of their pixels (of the class) decides: a large scan has more to show than a small one, but not all there is.

Nothing is read to choose scans: the dataset knows how many pixels of each class each scan has. Where a class lies in a
scan is found when a foreground patch is first drawn there, which reads its masks once, band by band.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from unetseg.patch_reader import PatchReader
from unetseg.scan_record import ScanRecord
from unetseg.zarr_arrays import band_rows

__all__ = ["Draw", "PatchCentres"]

_POINTS: Final = 2**23  # pixels kept in all, of 8 bytes each, unless scans and classes are very many ...
_FEWEST, _MOST = 256, 16384  # ... which are these many per scan and class

Draw = tuple[int, int | None]
"""Number of a scan, and number of the class that the patch is drawn around; None: anywhere."""


class PatchCentres:
    """Draws where patches lie; the same for the same random numbers, whatever was drawn before, by whatever thread.

    Args:
        reader: of the scans.
        foreground_fraction: share of patches around a pixel of some class.
        seed: chooses the pixels that are kept.
    """

    def __init__(self, reader: PatchReader, foreground_fraction: float, seed: int) -> None:
        names = reader.dataset.index.classes
        areas = np.array([scan.shape[0] * scan.shape[1] for scan in reader.scans])
        pixels = np.array([[scan.class_pixels.get(name, 0) for name in names] for scan in reader.scans])
        self._reader, self._fraction, self._seed = reader, foreground_fraction, seed
        self._pixels = pixels
        self._scans = _cumulative(areas)
        self._holders = {int(k): _cumulative(pixels[:, k]) for k in np.flatnonzero(pixels.any(axis=0))}
        self._kept = min(max(_POINTS // max(int(np.count_nonzero(pixels)), 1), _FEWEST), _MOST)
        self._points: dict[int, dict[int, NDArray[np.int64]]] = {}

    def draw(self, random: np.random.Generator) -> Draw:
        """Choose scan and class without reading anything."""
        if not self._holders or random.random() >= self._fraction:
            return _weighted(self._scans, random), None
        k = list(self._holders)[int(random.integers(len(self._holders)))]
        return _weighted(self._holders[k], random), k

    def corner(self, draw: Draw, shape: tuple[int, int], random: np.random.Generator) -> tuple[int, int]:
        """Row and column of a patch's first pixel; a pixel of the class lies in the middle half of the patch.

        Args:
            draw: scan and class.
            shape: height and width of the patch in pixels; a scan that is smaller lies anywhere within.
            random: source of random numbers.
        """
        number, k = draw
        scan = self._reader.scans[number]
        if k is None:
            top, left = (_anywhere(size, side, random) for size, side in zip(scan.shape, shape, strict=True))
            return top, left
        points = self._find(number)[k]
        point = divmod(int(points[int(random.integers(len(points)))]), scan.shape[1])
        top, left = (_around(*axis, random) for axis in zip(point, scan.shape, shape, strict=True))
        return top, left

    def _find(self, number: int) -> dict[int, NDArray[np.int64]]:
        """Some pixels of each class of a scan, counted row by row; kept, and the same ones for the same seed."""
        if number not in self._points:
            scan = self._reader.scans[number]
            random = np.random.default_rng([self._seed, *scan.key.encode()])
            counts = self._pixels[number]
            # Which of them: drawn before they are seen, so that a scan of any size is gone through once, in bands.
            ranks = {int(k): np.sort(random.integers(counts[k], size=self._kept)) for k in np.flatnonzero(counts)}
            self._points[number] = self._ranked(scan, ranks)
        return self._points[number]

    def _ranked(self, scan: ScanRecord, ranks: dict[int, NDArray[np.int64]]) -> dict[int, NDArray[np.int64]]:
        """The pixels of each class that have given ranks among all of them, in reading order."""
        height, width = scan.shape
        seen = dict.fromkeys(ranks, 0)
        found: dict[int, list[NDArray[np.int64]]] = {k: [] for k in ranks}
        for start in range(0, height, band_rows(scan.chunk)):
            fields = self._reader.fields(scan, slice(start, min(start + band_rows(scan.chunk), height)))
            for k, wanted in ranks.items():
                here = np.flatnonzero(fields & fields.dtype.type(1 << k))
                first, after = np.searchsorted(wanted, (seen[k], seen[k] + len(here)))
                found[k].append(here[wanted[first:after] - seen[k]] + start * width)
                seen[k] += len(here)
        return {k: np.concatenate(parts) for k, parts in found.items()}


def _cumulative(pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.cumsum(np.sqrt(pixels))


def _weighted(cumulative: NDArray[np.float64], random: np.random.Generator) -> int:
    """A number drawn by weights whose sums are given; never one of weight 0."""
    return int(np.searchsorted(cumulative, random.random() * cumulative[-1], side="right"))


def _anywhere(size: int, side: int, random: np.random.Generator) -> int:
    low, high = min(0, size - side), max(0, size - side)
    return int(random.integers(low, high + 1))


def _around(centre: int, size: int, side: int, random: np.random.Generator) -> int:
    start = centre - side // 4 - int(random.integers(max(side // 2, 1)))
    return min(max(start, min(0, size - side)), max(size - side, 0))
