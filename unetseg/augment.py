"""Augmentation: change a patch in ways that leave its meaning as it is; image, guides and masks together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetseg.dataset import Planes

__all__ = ["flip_and_turn", "vary_intensity"]

_NOISE_SHARE = 0.25  # of the strength: noise as strong as the contrast change would drown fine structures


def flip_and_turn(patch: Planes, random: np.random.Generator) -> Planes:
    """One of the eight flips and quarter turns (four, where the patch is not square); labels stay exact."""
    height, width = patch.image.shape[:2]
    turns = int(random.integers(4)) if height == width else 2 * int(random.integers(2))
    flip = bool(random.integers(2))

    def move(planes: NDArray[np.generic]) -> NDArray[np.generic]:
        turned = np.rot90(planes, turns)
        return np.ascontiguousarray(turned[:, ::-1] if flip else turned)

    return Planes(move(patch.image), move(patch.guides), move(patch.masks))  # type: ignore[arg-type]


def vary_intensity(patch: Planes, strength: float, random: np.random.Generator) -> Planes:
    """Change contrast and brightness per channel and add noise; masks and guides stay.

    Args:
        patch: intensities with their bulk in ``[0, 1]``.
        strength: standard deviations of the changes, relative to that range.
        random: source of random numbers.
    """
    channels = patch.image.shape[-1]
    contrast = np.exp(random.normal(0, strength, (channels,))).astype(np.float32)
    brightness = random.normal(0, strength, (channels,)).astype(np.float32)
    noise = random.standard_normal(patch.image.shape, dtype=np.float32)
    noise *= np.float32(_NOISE_SHARE * strength * random.random())
    centre = patch.image.mean(axis=(0, 1), dtype=np.float32)
    return Planes((patch.image - centre) * contrast + centre + brightness + noise, patch.guides, patch.masks)
