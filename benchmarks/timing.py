"""Timing that a busy machine cannot fool easily: all sides in turn, the median of the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

__all__ = ["in_turns", "median_of_ratios", "median_ratio", "seconds"]


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def in_turns(sides: Mapping[str, Callable[[], object]], *, rounds: int = 5) -> dict[str, list[float]]:
    """How long each side takes in each round; every other round goes backwards, so that nobody always comes first."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            taken[name].append(seconds(sides[name]))
    return taken


def median_of_ratios(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """``theirs / ours``, round by round: how many times as fast ours is."""
    return statistics.median(there / here for here, there in zip(ours, theirs, strict=True))


def median_ratio(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 5) -> float:
    """``theirs / ours``: how many times as fast ours is; the median over rounds that alternate."""
    taken = in_turns({"theirs": theirs, "ours": ours}, rounds=rounds)
    return median_of_ratios(taken["ours"], taken["theirs"])
