"""Probabilities of one scan, tile by tile: shared by evaluate and predict.

Tiles of a network that is exact meet where both equal the whole scan; those of others are blended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.blending import finished, overlapping, shares
from unetseg.bundle import BundleInfo
from unetseg.engines import Engine
from unetseg.tiling import Span, Tile, padded_size, spans, tiles_of

__all__ = ["Intensities", "Window", "predict_band", "predict_tiles"]

Window = tuple[slice, slice]


class Intensities(Protocol):
    """Normalised intensities, ``(h, W, C)``: an array, or what makes windows of one as they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        ...

    def __getitem__(self, window: Window, /) -> NDArray[Any]:
        """A window, ``(h, w, C)``."""
        ...


def predict_tiles(
    engine: Engine,
    info: BundleInfo,
    image: Intensities,
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
    if not info.exact:
        rows = Span((0, shape[0]), (0, padded_size(shape[0], info.stride)))
        yield from _blended(engine, info, image, guides, rows, tile)
        return
    for part in tiles_of(shape, tile=tile, halo=info.halo, stride=info.stride):
        yield (slice(*part.rows.inner), slice(*part.columns.inner)), _run(engine, info, image, guides, part)


def predict_band(
    engine: Engine,
    info: BundleInfo,
    image: Intensities,
    guides: NDArray[np.uint8] | None = None,
    *,
    rows: Span,
    tile: int,
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Run the network over some rows of a scan; what comes out equals that part of `predict_tiles`.

    Args:
        engine: of the bundle.
        info: of the bundle.
        image: normalised intensities of the outer rows, or of those of them that the scan has, ``(h, W, C)``.
        guides: of the same rows, ``(h, W, G)``, where the model has them.
        rows: of the band, in rows of the scan.
        tile: width of a tile in pixels, halo included.

    Yields:
        Windows, counted from the first inner row, that cover the inner rows once, each with its probabilities.
    """
    if not info.exact:
        yield from _blended(engine, info, image, guides, rows, tile)
        return
    first, kept = rows.outer[0], rows.inner[1] - rows.inner[0]
    here = Span((rows.inner[0] - first, rows.inner[1] - first), (0, rows.outer[1] - first))
    for columns in spans(image.shape[1], tile=tile, halo=info.halo, stride=info.stride):
        found = _run(engine, info, image, guides, Tile(here, columns))
        yield (slice(0, kept), slice(*columns.inner)), found


def _blended(
    engine: Engine,
    info: BundleInfo,
    image: Intensities,
    guides: NDArray[np.uint8] | None,
    rows: Span,
    tile: int,
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """As `predict_band`, from overlapping tiles; columns are given out as soon as no further tile has a share in them.

    Tiles come in the same order whatever rows are asked for, so that sums are the same to the last bit.
    """
    first, width = rows.outer[0], image.shape[1]
    cut = {"tile": tile, "halo": info.halo, "stride": info.stride}
    down, across = overlapping(rows.outer, **cut), overlapping((0, padded_size(width, info.stride)), **cut)
    kept = Span((rows.inner[0] - first, rows.inner[1] - first), (0, rows.outer[1] - first))
    parts = [(start - first, stop - first) for start, stop in down]
    sums = np.zeros((kept.inner[1] - kept.inner[0], 0, len(info.classes)), np.float32)
    done = 0
    for columns, share, until in zip(across, shares(across), finished(across, width), strict=True):
        sums = np.pad(sums, ((0, 0), (0, columns[1] - columns[0] - sums.shape[1]), (0, 0)))
        for part, height in zip(parts, shares(parts), strict=True):
            inner = (max(part[0], kept.inner[0]), min(part[1], kept.inner[1]))
            piece = Tile(Span(inner, part), Span(columns, columns))
            weights = height[piece.rows.kept, None, None] * share[:, None]
            place = slice(inner[0] - kept.inner[0], inner[1] - kept.inner[0])
            sums[place] += weights * _run(engine, info, image, guides, piece)
        # Shares add up to 1 but for rounding, probabilities must not exceed it.
        yield (slice(0, len(sums)), slice(done, until)), np.minimum(sums[:, : until - done], 1)
        sums, done = sums[:, until - done :], until


def _run(
    engine: Engine,
    info: BundleInfo,
    image: Intensities,
    guides: NDArray[np.uint8] | None,
    tile: Tile,
) -> NDArray[np.float32]:
    """The probabilities of what is kept of a tile, ``(h, w, K)``."""
    inputs = {"image": _cut(image, tile)[None]}
    if info.guides and guides is not None:
        inputs["guides"] = _cut(guides, tile)[None]
    probabilities: NDArray[np.float32] = engine(inputs)[0]
    return probabilities[tile.rows.kept, tile.columns.kept]


def _cut(planes: Intensities, tile: Tile) -> NDArray[np.float32]:
    """The outer window of a tile; beyond the scan's border, up to a multiple of the stride, its edge is repeated."""
    rows, columns = tile.rows.outer, tile.columns.outer
    part = planes[slice(*rows), slice(*columns)].astype(np.float32, copy=False)
    missing = (rows[1] - rows[0] - part.shape[0], columns[1] - columns[0] - part.shape[1])
    if not any(missing):
        return part
    return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
