"""Which scans to annotate next: those of which the model is unsure, and which differ from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["choose_next"]

Numbers = NDArray[np.float64]


def choose_next(doubt: Numbers, features: Sequence[Numbers], *, most: int) -> list[int]:
    """Choose scans one after the other: unsure, and unlike those chosen before.

    The first is the one with most doubt; each further one has the largest product of its doubt and its distance from
    the nearest one chosen: farthest-first traversal (doi:10.1016/0304-3975(85)90224-5), weighted. Scans without doubt,
    and copies of a chosen one, are left out.

    Args:
        doubt: of each of N scans, at least 0.
        features: groups of numbers that describe the scans, each ``(N, F)``; each group weighs alike.
        most: scans that are chosen.

    Returns:
        Places of the scans, in the order in which they were chosen; of equal ones the first.
    """
    described = np.hstack([_scaled(group) for group in features])
    chosen: list[int] = []
    nearest = np.ones(len(doubt))
    while len(chosen) < most and (gain := doubt * nearest).max(initial=0.0) > 0:
        chosen.append(int(gain.argmax()))
        away = np.linalg.norm(described - described[chosen[-1]], axis=1)
        nearest = away if len(chosen) == 1 else np.minimum(nearest, away)
    return chosen


def _scaled(group: Numbers) -> Numbers:
    """Mean 0 and deviation 1 in each column, and weights by which groups of any width count alike."""
    deviation = group.std(axis=0)
    width = np.sqrt(max(group.shape[1], 1))
    scaled: Numbers = (group - group.mean(axis=0)) / (np.where(deviation > 0, deviation, 1.0) * width)
    return scaled
