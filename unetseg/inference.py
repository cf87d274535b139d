"""Probabilities of one scan, tile by tile: shared by evaluate and predict."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import BundleInfo
from unetseg.engines import Engine
from unetseg.tiling import Tile, tiles_of

__all__ = ["predict_tiles"]

Window = tuple[slice, slice]


def predict_tiles(
    engine: Engine,
    info: BundleInfo,
    image: NDArray[np.floating],
    guides: NDArray[np.uint8] | None = None,
    *,
    tile: int,
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Run the network over a scan.

    Args:
        engine: of the bundle.
        info: of the bundle; its stride and halo cut the tiles.
        image: normalised intensities, ``(H, W, C)``.
        guides: guide masks, ``(H, W, G)``, where the model has them.
        tile: side of a tile in pixels, halo included.

    Yields:
        Windows that cover the scan once, each with its probabilities, ``(h, w, K)``.
    """
    shape = (image.shape[0], image.shape[1])
    for part in tiles_of(shape, tile=tile, halo=info.halo, stride=info.stride):
        inputs = {"image": _cut(image, part)[None]}
        if info.guides and guides is not None:
            inputs["guides"] = _cut(guides, part)[None]
        probabilities = engine(inputs)[0]
        yield (
            (slice(*part.rows.inner), slice(*part.columns.inner)),
            probabilities[part.rows.kept, part.columns.kept],
        )


def _cut(planes: NDArray[np.generic], tile: Tile) -> NDArray[np.float32]:
    """The outer window of a tile; beyond the scan's border, up to a multiple of the stride, its edge is repeated."""
    rows, columns = tile.rows.outer, tile.columns.outer
    part = planes[slice(*rows), slice(*columns)].astype(np.float32)
    missing = (rows[1] - rows[0] - part.shape[0], columns[1] - columns[0] - part.shape[1])
    if not any(missing):
        return part
    return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
