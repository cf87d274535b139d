"""Warps: rotate, scale and bend a patch by one map of coordinates, the same for image, guides and masks.

A warp says for every pixel of the patch where in the scan it comes from. What lies beyond the patch is read from the
scan, so that no corner of a rotated patch has to be invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from unetseg.config import AugmentConfig
from unetseg.patch import Patch

__all__ = ["Warp", "draw_warp"]

_SMOOTHNESS: Final = 4.0
"""Width of the bending's Gaussian, of its strength: neighbours' shifts then differ by 0.18 of their distance (standard
deviation), so that a fold, which takes more than 1, is as good as never drawn."""
_FINEST: Final = 8.0  # pixels: the least width; finer bending would tear the outlines of small objects
_REACH: Final = 3  # widths of a Gaussian beyond which it is as good as 0


@dataclass(frozen=True, eq=False)
class Warp:
    """A map of coordinates.

    Attributes:
        coordinates: row and column that each pixel of the patch comes from, ``(2, H, W)``, in pixels from the patch's
            upper left pixel.
    """

    coordinates: NDArray[np.float32]

    @cached_property
    def corner(self) -> tuple[int, int]:
        """Row and column of the first pixel that is needed, from the patch's upper left pixel."""
        top, left = np.floor(self.coordinates.min(axis=(1, 2))).astype(int).tolist()
        return top, left

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the window that is needed, which begins at `corner`."""
        last = np.ceil(self.coordinates.max(axis=(1, 2))).astype(int)
        height, width = (last - self.corner + 1).tolist()
        return height, width

    def apply(self, window: Patch) -> Patch:
        """The warped patch: intensities interpolated linearly, guides and masks taken from the nearest pixel.

        Args:
            window: what the scan holds at `corner`, of `size`.
        """
        places = self.coordinates - np.reshape(self.corner, (2, 1, 1)).astype(np.float32)
        rows, columns = np.rint(places).astype(np.intp)
        nearest = rows * window.shape[1] + columns
        guides = window.guides.reshape(window.fields.size, window.guides.shape[-1])
        return Patch(_interpolated(window.image, places), guides.take(nearest, axis=0), window.fields.take(nearest))


def draw_warp(shape: tuple[int, int], config: AugmentConfig, random: np.random.Generator) -> Warp | None:
    """Rotation, scale and bending about the patch's centre; None for patches that are not warped.

    Args:
        shape: height and width of the patch in pixels.
        config: share of patches that are warped, and how strongly.
        random: source of random numbers.
    """
    if not (config.rotation or config.scale or config.elastic) or random.random() >= config.warped_fraction:
        return None
    angle = np.deg2rad(random.uniform(-config.rotation, config.rotation))
    # As a logarithm, so that enlarging is as likely as shrinking.
    enlarged = np.exp(random.uniform(-1, 1) * np.log1p(config.scale))
    coordinates = _rotated(shape, angle, enlarged)
    if config.elastic:
        width = max(_FINEST, _SMOOTHNESS * config.elastic)
        for axis in coordinates:
            axis += config.elastic * _smooth_noise(shape, width, random)
    return Warp(coordinates)


def _rotated(shape: tuple[int, int], angle: float, enlarged: float) -> NDArray[np.float32]:
    """Where pixels come from, ``(2, H, W)``, when the patch is enlarged and turned (radians) about its centre."""
    centres = [(side - 1) / 2 for side in shape]
    rows = (np.arange(shape[0])[:, np.newaxis] - centres[0]) / enlarged
    columns = (np.arange(shape[1]) - centres[1]) / enlarged
    cosine, sine = np.cos(angle), np.sin(angle)
    coordinates = np.empty((2, *shape), np.float32)
    np.add(cosine * rows + centres[0], sine * columns, out=coordinates[0])
    np.add(-sine * rows, cosine * columns + centres[1], out=coordinates[1])
    return coordinates


def _smooth_noise(shape: tuple[int, int], width: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Random numbers of standard deviation 1, smoothed by a Gaussian of a width in pixels, ``(H, W)``.

    Elastic deformation after Simard, Steinkraus and Platt (2003), doi:10.1109/ICDAR.2003.1227801. The noise is drawn
    on a grid as wide as the Gaussian, which cannot be told from noise in every pixel and is a hundred times faster.
    """
    rows, columns = (_gaussians(side, width) for side in shape)
    noise = random.standard_normal((rows.shape[1], columns.shape[1]))
    # Not `@`: several threads at once, each with BLAS' own threads, wait for one another many times as long.
    smooth: NDArray[np.float64] = np.einsum("ri,ci->rc", np.einsum("ri,ij->rj", rows, noise), columns)
    return smooth


def _gaussians(side: int, width: float) -> NDArray[np.float64]:
    """Weights of the grid's points in each pixel of one axis, ``(side, points)``; their squares sum to 1."""
    points = np.arange(-_REACH * width, side + (_REACH + 1) * width, width)
    weights = np.exp(-((np.arange(side)[:, np.newaxis] - points) ** 2) / (2 * width**2))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)  # type: ignore[no-any-return]


def _interpolated(image: NDArray[np.floating], places: NDArray[np.float32]) -> NDArray[np.float32]:
    warped = np.empty((*places.shape[1:], image.shape[-1]), np.float32)
    for channel in range(image.shape[-1]):
        plane = image[..., channel].astype(np.float32)  # SciPy knows no float16
        warped[..., channel] = map_coordinates(plane, places, order=1, prefilter=False)
    return warped
