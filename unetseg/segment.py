"""One scan in memory: from normalised intensities to masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import BundleInfo
from unetseg.decisions import Decision
from unetseg.engines import Engine
from unetseg.inference import Window, predict_tiles
from unetseg.pixel_size import Size

__all__ = ["Segmentation", "Segmenter"]

_SURELY_BACKGROUND = 0.05  # a pixel below this probability says nothing about how sure a class is

Guides = NDArray[np.uint8] | None
Windows = Iterator[tuple[Window, NDArray[np.float32]]]


@dataclass(frozen=True)
class Segmentation:
    """What a model makes of a scan.

    Attributes:
        masks: 1 where the class is, ``(K, H, W)`` uint8.
        probabilities: 255 is certain, ``(K, H, W)`` uint8; None where they are not asked for.
        uncertainty: of each class, ``(K,)``: 0 where every pixel is sure, 1 where all are at one half.
    """

    masks: NDArray[np.uint8]
    probabilities: NDArray[np.uint8] | None
    uncertainty: NDArray[np.float64]


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
        masks = np.zeros((len(self.info.classes), *image.shape[:2]), np.uint8)
        planes = np.zeros_like(masks) if probabilities else None
        doubt, weight = np.zeros(len(masks)), np.zeros(len(masks))
        for window, found in self._scaled(image, guides, zoom) if zoom else self._tiles(image, guides):
            masks[:, *window] = np.moveaxis(self.decision(found), -1, 0)
            if planes is not None:
                planes[:, *window] = np.moveaxis(np.rint(found * 255), -1, 0)
            counted = found > _SURELY_BACKGROUND
            doubt += np.sum(2 * np.minimum(found, 1 - found), axis=(0, 1), where=counted, dtype=np.float64)
            weight += np.count_nonzero(counted, axis=(0, 1))
        return Segmentation(masks, planes, doubt / np.maximum(weight, 1))

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
