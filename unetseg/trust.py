"""What speaks for looking at a scan before its segmentation is trusted: three measures, each with its words.

- near threshold: how much of what is marked was a close decision (`unetseg.near_threshold`);
- intensities: how far they are from those of the training data, in units of how far training scans are;
- areas: how much more, or less, of a scan a class covers than on the training's scans.

The last two compare with what the bundle tells of its training data; older bundles do not, and below ten training scans
there is no telling what is usual: they are unknown then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from unetseg.intensity_distance import Profile, distance
from unetseg.object_table import ObjectRow
from unetseg.suspicions import FEWEST_SCANS, USUAL_SHARE, usual_range
from unetseg.training_data import ClassAreas, Intensities, TrainingData
from unetseg.words import percent

__all__ = ["ODD", "UNSURE", "Area", "Intensity", "Near", "Trust", "judge"]

ODD = 1.0
"""Ratios above this are reasons to look at a scan."""

UNSURE = 0.5
"""So is more than this share of the pixels near the threshold."""

_SAME = 0.01  # of the range of intensities: distances below it are those of equal scans
_NAMED = 3  # classes of odd area that are named
_TINY = 1e-9  # where all are equal, so that ratios stay finite


@dataclass(frozen=True)
class Near:
    """The class that was decided least clearly.

    Attributes:
        share: of its marked and nearly marked pixels that are near the threshold.
        class_name: the class.
    """

    share: float
    class_name: str

    @property
    def words(self) -> str:
        """The reason, or nothing."""
        if self.share <= UNSURE:
            return ""
        return f"{self.class_name}: {100 * self.share:.0f} % of its pixels are near the threshold"


@dataclass(frozen=True)
class Intensity:
    """The channel whose intensities are furthest from the training data's.

    Attributes:
        distance: Wasserstein-1 distance in normalised intensities.
        ratio: to the largest distance of a training scan; None where too few are known.
        channel: its name.
        alone: whether it is the only channel.
    """

    distance: float
    ratio: float | None
    channel: str
    alone: bool

    @property
    def words(self) -> str:
        """The reason, or nothing."""
        if self.ratio is None or self.ratio <= ODD:
            return ""
        whose = "intensities are" if self.alone else f"intensities of {self.channel} are"
        return f"{whose} farther from the training data than any training scan's ({self.ratio:,.1f} times)"


@dataclass(frozen=True)
class Area:
    """How far the area of a class is from what the training data had.

    Attributes:
        ratio: above 1 where the area is outside of what is usual and of what training had.
        class_name: the class.
        words: the reason, or nothing.
    """

    ratio: float
    class_name: str
    words: str


@dataclass(frozen=True)
class Trust:
    """The three measures of a scan.

    Attributes:
        near: of the class that was decided least clearly.
        intensity: of the channel that is furthest from the training data; None where that is unknown.
        areas: of the classes of which it is known what is usual, the oddest first.
    """

    near: Near
    intensity: Intensity | None
    areas: tuple[Area, ...]

    @property
    def intensity_ratio(self) -> float | None:
        """Of `Intensity`."""
        return self.intensity.ratio if self.intensity else None

    @property
    def area_ratio(self) -> float | None:
        """Of the oddest `Area`."""
        return self.areas[0].ratio if self.areas else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why to look at the scan, in words."""
        found = (self.intensity, *self.areas[:_NAMED], self.near)
        return tuple(item.words for item in found if item and item.words)


def judge(rows: Sequence[ObjectRow], profiles: Sequence[Profile], known: TrainingData | None) -> Trust:
    """Measure one scan.

    Args:
        rows: of the table, one per class.
        profiles: of its channels.
        known: what the training data looked like; None: unknown.
    """
    near = max((Near(row.near_threshold, row.class_name) for row in rows), key=lambda item: item.share)
    if known is None:
        return Trust(near, None, ())
    channels = [_intensity(values, told, known) for values, told in zip(profiles, known.intensities, strict=True)]
    areas = [item for row, told in zip(rows, known.areas, strict=True) if (item := _area(row, told))]
    return Trust(
        near,
        max(channels, key=lambda item: (item.ratio or 0.0, item.distance)),
        tuple(sorted(areas, key=lambda item: -item.ratio)),
    )


def _intensity(values: Profile, told: Intensities, known: TrainingData) -> Intensity:
    away, ratio = distance(values, told.distribution), None
    if known.scans >= FEWEST_SCANS:
        reach = told.distribution[-1] - told.distribution[0]
        ratio = away / max(told.distances[-1], _SAME * reach, _TINY)
    return Intensity(away, ratio, told.channel, alone=len(known.intensities) == 1)


def _area(row: ObjectRow, told: ClassAreas) -> Area | None:
    """The distance of the log odds from their median, in units of the limit on that side; None: nothing is known.

    A class that is not found counts as one of a single pixel, unless training scans lack it too.
    """
    if told.scans_with < FEWEST_SCANS:
        return None
    if not row.pixels and told.scans_with < USUAL_SHARE * (told.scans_with + told.scans_without):
        return Area(0.0, told.class_name, "")
    low, middle, high = _limits(told.fractions)
    away = _log_odds(row.fraction, 1 / (row.height * row.width)) - middle
    ratio = away / (high - middle if away > 0 else low - middle)
    return Area(ratio, told.class_name, _area_words(row, told) if ratio > ODD else "")


@lru_cache
def _limits(fractions: tuple[float, ...]) -> tuple[float, float, float]:
    """Log odds from which an area is odd below, of the median, and from which it is odd above.

    Odd is what training had nowhere, and what is beyond `unetseg.suspicions.usual_range` too, or has more than twice
    the odds of the largest area there, or less than half those of the smallest.
    """
    odds = [_log_odds(fraction, _TINY) for fraction in fractions]
    low, high = np.log(usual_range(np.exp(odds))).tolist()
    low = max(min(low, odds[0]), odds[0] - math.log(2))
    high = min(max(high, odds[-1]), odds[-1] + math.log(2))
    return low, float(np.median(odds)), high


def _log_odds(fraction: float, least: float) -> float:
    inside = min(max(fraction, least), 1 - least)
    return math.log(inside / (1 - inside))


def _area_words(row: ObjectRow, told: ClassAreas) -> str:
    if not row.pixels:
        scans = told.scans_with + told.scans_without
        return f"{row.class_name}: not found, and {told.scans_with} of {scans} training scans have it"
    least, most = told.fractions[0], told.fractions[-1]
    limit = f"at most {percent(most)}" if row.fraction > most else f"at least {percent(least)}"
    return f"{row.class_name}: {percent(row.fraction)} of the scan, training had {limit}"
