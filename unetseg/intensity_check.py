"""How bright the scans of a dataset are: what ingest counted of all pixels, and histograms of a sample by split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetseg.cutouts import random_window
from unetseg.dataset import Dataset
from unetseg.intensities import QUANTILES
from unetseg.scan_record import ScanRecord
from unetseg.splits import SPLITS

__all__ = [
    "CHART_SIZE",
    "Histogram",
    "IntensityChart",
    "IntensityRow",
    "chart_of",
    "intensity_histograms",
    "intensity_rows",
]

CHART_SIZE = (640, 200)
"""Width and height of a chart, in the units of its drawing."""

_SEED = 0  # the same dataset gives the same page
_SCANS = 12  # of each split
_SIDE = 512  # pixels of the window that is read of each
_EVERY = 4  # rows and columns of it that are taken: 16,000 pixels of a scan show its distribution
_BINS = 64
_SHOWN = (0.1, 99.9)  # per cent: hot pixels must not squeeze the rest into one bin


@dataclass(frozen=True)
class Histogram:
    """Normalised intensities of one channel.

    Attributes:
        channel: its name.
        low: where the first bin begins.
        high: where the last one ends.
        shares: of the sampled pixels, per split and bin; splits without scans are left out.
    """

    channel: str
    low: float
    high: float
    shares: dict[str, tuple[float, ...]]

    @property
    def peak(self) -> float:
        """The largest share."""
        return max(max(shares) for shares in self.shares.values())


@dataclass(frozen=True)
class IntensityRow:
    """Statistics of one channel, in the intensities of the files.

    Attributes:
        channel: its name.
        of: which scan, or all pixels together.
        mean: of the pixels.
        deviation: standard deviation of the pixels.
        quantiles: at `QUANTILES` per cent; None where it does not follow from those of the scans.
    """

    channel: str
    of: str
    mean: float
    deviation: float
    quantiles: tuple[float | None, ...]


def intensity_rows(scans: Sequence[ScanRecord], channels: Sequence[str]) -> list[IntensityRow]:
    """Four rows per channel: all pixels together, and each statistic's least, median and largest among the scans.

    Args:
        scans: at least one.
        channels: names of the channels.
    """
    pixels = np.array([scan.shape[0] * scan.shape[1] for scan in scans], np.float64)
    return [row for c, name in enumerate(channels) for row in _rows_of(name, _statistics(scans, c), pixels)]


def _statistics(scans: Sequence[ScanRecord], c: int) -> NDArray[np.float64]:
    """Mean, deviation and quantiles of a channel of N scans, ``(N, 2 + Q)``."""
    found = [scan.intensities[c] for scan in scans]
    return np.array([(item.mean, item.deviation, *item.quantiles) for item in found])


def _rows_of(channel: str, values: NDArray[np.float64], pixels: NDArray[np.float64]) -> list[IntensityRow]:
    scans = {"lowest scan": values.min(axis=0), "median scan": np.median(values, axis=0), "highest scan": values.max(0)}
    mean, deviation = _pooled(values[:, 0], values[:, 1], pixels)
    unknown = (None,) * (len(QUANTILES) - 2)
    together = IntensityRow(
        channel, "all pixels", mean, deviation, (float(values[:, 2].min()), *unknown, float(values[:, -1].max()))
    )
    rows = [(of, row.tolist()) for of, row in scans.items()]
    return [together, *(IntensityRow(channel, of, row[0], row[1], tuple(row[2:])) for of, row in rows)]


def _pooled(
    means: NDArray[np.float64], deviations: NDArray[np.float64], pixels: NDArray[np.float64]
) -> tuple[float, float]:
    """Mean and standard deviation of all pixels, from those of N scans.

    *Formula*: ``mean = sum(n_i m_i) / n``, ``variance = sum(n_i (s_i^2 + (m_i - mean)^2)) / n``.
    """
    mean = float(np.average(means, weights=pixels))
    variance = np.average(deviations**2 + (means - mean) ** 2, weights=pixels)
    return mean, float(np.sqrt(variance))


def intensity_histograms(dataset: Dataset) -> list[Histogram]:
    """A histogram per channel of what the network sees, from a window of some scans of each split."""
    random = np.random.default_rng(_SEED)
    samples = {split: _sample(dataset, split, random) for split in SPLITS}
    samples = {split: found for split, found in samples.items() if len(found)}
    return [_histogram(name, c, samples) for c, name in enumerate(dataset.index.channels) if samples]


def _sample(dataset: Dataset, split: str, random: np.random.Generator) -> NDArray[np.float64]:
    """Normalised intensities of some pixels, ``(n, C)``."""
    scans = dataset.scans(split)
    chosen = [scans[number] for number in random.permutation(len(scans))[:_SCANS]]
    windows = [dataset.image(scan, random_window(scan, _SIDE, random))[::_EVERY, ::_EVERY] for scan in chosen]
    flat = [window.reshape(-1, window.shape[-1]).astype(np.float64) for window in windows]
    return np.concatenate(flat) if flat else np.zeros((0, 0))


def _histogram(channel: str, c: int, samples: dict[str, NDArray[np.float64]]) -> Histogram:
    low, high = np.percentile(np.concatenate([found[:, c] for found in samples.values()]), _SHOWN)
    low, high = (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)
    shares = {}
    for split, found in samples.items():
        counts, _ = np.histogram(found[:, c], _BINS, (low, high))
        shares[split] = tuple((counts / len(found)).tolist())
    return Histogram(channel, low, high, shares)


# --------------------------------------------------------------------------- drawing


@dataclass(frozen=True)
class IntensityChart:
    """A histogram as a drawing of `CHART_SIZE`.

    Attributes:
        channel: its name.
        lines: points of a line per split, as SVG wants them.
        ticks: numbers below the axis, each with its place.
    """

    channel: str
    lines: dict[str, str]
    ticks: list[tuple[float, str]]


def chart_of(found: Histogram) -> IntensityChart:
    """Draw a histogram; the highest bin of all splits is as high as the chart."""
    width, height = CHART_SIZE
    peak = found.peak or 1.0
    lines = {
        split: " ".join(
            f"{width * (place + 0.5) / len(shares):.1f},{height * (1 - share / peak):.1f}"
            for place, share in enumerate(shares)
        )
        for split, shares in found.shares.items()
    }
    scale = width / (found.high - found.low)
    return IntensityChart(
        found.channel, lines, [(scale * (value - found.low), f"{value:g}") for value in _ticks(found)]
    )


def _ticks(found: Histogram) -> list[float]:
    """Three to eight round numbers within the range."""
    rough = (found.high - found.low) / 7
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(found.low / step), math.floor(found.high / step)
    return [round(number * step, 12) for number in range(first, last + 1)]
