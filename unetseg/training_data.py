"""What the scans looked like that made a model: what new scans are compared with. It names no scan and nobody.

All comes from the records of the dataset, so no pixel is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetseg.class_statistics import count_pixels
from unetseg.intensities import QUANTILES
from unetseg.intensity_distance import KNOTS, Profile, distance, pooled, profile
from unetseg.scan_record import ScanRecord

__all__ = ["ClassAreas", "Intensities", "TrainingData", "describe_training_data"]

_MOST_KEPT = 101  # values of a distribution: all of fewer scans, else one for each per cent


@dataclass(frozen=True)
class Intensities:
    """Normalised intensities of one channel.

    Attributes:
        channel: its name.
        distribution: of all scans together, each counting alike, at 1, 2 ... 99 per cent.
        distances: how far single scans are from all others (`unetseg.intensity_distance.distance`), ascending; of more
            than 101 scans, the 101 percentiles. Empty where there is one scan only.
    """

    channel: str
    distribution: tuple[float, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True)
class ClassAreas:
    """How much of a scan one class covers.

    Attributes:
        class_name: the class.
        scans_with: how many scans have it.
        scans_without: how many have not.
        fractions: share of the pixels that count, of the scans that have it, ascending; of more than 101 scans, the 101
            percentiles.
    """

    class_name: str
    scans_with: int
    scans_without: int
    fractions: tuple[float, ...]


@dataclass(frozen=True)
class TrainingData:
    """What the scans looked like that trained and validated a model.

    Attributes:
        scans: how many.
        intensities: of each channel.
        areas: of each class.
    """

    scans: int
    intensities: tuple[Intensities, ...]
    areas: tuple[ClassAreas, ...]


def describe_training_data(
    scans: Sequence[ScanRecord], channels: Sequence[str], classes: Sequence[str]
) -> TrainingData:
    """Sum up the scans that a model learns from.

    Args:
        scans: of a dataset, at least one.
        channels: names of the channels.
        classes: names of the K classes, in the order of the bits.
    """
    return TrainingData(
        scans=len(scans),
        intensities=tuple(_intensities(name, [_profile(scan, c) for scan in scans]) for c, name in enumerate(channels)),
        areas=_areas(scans, classes),
    )


def _profile(scan: ScanRecord, c: int) -> Profile:
    known = dict(zip(QUANTILES, scan.intensities[c].quantiles, strict=True))
    return profile([known[percent] for percent in KNOTS], scan.scales[c])


def _intensities(channel: str, profiles: Sequence[Profile]) -> Intensities:
    """A scan's distance is that from the others: being one of N that are pooled brings it nearer by (N - 1) / N.

    That is exact for the whole distributions, since `F - mean(F) = (1 - 1/N) (F - mean of the others)`.
    """
    distribution, number = pooled(profiles), len(profiles)
    alone = [distance(item, distribution) * number / (number - 1) for item in profiles] if number > 1 else []
    return Intensities(channel, distribution, _kept(np.array(alone)))


def _areas(scans: Sequence[ScanRecord], classes: Sequence[str]) -> tuple[ClassAreas, ...]:
    counts = count_pixels(scans, classes)
    there = counts.counted > 0
    fractions = counts.classes[there] / counts.counted[there, np.newaxis]
    return tuple(
        ClassAreas(name, int((own > 0).sum()), int((own == 0).sum()), _kept(own[own > 0]))
        for name, own in zip(classes, fractions.T, strict=True)
    )


def _kept(values: NDArray[np.float64]) -> tuple[float, ...]:
    """All values in ascending order, or their percentiles where they are many; the first and last are the extremes."""
    if len(values) <= _MOST_KEPT:
        return tuple(np.sort(values).tolist())
    return tuple(np.percentile(values, np.linspace(0, 100, _MOST_KEPT)).tolist())
