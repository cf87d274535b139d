"""Sides that take turns, and what came of it as a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pipeline import table
from benchmarks.timing import in_turns, median_of_ratios

__all__ = ["Comparison", "Row", "largest_difference", "race"]


@dataclass(frozen=True)
class Row:
    """One side.

    Attributes:
        who: did it.
        seconds: median of the rounds.
        times_first: the median of its time through that of the first side in the same round.
        difference: to what is expected.
    """

    who: str
    seconds: float
    times_first: float
    difference: float


@dataclass(frozen=True)
class Comparison:
    """What was compared, and how fairly.

    Attributes:
        title: of the section.
        equal: what is the same for all sides.
        unequal: what is not, and whom it favours.
        difference: what the column of differences says.
        rounds: in which each side took its turn.
        rows: the sides, unetseg first.
    """

    title: str
    equal: str
    unequal: str
    difference: str
    rounds: int
    rows: Sequence[Row]

    def markdown(self) -> str:
        """The section of the page."""
        head = ("who", "seconds", "times the first", self.difference)
        cells = [
            (row.who, f"{row.seconds:.3g}", f"{row.times_first:.2f}", f"{row.difference:.2g}") for row in self.rows
        ]
        said = [f"Equal: {self.equal}", f"Not equal: {self.unequal}", f"Rounds: {self.rounds}."]
        return "\n\n".join([f"## {self.title}", *said, table(head, cells)])


def race(
    sides: Mapping[str, Callable[[], Any]], difference: Callable[[Any], float], *, rounds: int, warm_up: bool
) -> list[Row]:
    """Let each side take its turn in each round.

    Args:
        sides: what each does; the first one is what the others are compared with.
        difference: of what a side's last turn gave to what is expected.
        rounds: how many.
        warm_up: whether each has a turn before that does not count.
    """
    found: dict[str, Any] = {}

    def turn(name: str) -> None:
        found[name] = sides[name]()

    turns = {name: partial(turn, name) for name in sides}
    if warm_up:
        in_turns(turns, rounds=1)
    taken = in_turns(turns, rounds=rounds)
    first = next(iter(taken.values()))
    return [
        Row(name, statistics.median(times), median_of_ratios(first, times), difference(found[name]))
        for name, times in taken.items()
    ]


def largest_difference(expected: NDArray[np.floating]) -> Callable[[NDArray[np.floating]], float]:
    """Tells how far an array is off, at most."""
    return lambda found: float(np.abs(found - expected).max())
