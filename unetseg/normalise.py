"""Scale intensities: one function, used by ingest and by predict with the rule that is stored with the model.

Every method is an affine map per channel, ``(x - offset) * scale``, then clipped, so what was done to a scan is two
numbers per channel and can be stored with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.config import IngestConfig
from unetseg.intensities import Collector, collector

__all__ = [
    "METHODS",
    "ChannelScale",
    "Method",
    "denormalise",
    "fit_scales",
    "normalisation_rule",
    "normalise",
    "rule_in_words",
    "scale_of",
]

CLIP = 8.0
"""Where the scale was fitted to the scan, intensities stay within [-CLIP, CLIP]: hot pixels must not swamp a patch."""

LARGEST = 65504.0
"""Where it was given, they only stay within what float16 holds."""

_WORTH_A_TABLE = {1: 1 << 10, 2: 1 << 18}  # pixels from which looking up beats computing, by bytes per pixel
_ROWS = 64  # rows widened to doubles at once
_FAR = 1 << 16  # offset in units of the range from which float32, of 24 bits, blurs what is stored


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
    small = pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2
    # One channel of 32-bit numbers is computed in half the time that looking up takes.
    slow = len(scales) > 1 or dtype != "float32"
    if small and slow and pixels.size > _WORTH_A_TABLE[pixels.dtype.itemsize]:
        return _by_table(pixels, scales, dtype)
    return _affine(pixels, scales, dtype)


def denormalise(image: NDArray[np.floating], scales: Sequence[ChannelScale]) -> NDArray[np.floating]:
    """Back from normalised to stored intensities, but for what was clipped and for rounding.

    Args:
        image: normalised intensities, ``(H, W, C)``.
        scales: what `normalise` was given.

    Returns:
        ``(H, W, C)`` float32, or float64 where float32 cannot tell the intensities apart.
    """
    far = any(_beyond_float32(scale) or abs(scale.offset * scale.scale) > _FAR for scale in scales)
    dtype = np.dtype(np.float64 if far else np.float32)
    offsets = np.array([scale.offset for scale in scales], dtype=dtype)
    factors = np.array([1 / scale.scale if scale.scale else 0.0 for scale in scales], dtype=dtype)
    return image.astype(dtype) * factors + offsets


def normalisation_rule(config: IngestConfig) -> dict[str, object]:
    """The settings that decide how a scan is scaled, by name; equal rules scale every scan alike."""
    settings = METHODS[config.normalisation].settings
    return {"normalisation": config.normalisation, **{name: getattr(config, name) for name in settings}}


def rule_in_words(config: IngestConfig) -> str:
    """What the rule does to the intensities of a channel."""
    return METHODS[config.normalisation].words.format(**normalisation_rule(config))


def scale_of(channel: Collector, config: IngestConfig) -> ChannelScale:
    """The scale of one channel of which all rows were collected."""
    return METHODS[config.normalisation].find(channel, config)


# --------------------------------------------------------------------------- methods


@dataclass(frozen=True)
class Method:
    """One method of normalisation.

    Attributes:
        find: The scale of a channel of which all rows were collected.
        words: What it does to intensities, with places for its settings.
        settings: Those that `find` reads: a change of one makes what was ingested out of date.
    """

    find: Callable[[Collector, IngestConfig], ChannelScale]
    words: str
    settings: tuple[str, ...] = ()


def _by_percentiles(channel: Collector, config: IngestConfig) -> ChannelScale:
    low, high = channel.percentiles((config.low_percentile, config.high_percentile))
    # A few bright spots on black: both percentiles are black, and the spots must not vanish.
    return _between(low, high) if high > low else _between(*channel.extremes)


def _by_deviation(channel: Collector, config: IngestConfig) -> ChannelScale:
    found = channel.describe()
    scale = 1 / found.deviation if found.deviation else 0.0
    return ChannelScale(found.mean, scale if scale < np.inf else 0.0)


def _by_extremes(channel: Collector, config: IngestConfig) -> ChannelScale:
    return _between(*channel.extremes)


def _as_given(channel: Collector, config: IngestConfig) -> ChannelScale:
    return replace(_between(config.fixed_low, config.fixed_high), clip=LARGEST)


def _not_at_all(channel: Collector, config: IngestConfig) -> ChannelScale:
    return ChannelScale(0.0, 1.0, LARGEST)


# A new method is added here, and by its name in `IngestConfig`.
METHODS: Final[Mapping[str, Method]] = {
    "percentile": Method(
        _by_percentiles,
        "percentiles {low_percentile:g} and {high_percentile:g} become 0 and 1",
        ("low_percentile", "high_percentile"),
    ),
    "zscore": Method(_by_deviation, "mean and standard deviation become 0 and 1"),
    "minmax": Method(_by_extremes, "least and largest intensity become 0 and 1"),
    "fixed": Method(
        _as_given, "intensities {fixed_low:g} and {fixed_high:g} become 0 and 1", ("fixed_low", "fixed_high")
    ),
    "none": Method(_not_at_all, "none"),
}


# --------------------------------------------------------------------------- arithmetic


def _affine(pixels: NDArray[np.generic], scales: Sequence[ChannelScale], dtype: str) -> NDArray[np.floating]:
    if not _needs_doubles(pixels.dtype, scales):
        return _scaled(pixels, scales, np.dtype(np.float32)).astype(dtype, copy=False)
    result = np.empty(pixels.shape, dtype)
    for start in range(0, len(pixels), _ROWS):
        result[start : start + _ROWS] = _scaled(pixels[start : start + _ROWS], scales, np.dtype(np.float64))
    return result


def _scaled(
    pixels: NDArray[np.generic], scales: Sequence[ChannelScale], dtype: np.dtype[np.floating]
) -> NDArray[np.floating]:
    """All in one type."""
    offsets = np.array([scale.offset for scale in scales], dtype=dtype)
    factors = np.array([scale.scale for scale in scales], dtype=dtype)
    result: NDArray[np.floating] = pixels.astype(dtype)
    with np.errstate(over="ignore"):  # what overflows is clipped
        result -= offsets
        result *= factors
    limits = np.array([scale.clip for scale in scales], dtype=dtype)
    np.clip(result, -limits, limits, out=result)
    return result


def _needs_doubles(dtype: np.dtype[np.generic], scales: Sequence[ChannelScale]) -> bool:
    """Whether float32 would round intensities before the offset is off, or does not hold the scales."""
    return dtype.itemsize > (4 if dtype.kind == "f" else 2) or any(_beyond_float32(scale) for scale in scales)


def _beyond_float32(scale: ChannelScale) -> bool:
    single = np.finfo(np.float32)
    least, most = float(single.tiny), float(single.max)
    return abs(scale.offset) > most or (scale.scale != 0 and not least <= abs(scale.scale) <= most)


def _between(low: float, high: float) -> ChannelScale:
    """From 0 to 1; a range that has no finite reciprocal, or none but 0, is constant."""
    if not high > low:
        return ChannelScale(low, 0.0)
    scale = 1 / (high - low)
    return ChannelScale(low, scale) if 0 < scale < np.inf else ChannelScale(0.0, 0.0)


def _by_table(pixels: NDArray[Any], scales: Sequence[ChannelScale], dtype: str) -> NDArray[np.floating]:
    """The same numbers, looked up: there are fewer values than pixels."""
    values = np.arange(1 << 8 * pixels.dtype.itemsize, dtype=pixels.dtype)[:, np.newaxis, np.newaxis]
    tables = [_affine(values, [scale], dtype).ravel() for scale in scales]
    result = np.empty(pixels.shape, dtype)
    for channel, table in enumerate(tables):
        table.take(pixels[..., channel], out=result[..., channel], mode="clip")
    return result
