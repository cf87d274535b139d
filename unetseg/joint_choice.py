"""One option per class, so that an average over the classes is highest: exact, and fast for thousands of options.

Every option has two goods, such as recall and precision, or true positives and minus false positives, which add up over
the classes. What is maximised, and what must be reached, are ratios of these sums that never fall where a good rises.
This is the multiple-choice knapsack problem, with a fractional objective where the ratio divides by what was chosen
(Dinkelbach 1967, doi:10.1287/mnsc.13.7.492). It is solved in three steps:

1. A good choice: the Lagrangian relaxation, in which each class chooses on its own, inside Dinkelbach's iteration; then
   a merge that follows only the most promising partial choices.
2. Branch and bound: an option is dropped where even the best of all other classes, relaxed, cannot make up for it.
   Relaxations of several weights, rather than one, enclose what may be better from all sides. Where many options are
   left, the options of the class that the relaxation serves worst are split in two, and each half is searched.
3. An exhaustive merge of the few that are left, class by class, without partial choices that are dominated or out of
   bounds.

Steps 2 and 3 lose no best choice, so the outcome is exact; step 1 only decides how much is left to merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np

from unetseg.relaxation import (
    ROUNDING,
    Bounds,
    Floats,
    Found,
    Goods,
    Indices,
    Options,
    Problem,
    Ratio,
    bounds_of,
    frontier,
    relaxed,
    spread,
    take,
)

__all__ = ["best_choice"]

_BEAM = 256  # partial choices followed by a merge that only looks for a good choice, and how often it is repeated
_OPTIONS = 1024  # options per class in that merge
_REPEATS = 3
_FEW = 1000  # options of all classes together that are merged rather than split
_PAIRS = 1 << 20  # pairs formed at once: about 50 MB


def best_choice(
    options: Sequence[Options], goal: Ratio, limit: Ratio | None = None, target: Fraction = Fraction(0)
) -> list[int] | None:
    """Choose one option per class so that ``goal`` is highest among choices where ``limit`` is at least ``target``.

    Among equally good choices the one with the higher ``limit`` is taken (without a limit: with more of good b).

    Args:
        options: of each class, at least one.
        goal: what is maximised.
        limit: what must be reached; None: nothing.
        target: how much of it.

    Returns:
        Per class the ``index`` of its option; None where no choice reaches ``target``.
    """
    problem = Problem(goal, limit, limit.at_least(target) if limit else (0, 0, 0))
    classes = [item.where(frontier(item.a, item.b)) for item in options]
    found = relaxed(classes, problem)
    if found is None:
        return None
    for _ in range(_REPEATS):
        bounds = bounds_of(classes, found, problem)
        classes = bounds.classes
        found = _merged(bounds, found, problem, _BEAM)
    return list(_searched(classes, found, problem).index)


def _searched(classes: Sequence[Options], found: Found, problem: Problem) -> Found:
    """Branch and bound: the best of ``found`` and all choices."""
    branches = [classes]
    while branches:
        classes = branches.pop()
        candidate = relaxed(classes, problem)
        if candidate is None:
            continue
        found = max(found, candidate, key=problem.rank)
        bounds = bounds_of(classes, found, problem)
        if not all(len(item.a) for item in bounds.classes):
            continue
        if problem.limit and sum(len(item.a) - 1 for item in bounds.classes) > _FEW:
            branches += bounds.halves()
        else:
            found = _merged(bounds, found, problem, None)
    return found


# --------------------------------------------------------------------------- merge


@dataclass(frozen=True, eq=False)
class _Partial:
    """Choices for some of the classes: sums of goods and gaps, and of what each is made."""

    a: Goods
    b: Goods
    gap: Floats
    parent: Indices
    place: Indices

    def where(self, kept: Indices) -> _Partial:
        return _Partial(self.a[kept], self.b[kept], self.gap[kept], self.parent[kept], self.place[kept])


def _merged(bounds: Bounds, found: Found, problem: Problem, width: int | None) -> Found:
    """The best of ``found`` and all choices within bounds; with a width, of those that few partial ones lead to."""
    if width is not None:
        bounds = bounds.thinned(_OPTIONS)
    order = sorted(range(len(bounds.classes)), key=lambda k: len(bounds.classes[k].a))
    zero = np.zeros(1, np.int64)
    trail = [_Partial(zero, zero, np.zeros((1, len(bounds.slack))), zero, zero)]
    for k in order:
        partial = _extended(trail[-1], bounds, k)
        trail.append(partial if width is None else partial.where(spread(partial.a, partial.gap, width)))
    return max(
        [found, *(_follow(trail, order, bounds, place) for place in _best(trail[-1], problem))], key=problem.rank
    )


def _extended(partial: _Partial, bounds: Bounds, k: int) -> _Partial:
    """Every partial choice with every option of class k that it can afford, without the dominated."""
    if not len(partial.a):
        return partial
    affordable = np.searchsorted(bounds.gaps[k][:, 0], bounds.slack[0] - partial.gap[:, 0], side="right")
    ends = np.cumsum(affordable)
    parts, start = [], 0
    while start < len(ends):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS, side="right")))
        parents = np.repeat(np.arange(start, stop), affordable[start:stop])
        firsts = np.repeat(ends[start:stop] - affordable[start:stop], affordable[start:stop])
        parts.append(_paired(partial, bounds, k, parents, np.arange(done, ends[stop - 1]) - firsts))
        start = stop
    if len(parts) == 1:
        return parts[0]
    joined = (np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(_Partial))
    together = _Partial(*joined)
    return together.where(frontier(together.a, together.b))


def _paired(partial: _Partial, bounds: Bounds, k: int, parents: Indices, places: Indices) -> _Partial:
    gap = partial.gap[parents] + bounds.gaps[k][places]
    kept = (gap <= bounds.slack).all(axis=1)
    parents, places, gap = parents[kept], places[kept], gap[kept]
    item = bounds.classes[k]
    pairs = _Partial(partial.a[parents] + item.a[places], partial.b[parents] + item.b[places], gap, parents, places)
    return pairs.where(frontier(pairs.a, pairs.b))


def _best(partial: _Partial, problem: Problem) -> Indices:
    """The places of the whole choices that may be the best: allowed, and within rounding of the highest goal."""
    x, y, z = problem.bound
    allowed = np.flatnonzero(x * partial.a + y * partial.b >= z)
    if not allowed.size:
        return allowed
    (top_a, top_b), (bottom_a, bottom_b) = problem.goal.top, problem.goal.bottom
    a, b = partial.a[allowed].astype(float), partial.b[allowed].astype(float)
    goal = (top_a * a + top_b * b) / (bottom_a * a + bottom_b * b + problem.goal.constant)
    near: Indices = allowed[goal >= goal.max() * (1 - ROUNDING)]
    return near


def _follow(trail: Sequence[_Partial], order: Sequence[int], bounds: Bounds, last: np.intp) -> Found:
    """The whole choice that ends at ``last``, back from class to class."""
    places = [last] * len(order)
    for partial, k in zip(trail[:0:-1], order[::-1], strict=True):
        places[k], last = partial.place[last], partial.parent[last]
    return take(bounds.classes, places)
