"""Scale intensities: one function, used by ingest and by predict with the rule that is stored with the model.

Every method is an affine map per channel, ``(x - offset) * scale``, then clipped, so what was done to a scan is two
numbers per channel and can be stored with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.config import IngestConfig
from unetseg.intensities import Collector, collector

__all__ = ["ChannelScale", "denormalise", "fit_scales", "normalise", "same_rule", "scale_of"]

CLIP = 8.0
"""Where the scale was fitted to the scan, intensities stay within [-CLIP, CLIP]: hot pixels must not swamp a patch."""

LARGEST = 65504.0
"""Where it was given, they only stay within what float16 holds."""

_WORTH_A_TABLE = {1: 1 << 10, 2: 1 << 18}  # pixels from which looking up beats computing, by bytes per pixel


@dataclass(frozen=True)
class ChannelScale:
    """The affine map of one channel: ``(x - offset) * scale``, within ``[-clip, clip]``."""

    offset: float
    scale: float
    clip: float = CLIP


def fit_scales(pixels: NDArray[np.generic], config: IngestConfig) -> tuple[ChannelScale, ...]:
    """Find the scale of each channel of one scan.

    Args:
        pixels: intensities as stored, ``(H, W, C)``, any real dtype.
        config: the method and its numbers.

    Returns:
        One scale per channel. A constant channel becomes all zeros.
    """
    rows, columns, channels = pixels.shape
    collectors = [collector(pixels.dtype, rows, columns) for _ in range(channels)]
    for channel, found in enumerate(collectors):
        found.add(pixels[..., channel])
    return tuple(scale_of(found, config) for found in collectors)


def normalise(
    pixels: NDArray[np.generic], scales: Sequence[ChannelScale], *, dtype: str = "float32"
) -> NDArray[np.floating]:
    """Apply the scales.

    Args:
        pixels: intensities as stored, ``(H, W, C)``.
        scales: one per channel, from `fit_scales`.
        dtype: of the result.

    Returns:
        ``(H, W, C)`` within ``[-8, 8]``; percentile and min-max put the bulk into ``[0, 1]``.
    """
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2 and pixels.size > _WORTH_A_TABLE[pixels.dtype.itemsize]:
        return _by_table(pixels, scales, dtype)
    return _affine(pixels, scales, dtype)


def denormalise(image: NDArray[np.floating], scales: Sequence[ChannelScale]) -> NDArray[np.float32]:
    """Back from normalised to stored intensities, but for what was clipped and for rounding.

    Args:
        image: normalised intensities, ``(H, W, C)``.
        scales: what `normalise` was given.
    """
    offsets = np.array([scale.offset for scale in scales], dtype=np.float32)
    factors = np.array([1 / scale.scale if scale.scale else 0.0 for scale in scales], dtype=np.float32)
    return image.astype(np.float32) * factors + offsets


def same_rule(one: IngestConfig, other: IngestConfig) -> bool:
    """Whether two settings scale every scan alike, whatever else they say."""

    def rule(config: IngestConfig) -> tuple[object, ...]:
        numbers = {
            "percentile": (config.low_percentile, config.high_percentile),
            "fixed": (config.fixed_low, config.fixed_high),
        }
        return config.normalisation, numbers.get(config.normalisation)

    return rule(one) == rule(other)


def scale_of(channel: Collector, config: IngestConfig) -> ChannelScale:
    """The scale of one channel of which all rows were collected."""
    match config.normalisation:
        case "percentile":
            low, high = channel.percentiles((config.low_percentile, config.high_percentile))
            # A few bright spots on black: both percentiles are black, and the spots must not vanish.
            return _between(low, high) if high > low else _between(*channel.extremes)
        case "minmax":
            return _between(*channel.extremes)
        case "zscore":
            found = channel.describe()
            return ChannelScale(found.mean, 1 / found.deviation if found.deviation else 0.0)
        case "fixed":
            return replace(_between(config.fixed_low, config.fixed_high), clip=LARGEST)
        case "none":
            return ChannelScale(0.0, 1.0, LARGEST)


def _affine(pixels: NDArray[np.generic], scales: Sequence[ChannelScale], dtype: str) -> NDArray[np.floating]:
    offsets = np.array([scale.offset for scale in scales], dtype=np.float32)
    factors = np.array([scale.scale for scale in scales], dtype=np.float32)
    result = pixels.astype(np.float32)
    result -= offsets
    result *= factors
    limits = np.array([scale.clip for scale in scales], dtype=np.float32)
    np.clip(result, -limits, limits, out=result)
    return result.astype(dtype, copy=False)


def _between(low: float, high: float) -> ChannelScale:
    return ChannelScale(low, 1 / (high - low) if high > low else 0.0)


def _by_table(pixels: NDArray[Any], scales: Sequence[ChannelScale], dtype: str) -> NDArray[np.floating]:
    """The same numbers, looked up: there are fewer values than pixels."""
    values = np.arange(1 << 8 * pixels.dtype.itemsize, dtype=pixels.dtype)[:, np.newaxis, np.newaxis]
    tables = [_affine(values, [scale], dtype).ravel() for scale in scales]
    result = np.empty(pixels.shape, dtype)
    for channel, table in enumerate(tables):
        table.take(pixels[..., channel], out=result[..., channel], mode="clip")
    return result
