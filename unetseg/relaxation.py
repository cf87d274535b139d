"""Bounds on what one option per class can reach together: the Lagrangian relaxation of `unetseg.joint_choice`.

Goal and limit, made linear, are weighed against each other, and each class chooses on its own what is best of that sum.
No choice is better than that, whatever the weight, which bounds every choice from above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ROUNDING",
    "Bounds",
    "Floats",
    "Found",
    "Goods",
    "Indices",
    "Options",
    "Problem",
    "Ratio",
    "bounds_of",
    "frontier",
    "relaxed",
    "spread",
    "take",
]

_HALVINGS = 50  # of the Lagrangian weight: down to the last bits of a float
ROUNDING = 1e-12  # bounds are floats of magnitude 1; what lies nearer than this is kept, and decided in integers
_GROWTH = (1.2, 2, 8)  # how much more slack the relaxations have that bound the choice from the sides

Goods = NDArray[np.int64]
Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Linear = tuple[int, int, int]


@dataclass(frozen=True)
class Ratio:
    """``(top . (A, B)) / (bottom . (A, B) + constant)``, A and B being the sums of the goods; all integers.

    Attributes:
        top: coefficients of A and B.
        bottom: coefficients of A and B.
        constant: what is added below.
    """

    top: tuple[int, int]
    bottom: tuple[int, int]
    constant: int

    def at(self, sums: tuple[int, int]) -> Fraction:
        """The value, exactly."""
        below = self.bottom[0] * sums[0] + self.bottom[1] * sums[1] + self.constant
        return Fraction(self.top[0] * sums[0] + self.top[1] * sums[1], below)

    def at_least(self, level: Fraction) -> Linear:
        """``(x, y, z)`` such that the ratio is at least ``level`` exactly where ``x A + y B >= z``."""
        x, y = (
            above * level.denominator - below * level.numerator
            for above, below in zip(self.top, self.bottom, strict=True)
        )
        divisor = math.gcd(x, y) or 1
        return x // divisor, y // divisor, -(-self.constant * level.numerator // divisor)


@dataclass(frozen=True, eq=False)
class Options:
    """What one class may choose among.

    Attributes:
        a: first good of each option, ``(n,)``.
        b: second good of each option, ``(n,)``.
        index: what the caller calls each option, ``(n,)``.
    """

    a: Goods
    b: Goods
    index: Indices

    def where(self, kept: NDArray[np.bool_] | Indices) -> Options:
        """Some of them."""
        return Options(self.a[kept], self.b[kept], self.index[kept])


@dataclass(frozen=True)
class Found:
    """A whole choice: the sums of the goods, and the ``index`` of each class's option."""

    sums: tuple[int, int]
    index: tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """What is maximised, and what must be reached.

    Attributes:
        goal: is maximised.
        limit: must reach a target; None: nothing.
        bound: the limit and its target, made linear.
    """

    goal: Ratio
    limit: Ratio | None
    bound: Linear

    def allows(self, sums: tuple[int, int]) -> bool:
        """Whether the limit is reached, exactly."""
        return self.bound[0] * sums[0] + self.bound[1] * sums[1] >= self.bound[2]

    def rank(self, found: Found) -> tuple[Fraction, Fraction]:
        """What makes one choice better than another, exactly: the goal, then the limit."""
        return self.goal.at(found.sums), self.limit.at(found.sums) if self.limit else Fraction(found.sums[1])


def frontier(a: Goods, b: Goods) -> Indices:
    """The places of those that no other matches in both goods; of equal ones one."""
    order = np.lexsort((b, a))[::-1]
    highest = np.maximum.accumulate(b[order])
    kept: NDArray[np.bool_] = np.ones(len(order), bool)
    kept[1:] = highest[1:] > highest[:-1]
    return order[kept]


def take(classes: Sequence[Options], places: Sequence[np.intp]) -> Found:
    """The choice of one place per class."""
    pairs = list(zip(classes, places, strict=True))
    sums = sum(int(item.a[place]) for item, place in pairs), sum(int(item.b[place]) for item, place in pairs)
    return Found(sums, tuple(int(item.index[place]) for item, place in pairs))


# --------------------------------------------------------------------------- relaxation


@dataclass(frozen=True, eq=False)
class _Relaxation:
    """Goal and limit as linear functions of the goods, of magnitude 1, so that they can be weighed against each other.

    Attributes:
        goals: of each option of each class.
        limits: of each option of each class.
        goal: what a choice must reach to be as good as the one the goal was made linear at.
        limit: what a choice must reach to be allowed.
    """

    goals: list[Floats]
    limits: list[Floats]
    goal: float
    limit: float

    def values(self, weight: float) -> list[Floats]:
        """Goal and limit in one, for every option of every class."""
        return [weight * goal + (1 - weight) * limit for goal, limit in zip(self.goals, self.limits, strict=True)]

    def slack(self, weight: float) -> float:
        """By how much the best choice, of each class on its own, exceeds what a good choice must reach."""
        best = sum(float(value.max()) for value in self.values(weight))
        return best - weight * self.goal - (1 - weight) * self.limit


def _relaxation(classes: Sequence[Options], found: Found, problem: Problem) -> _Relaxation:
    goals, goal = _scaled(classes, problem.goal.at_least(problem.goal.at(found.sums)))
    limits, limit = _scaled(classes, problem.bound)
    return _Relaxation(goals, limits, goal, limit)


def _scaled(classes: Sequence[Options], linear: Linear) -> tuple[list[Floats], float]:
    x, y, z = (float(number) for number in linear)
    # Rounding errors come from the summands, so their size is what counts, not that of the sums.
    largest = [abs(item.a).max() * abs(x) + abs(item.b).max() * abs(y) for item in classes]
    scale = float(sum(largest)) + abs(z) or 1.0
    return [(item.a * x + item.b * y) / scale for item in classes], z / scale


def relaxed(classes: Sequence[Options], problem: Problem) -> Found | None:
    """A good choice by Dinkelbach's iteration over the relaxation; None where nothing reaches the limit."""
    limits, _ = _scaled(classes, problem.bound)
    found = take(classes, [limit.argmax() for limit in limits])
    if not problem.allows(found.sums):
        return None
    while True:
        better = _weighed(classes, _relaxation(classes, found, problem), problem)
        if better is None or problem.rank(better) <= problem.rank(found):
            return found
        found = better


def _weighed(classes: Sequence[Options], relaxation: _Relaxation, problem: Problem) -> Found | None:
    """The choice with as much weight on the goal as the limit allows."""
    found, low, high, weight = None, 0.0, 1.0, 1.0
    for _ in range(_HALVINGS):
        taken = take(classes, [value.argmax() for value in relaxation.values(weight)])
        if problem.allows(taken.sums):
            found, low = taken, weight
        else:
            high = weight
        weight = (low + high) / 2
        if low == 1.0:
            break
    return found


# --------------------------------------------------------------------------- bounds


@dataclass(frozen=True, eq=False)
class Bounds:
    """What may still be part of a choice as good as the one that was found.

    Attributes:
        classes: the options that are left, by rising first gap.
        gaps: per class, by how much each falls short of its class's best in each relaxation, ``(n, weights)``.
        slack: by how much a whole choice may fall short, ``(weights,)``.
    """

    classes: list[Options]
    gaps: list[Floats]
    slack: Floats

    def halves(self) -> list[list[Options]]:
        """Both sides of a gap that the relaxation bridges: one class has its options on only one side of it."""
        ends = [(int(gap[:, -2].argmin()), int(gap[:, -1].argmin())) for gap in self.gaps]
        bridged = [float(gap[first, -1]) for gap, (first, _) in zip(self.gaps, ends, strict=True)]
        k = int(np.argmax(bridged))
        if bridged[k]:
            middle = sum(self.classes[k].a[place] // 2 for place in ends[k])
        else:  # no gap, but too many options
            k = int(np.argmax([len(item.a) for item in self.classes]))
            middle = int(np.median(self.classes[k].a))
        low = self.classes[k].a <= middle
        sides = (self.classes[k].where(side) for side in (low, ~low) if side.any())
        return [[*self.classes[:k], side, *self.classes[k + 1 :]] for side in sides]

    def thinned(self, width: int) -> Bounds:
        """With at most so many options per class."""
        left = [spread(item.a, gap, width) for item, gap in zip(self.classes, self.gaps, strict=True)]
        classes = [item.where(places) for item, places in zip(self.classes, left, strict=True)]
        return Bounds(classes, [gap[places] for gap, places in zip(self.gaps, left, strict=True)], self.slack)


def bounds_of(classes: Sequence[Options], found: Found, problem: Problem) -> Bounds:
    """Drop the options that no choice as good as ``found`` contains."""
    relaxation = _relaxation(classes, found, problem)
    weights = _enclosing(relaxation) if problem.limit else [1.0]
    slack = np.array([relaxation.slack(weight) for weight in weights]) + ROUNDING
    gaps = [
        np.stack([value.max() - value for value in values], axis=1)
        for values in zip(*(relaxation.values(weight) for weight in weights), strict=True)
    ]
    left = [np.flatnonzero((gap <= slack).all(axis=1)) for gap in gaps]
    left = [places[np.argsort(gap[places, 0], kind="stable")] for gap, places in zip(gaps, left, strict=True)]
    pairs = list(zip(classes, gaps, left, strict=True))
    return Bounds([item.where(places) for item, _, places in pairs], [gap[places] for _, gap, places in pairs], slack)


def _enclosing(relaxation: _Relaxation) -> list[float]:
    """The weight of least slack, and those on either side where it has grown; it is a convex function."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        first, second = low + 0.49 * (high - low), low + 0.51 * (high - low)
        low, high = (low, second) if relaxation.slack(first) <= relaxation.slack(second) else (first, high)
    least = (low + high) / 2
    slack = relaxation.slack(least) + ROUNDING
    return [least, *(_crossing(relaxation, least, end, slack * growth) for growth in _GROWTH for end in (0.0, 1.0))]


def _crossing(relaxation: _Relaxation, inside: float, outside: float, limit: float) -> float:
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if relaxation.slack(middle) <= limit else (inside, middle)
    return outside


def spread(a: Goods, gap: Floats, width: int) -> Indices:
    """The places of the smallest gap in each of ``width`` ranges of good a: promising, and unlike each other."""
    if len(a) <= width:
        return np.arange(len(a))
    cell = ((a - a.min()) * (width / (a.max() - a.min() + 1.0))).astype(np.intp)
    order = np.lexsort((gap[:, 0], cell))
    return np.sort(order[np.unique(cell[order], return_index=True)[1]])
