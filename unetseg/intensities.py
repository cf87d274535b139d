"""Intensities of a scan, collected in bands of rows: counted exactly where they are small integers, else sampled.

8-bit and 16-bit integers are counted one by one, so every statistic of them is exact however large the scan is. Of
other types the extremes, mean and deviation are exact too; quantiles come from all pixels of scans of up to 16 million
pixels, and from every n-th row of larger ones, which the result declares. Mean and deviation take intensities beyond
1e140 as 1e140, so that their squares stay finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.counting import count_small

__all__ = ["QUANTILES", "ChannelIntensities", "Collector", "collector"]

QUANTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)
"""Percentages at which each channel is described."""

MOST_SAMPLES = 1 << 24
"""Pixels of a channel from which quantiles are taken where intensities cannot be counted."""

_ROWS = 64  # rows widened to doubles at once
_LARGEST = 1e140  # the squares of 10**27 pixels can be summed; beside it all ordinary intensities are alike anyway


@dataclass(frozen=True)
class ChannelIntensities:
    """How one channel of a scan is distributed, in the intensities of the file.

    Attributes:
        mean: of all pixels.
        deviation: standard deviation of all pixels.
        quantiles: the intensities at `QUANTILES` per cent, each one that occurs.
        every: 1 where quantiles are exact, n where they are those of every n-th row.
    """

    mean: float
    deviation: float
    quantiles: tuple[float, ...]
    every: int = 1


class Collector(Protocol):
    """Collects one channel, band by band."""

    def add(self, band: NDArray[Any]) -> None:
        """Take the next rows, ``(h, W)``."""

    def percentiles(self, percents: Sequence[float]) -> tuple[float, ...]:
        """The smallest intensities that at least so many per cent of the pixels do not exceed."""

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and largest."""

    def describe(self) -> ChannelIntensities:
        """All in short."""


def collector(dtype: np.dtype[Any], rows: int, columns: int) -> Collector:
    """The collector for a channel of a type and size."""
    if dtype.kind in "iub" and dtype.itemsize <= 2:
        return _Counted(dtype)
    return _Sampled(-(-rows * columns // MOST_SAMPLES))


class _Counted:
    """Counts of every value that the type can hold."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        unsigned = f"u{dtype.itemsize}"
        self._unsigned = np.dtype(unsigned)
        bits = 8 * dtype.itemsize
        self._low = -(1 << bits - 1) if dtype.kind == "i" else 0
        self._counts = np.zeros(1 << bits, np.int64)
        self._cumulative: NDArray[np.int64] | None = None

    def add(self, band: NDArray[Any]) -> None:
        counts = count_small(np.ascontiguousarray(band).view(self._unsigned))
        # Two's complement: the upper half of the unsigned values are the negative ones, which come first.
        self._counts += np.roll(counts, len(counts) // 2) if self._low else counts
        self._cumulative = None

    def percentiles(self, percents: Sequence[float]) -> tuple[float, ...]:
        if self._cumulative is None:  # asked for more than once, and as long as all the rest for 16-bit integers
            self._cumulative = np.cumsum(self._counts)
        ranks = _ranks(int(self._cumulative[-1]), percents)
        return tuple(float(place + self._low) for place in np.searchsorted(self._cumulative, ranks))

    @property
    def extremes(self) -> tuple[float, float]:
        there = np.flatnonzero(self._counts)
        return float(there[0] + self._low), float(there[-1] + self._low)

    def describe(self) -> ChannelIntensities:
        there = np.flatnonzero(self._counts)
        values, counts = there.astype(np.float64) + self._low, self._counts[there].astype(np.float64)
        mean = float(values @ counts / counts.sum())
        deviation = float(np.sqrt((values - mean) ** 2 @ counts / counts.sum()))
        return ChannelIntensities(mean, deviation, self.percentiles(QUANTILES))


class _Sampled:
    """Exact extremes and moments, and every n-th row.

    Moments of rows are joined as by Chan, Golub and LeVeque (doi:10.1080/00031305.1983.10483115).
    """

    def __init__(self, every: int) -> None:
        self._every, self._rows, self._pixels = every, 0, 0
        self._mean = self._squares = 0.0
        self._low, self._high = np.inf, -np.inf
        self._sample: list[NDArray[Any]] = []
        self._is_sorted = False

    def add(self, band: NDArray[Any]) -> None:
        self._sample.append(band[-self._rows % self._every :: self._every].ravel())
        self._is_sorted = False
        self._rows += band.shape[0]
        self._low, self._high = min(self._low, float(band.min())), max(self._high, float(band.max()))
        for start in range(0, band.shape[0], _ROWS):
            rows = np.ascontiguousarray(band[start : start + _ROWS], dtype=np.float64)
            if max(-self._low, self._high) > _LARGEST:
                rows = np.clip(rows, -_LARGEST, _LARGEST)
            # Row by row, so that sums are rounded alike whatever the bands are.
            for mean, variance in zip(rows.mean(axis=1).tolist(), rows.var(axis=1).tolist(), strict=True):
                self._join(mean, variance, rows.shape[1])

    def _join(self, mean: float, variance: float, pixels: int) -> None:
        apart, total = mean - self._mean, self._pixels + pixels
        self._squares += variance * pixels + apart**2 * self._pixels * pixels / total
        self._mean += apart * pixels / total
        self._pixels = total

    def percentiles(self, percents: Sequence[float]) -> tuple[float, ...]:
        if not self._is_sorted:  # once for all that is asked; sorting takes a quarter of np.percentile's partition
            self._sample, self._is_sorted = [np.sort(np.concatenate(self._sample))], True
        (values,) = self._sample
        return tuple(float(values[rank - 1]) for rank in _ranks(len(values), percents))

    @property
    def extremes(self) -> tuple[float, float]:
        return self._low, self._high

    def describe(self) -> ChannelIntensities:
        low, *_, high = QUANTILES
        inner = self.percentiles([percent for percent in QUANTILES if low < percent < high])
        deviation = float(np.sqrt(self._squares / self._pixels))
        return ChannelIntensities(self._mean, deviation, (self.extremes[0], *inner, self.extremes[1]), self._every)


def _ranks(number: int, percents: Sequence[float]) -> list[int]:
    """Which of so many values, from 1 in ascending order, stands for each percentage."""
    return [max(1, math.ceil(number * (percent / 100))) for percent in percents]
