"""Scans that an image alone cannot solve: equal discs, of which the guides say which ones are meant."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import tifffile
from numpy.typing import NDArray
from skimage.draw import disk

__all__ = ["GUIDES", "draw_discs", "write_discs"]

GUIDES: Final = ("chosen", "taken_back")
_DISCS: Final = 8
_RADII: Final = (7, 13)  # pixels
_MARK: Final = 3  # pixels: radius of a mark, far smaller than a disc


def draw_discs(seed: int, side: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """One scan: half of its discs are marked in the first guide, and half of these marks are undone in the second.

    Returns:
        Image ``(H, W)``, mask ``(H, W)`` of the discs that are marked and not undone, guides ``(H, W, 2)``.
    """
    random = np.random.default_rng(seed)
    image, mask = random.normal(60, 12, (side, side)), np.zeros((side, side), bool)
    guides = np.zeros((side, side, len(GUIDES)), bool)
    for number, (centre, radius) in enumerate(_places(random, side)):
        inside = disk(centre, radius, shape=mask.shape)
        image[inside] += 110
        if number % 2 == 0:
            guides[*disk(centre, _MARK, shape=mask.shape), 0] = True
            mask[inside] = number % 4 == 0
        if number % 4 == 2:
            guides[*disk(centre, _MARK, shape=mask.shape), 1] = True
    return np.clip(image, 0, 255).astype(np.uint8), mask, guides


def write_discs(folder: Path, count: int = 48) -> tuple[Path, Path, Path]:
    """Folders of scans, masks and guides."""
    folders = folder / "scans", folder / "masks", folder / "guides"
    for path in (folders[0], folders[1] / "disc", *(folders[2] / name for name in GUIDES)):
        path.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        image, mask, guides = draw_discs(seed)
        name = f"d{seed:03d}.tif"
        tifffile.imwrite(folders[0] / name, image)
        tifffile.imwrite(folders[1] / "disc" / name, mask * np.uint8(255))
        for k, guide in enumerate(GUIDES):
            tifffile.imwrite(folders[2] / guide / name, guides[..., k] * np.uint8(255))
    return folders


def _places(random: np.random.Generator, side: int) -> list[tuple[tuple[int, int], int]]:
    """Centres and radii of discs that do not touch."""
    found: list[tuple[tuple[int, int], int]] = []
    while len(found) < _DISCS:
        radius = int(random.integers(*_RADII))
        row, column = (int(x) for x in random.integers(radius + 1, side - radius - 1, 2))
        apart = all(np.hypot(row - r, column - c) > radius + other + 3 for (r, c), other in found)
        if apart:
            found.append(((row, column), radius))
    return found
