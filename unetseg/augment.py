"""Augmentation: change a patch in ways that leave its meaning as it is; image, guides and masks together.

It is done by the threads that prepare batches, not by the device that trains: 3 ms a patch of 256 x 256 pixels and
core, while the device is busy with the batch before.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.config import AugmentConfig
from unetseg.patch import Patch
from unetseg.warp import draw_warp

__all__ = ["ReadWindow", "augmented", "flip_and_turn", "vary_intensity"]


class ReadWindow(Protocol):
    """Reads a window whose first pixel and size are given, and which may lie beyond the scan."""

    def __call__(self, top: int, left: int, shape: tuple[int, int]) -> Patch: ...  # noqa: D102 (above)


def augmented(
    read: ReadWindow,
    corner: tuple[int, int],
    shape: tuple[int, int],
    config: AugmentConfig,
    random: np.random.Generator,
) -> Patch:
    """Read a patch and vary it by the settings; what is off costs nothing.

    Args:
        read: gives windows of the scan; what it gives is not changed.
        corner: row and column of the patch's first pixel.
        shape: height and width of the patch in pixels.
        config: how patches are varied.
        random: source of random numbers.
    """
    warp = draw_warp(shape, config, random)
    if warp is None:
        patch = read(*corner, shape)
    else:
        top, left = warp.corner
        patch = warp.apply(read(corner[0] + top, corner[1] + left, warp.size))
    patch = vary_intensity(patch, config, random)
    # Last, since it copies nothing: stacking the batch does.
    return flip_and_turn(patch, random) if config.flips else patch


def flip_and_turn(patch: Patch, random: np.random.Generator) -> Patch:
    """One of the eight flips and quarter turns (four, where the patch is not square), as views; labels stay exact."""
    height, width = patch.image.shape[:2]
    turns = int(random.integers(4)) if height == width else 2 * int(random.integers(2))
    flip = bool(random.integers(2))

    def move(planes: NDArray[np.generic]) -> NDArray[np.generic]:
        turned = np.rot90(planes, turns)
        return turned[:, ::-1] if flip else turned

    return Patch(move(patch.image), move(patch.guides), move(patch.fields))  # type: ignore[arg-type]


def vary_intensity(patch: Patch, config: AugmentConfig, random: np.random.Generator) -> Patch:
    """Change contrast and brightness per channel and add noise; guides and masks stay.

    Args:
        patch: intensities with their bulk in ``[0, 1]``; they are not changed.
        config: strengths, relative to that range.
        random: source of random numbers.
    """
    if not (config.contrast or config.brightness or config.noise):
        return patch
    image = patch.image.astype(np.float32, order="C")
    if config.contrast or config.brightness:
        _stretch(image, config, random)
    if config.noise:
        noise = random.standard_normal(image.shape, dtype=np.float32)
        noise *= np.float32(config.noise * random.random())
        image += noise
    return Patch(image, patch.guides, patch.fields)


def _stretch(image: NDArray[np.float32], config: AugmentConfig, random: np.random.Generator) -> None:
    """Contrast about the mean by a log-normal factor, and a normal shift of brightness, in place."""
    height, width, channels = image.shape
    contrast = np.exp(random.normal(0, config.contrast, channels))
    brightness = random.normal(0, config.brightness, channels)
    rows = image.reshape(height, width * channels)  # NumPy is ten times slower along an axis of few channels
    mean = rows.mean(axis=0, dtype=np.float32).reshape(width, channels).mean(axis=0)
    rows *= np.tile(contrast.astype(np.float32), width)
    rows += np.tile((brightness + (1 - contrast) * mean).astype(np.float32), width)
