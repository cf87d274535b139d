"""Timing that a busy machine cannot fool easily: both sides in turn, the median of the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["median_ratio", "seconds"]


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def median_ratio(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 5) -> float:
    """``theirs / ours``: how many times as fast ours is; the median over rounds that alternate."""
    return statistics.median(seconds(theirs) / seconds(ours) for _ in range(rounds))
