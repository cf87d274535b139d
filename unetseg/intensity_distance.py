"""How far the intensities of a scan are from those of others, as the network sees them.

A channel of a scan is described by a few percentiles of its normalised intensities, which are known from the pass that
finds its scale, whatever the size of the scan and the method of normalisation. Between them the distribution is taken
as even. The lowest and the highest hundredth are left out: hot pixels and empty corners say nothing about a scan.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unetseg.intensities import QUANTILES
from unetseg.normalise import ChannelScale

__all__ = ["KNOTS", "PERCENTS", "Profile", "distance", "even", "pooled", "profile"]

KNOTS = tuple(percent for percent in QUANTILES if 0 < percent < 100)
"""Percentages at which the intensities of a scan are described."""

PERCENTS = tuple(range(1, 100))
"""Percentages at which distributions are compared."""

_KNOTS, _PERCENTS = np.array(KNOTS, np.float64), np.array(PERCENTS, np.float64)

Profile = tuple[float, ...]
"""Normalised intensities of one channel of a scan at `KNOTS` per cent."""


def profile(intensities: Sequence[float], scale: ChannelScale) -> Profile:
    """The profile of a channel.

    Args:
        intensities: of the file, at `KNOTS` per cent.
        scale: that normalises it.
    """
    scaled = (np.array(intensities, np.float64) - scale.offset) * scale.scale
    return tuple(np.clip(scaled, -scale.clip, scale.clip).tolist())


def even(profiles: Sequence[Profile]) -> NDArray[np.float64]:
    """Intensities at `PERCENTS` per cent of several profiles, ``(N, 99)``, by linear interpolation."""
    return np.stack([_even(values) for values in profiles])


def pooled(profiles: Sequence[Profile]) -> tuple[float, ...]:
    """The distribution of all scans together, each counting alike, at `PERCENTS` per cent.

    Args:
        profiles: of one channel of N scans, at least one.
    """
    return tuple(np.percentile(even(profiles), PERCENTS, method="inverted_cdf").tolist())


def distance(values: Profile, others: Sequence[float]) -> float:
    """Wasserstein-1 distance: how far an intensity must be moved on average to make one distribution of the other.

    *Formula*: ``W1 = integral |F^-1(u) - G^-1(u)| du``, here the mean over u = 1 %, 2 % ... 99 %.

    Args:
        values: profile of a channel of a scan.
        others: distribution at `PERCENTS` per cent, from `pooled`.

    Returns:
        In normalised intensities; 0 where both are alike.
    """
    return float(np.abs(_even(values) - others).mean())


def _even(values: Profile) -> NDArray[np.float64]:
    """Intensities at `PERCENTS` per cent; NumPy would make arrays of the percentages at each call."""
    return np.interp(_PERCENTS, _KNOTS, values)
