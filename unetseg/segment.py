"""One scan, or a band of its rows: from normalised intensities to masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import BundleInfo
from unetseg.counting import count_small
from unetseg.decisions import Decision
from unetseg.engines import Engine
from unetseg.inference import Intensities, Window, predict_band, predict_tiles
from unetseg.pixel_size import Size
from unetseg.tiling import Span

__all__ = ["Segmentation", "Segmenter"]

_FULL = 255  # of probabilities as they are counted and kept
_AT_ONCE = 1 << 18  # probabilities that stay in a core's cache until all that is made of them is done

Guides = NDArray[np.uint8] | None
Windows = Iterator[tuple[Window, NDArray[np.float32]]]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a model makes of a scan, or of a band.

    Attributes:
        masks: 1 where the class is, ``(K, H, W)`` uint8.
        probabilities: 255 is certain, ``(K, H, W)`` uint8; None where they are not asked for.
        levels: how many pixels of each class have which probability, in steps of 1/255, ``(K, 256)``; those of bands
            add up.
    """

    masks: NDArray[np.uint8]
    probabilities: NDArray[np.uint8] | None
    levels: NDArray[np.int64]


def _in_steps(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities in steps of 1/255; what was given is overwritten, since fresh memory takes as long as the sums."""
    np.multiply(planes, np.float32(_FULL), out=planes)
    return np.rint(planes, out=planes)


def _few_rows(found: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """The same in parts of few rows, as planes, ``(K, h, w)``: class by class, all that follows is faster."""
    step = max(_AT_ONCE // found[0].size, 1)
    for start in range(0, len(found), step):
        part = found[start : start + step]
        yield slice(start, start + len(part)), np.ascontiguousarray(np.moveaxis(part, -1, 0))


def _cut_at(windows: Windows, columns: int) -> Iterator[tuple[int, tuple[Window, NDArray[np.float32]]]]:
    """Windows cut where strips meet, each with the first column of its strip, from which its columns count."""
    for (rows, across), found in windows:
        for left in range(across.start // columns * columns, across.stop, columns):
            first, stop = max(across.start, left), min(across.stop, left + columns)
            part = found[:, first - across.start : stop - across.start]
            yield left, ((rows, slice(first - left, stop - left)), part)


@dataclass(frozen=True)
class Segmenter:
    """A model that is ready to run.

    Attributes:
        engine: runs the network.
        info: of the bundle.
        decision: what a pixel is.
        tile: side of a tile in pixels, halo included.
    """

    engine: Engine
    info: BundleInfo
    decision: Decision
    tile: int

    def __call__(
        self,
        image: NDArray[np.floating],
        guides: Guides = None,
        *,
        probabilities: bool = False,
        zoom: Size | None = None,
    ) -> Segmentation:
        """Segment one scan.

        Args:
            image: normalised intensities, ``(H, W, C)``.
            guides: guide masks, ``(H, W, G)``, where the model has them.
            probabilities: whether they are kept.
            zoom: factors ``(y, x)`` by which the sides are scaled for the network; masks have the scan's own size.
        """
        windows = self._scaled(image, guides, zoom) if zoom else self._tiles(image, guides)
        return self._collected(windows, (image.shape[0], image.shape[1]), probabilities)

    def band(self, image: Intensities, guides: Guides, rows: Span, *, probabilities: bool = False) -> Segmentation:
        """Segment some rows of a scan that need not be in memory.

        Args:
            image: normalised intensities of the outer rows, or of those of them that the scan has, ``(h, W, C)``.
            guides: of the same rows, ``(h, W, G)``.
            rows: of the band; its inner ones are segmented.
            probabilities: whether they are kept.
        """
        windows = predict_band(self.engine, self.info, image, guides, rows=rows, tile=self.tile)
        return self._collected(windows, (rows.inner[1] - rows.inner[0], image.shape[1]), probabilities)

    def strips(
        self, image: Intensities, guides: Guides, rows: Span, *, columns: int, probabilities: bool = False
    ) -> Iterator[tuple[int, Segmentation]]:
        """The same as `band`, in strips of columns from left to right, so that all of a wide band is never in memory.

        Args:
            image: as in `band`.
            guides: as in `band`.
            rows: as in `band`.
            columns: of a strip; the last one is what is left.
            probabilities: whether they are kept.

        Yields:
            The first column, and what is found.
        """
        windows = predict_band(self.engine, self.info, image, guides, rows=rows, tile=self.tile)
        height, width = rows.inner[1] - rows.inner[0], image.shape[1]
        for left, parts in groupby(_cut_at(windows, columns), key=lambda part: part[0]):
            size = height, min(columns, width - left)
            yield left, self._collected((window for _, window in parts), size, probabilities)

    def _collected(self, windows: Windows, shape: tuple[int, int], probabilities: bool) -> Segmentation:
        masks = np.zeros((len(self.info.classes), *shape), np.uint8)
        kept = np.zeros_like(masks) if probabilities else None
        levels = np.zeros((len(masks), _FULL + 1), np.int64)
        for window, found in windows:
            steps = np.empty((len(masks), *found.shape[:2]), np.uint8)
            marked = masks[:, *window]
            for rows, planes in _few_rows(found):
                marked[:, rows] = np.moveaxis(self.decision(np.moveaxis(planes, 0, -1)), -1, 0)
                steps[:, rows] = _in_steps(planes)
            levels += [count_small(plane) for plane in steps]
            if kept is not None:
                kept[:, *window] = steps
        return Segmentation(masks, kept, levels)

    def _tiles(self, image: NDArray[np.floating], guides: Guides) -> Windows:
        return predict_tiles(self.engine, self.info, image, guides, tile=self.tile)

    def _scaled(self, image: NDArray[np.floating], guides: Guides, zoom: Size) -> Windows:
        """Probabilities at another size, brought back to the scan's: those, not masks, can be interpolated."""
        from skimage.transform import resize

        height, width = image.shape[:2]
        size = max(round(height * zoom[0]), 1), max(round(width * zoom[1]), 1)
        scaled = resize(image.astype(np.float32), size, order=1, preserve_range=True)
        nearest = None if guides is None else resize(guides, size, order=0, preserve_range=True, anti_aliasing=False)
        found = np.zeros((*size, len(self.info.classes)), np.float32)
        for window, probabilities in self._tiles(scaled, nearest):
            found[window] = probabilities
        whole = resize(found, (height, width), order=1, preserve_range=True, anti_aliasing=False)
        yield (slice(0, height), slice(0, width)), np.clip(whole, 0, 1)
