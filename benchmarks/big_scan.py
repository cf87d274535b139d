"""A slide of a third of a gigapixel and its mask, written row of tiles by row of tiles."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

__all__ = ["write_grey", "write_mask", "write_pyramid"]

_TILE = 256
_PERIOD = 2048  # pixels after which the pattern comes again; a multiple of the tile and of every reduction
_BLOBS = 150  # of one period
_REDUCTIONS = (2, 4)
_STAIN, _PAPER, _NOISE = (140, 60, 130), (225, 205, 215), 12  # of a slide: colours and their spread


def write_pyramid(path: Path, height: int = 18000, width: int = 20000) -> None:
    """Write an 8-bit RGB TIFF in tiles, deflate-compressed, with copies of half and a quarter of the size as SubIFDs.

    Args:
        path: the file; what was there is replaced.
        height: in pixels.
        width: in pixels.
    """
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for step in (1, *_REDUCTIONS):
            picture = _picture()[::step, ::step]
            shape = -(-height // step), -(-width // step), 3
            file.write(
                _tiles(picture, *shape[:2]),
                shape=shape,
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                photometric="rgb",
                compression="zlib",
                compressionargs={"level": 1},
                subifds=len(_REDUCTIONS) if step == 1 else None,
                subfiletype=0 if step == 1 else 1,
                metadata=None,
            )


def write_grey(path: Path, height: int, width: int) -> None:
    """Write an 8-bit grey TIFF in tiles, deflate-compressed, without smaller copies.

    Args:
        path: the file; what was there is replaced.
        height: in pixels.
        width: in pixels.
    """
    tifffile.imwrite(
        path,
        _tiles(np.ascontiguousarray(_picture()[..., 1]), height, width),
        bigtiff=True,
        shape=(height, width),
        dtype=np.uint8,
        tile=(_TILE, _TILE),
        compression="zlib",
        compressionargs={"level": 1},
        metadata=None,
    )


def write_mask(path: Path, height: int = 18000, width: int = 20000) -> None:
    """Write what is stained in `write_pyramid`'s slide of the same size: 255, elsewhere 0."""
    tifffile.imwrite(
        path,
        _tiles(_blobs().astype(np.uint8) * np.uint8(255), height, width),
        shape=(height, width),
        dtype=np.uint8,
        tile=(_TILE, _TILE),
        compression="zlib",
        metadata=None,
    )


def _tiles(pattern: NDArray[np.uint8], height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """The tiles of a picture that repeats a pattern, row by row; those at the edges are whole."""
    for top in range(0, height, _TILE):
        rows = pattern[top % len(pattern) :][:_TILE]
        for left in range(0, width, _TILE):
            at = left % pattern.shape[1]
            yield rows[:, at : at + _TILE]


@lru_cache
def _picture() -> NDArray[np.uint8]:
    """One period of the slide ``(y, x, 3)``."""
    noise = np.random.default_rng(1).normal(0, _NOISE, (_PERIOD, _PERIOD, 1))
    colours = np.where(_blobs()[..., np.newaxis], _STAIN, _PAPER) + noise
    return np.clip(colours, 0, 255).astype(np.uint8)


@lru_cache
def _blobs() -> NDArray[np.bool_]:
    """One period of the mask ``(y, x)``: discs of 20 to 80 pixels across, also over its edges."""
    random = np.random.default_rng(0)
    found = np.zeros((_PERIOD, _PERIOD), np.bool_)
    for y, x, radius in zip(*random.integers(0, _PERIOD, (2, _BLOBS)), random.integers(10, 40, _BLOBS), strict=True):
        dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        inside = dy**2 + dx**2 <= radius**2
        found[(y + dy[inside]) % _PERIOD, (x + dx[inside]) % _PERIOD] = True
    return found
