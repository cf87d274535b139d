"""The rules of the gate: whether one model may replace another, from their counts on the same scans alone.

A challenger is promoted when the interval of its gain over production lies above 0 and no class lost more than its
tolerance. With equal models that happens in at most 5 % of the nights, whatever the number of groups and their sizes:
``tests/drills/test_gate_drill.py`` simulates them. Losses of classes are compared as they are, without intervals; with
few scans noise alone can block a challenger, which errs on the side of what is in production.

Where all test scans are of one group, its scans are drawn instead. They resemble each other, so that their interval is
too narrow, and the gain must also be more than the tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unetseg.bootstrap import Difference, paired_difference
from unetseg.class_settings import by_class, parse_tolerance
from unetseg.config import EvaluateConfig, GateConfig
from unetseg.errors import DataError, UsageError
from unetseg.score_sums import SCORES, class_scores, mean

__all__ = ["ClassChange", "GateNumbers", "Scored", "Verdict", "class_tolerances", "compare", "first"]

Units = Literal["groups", "scans"]

_UNEVEN = 2 / 3  # groups that count like less than this share of their number are said to be uneven


@dataclass(frozen=True)
class Scored:
    """One model on the test split.

    Attributes:
        scans: S ids.
        groups: the group of each scan.
        counts: of each scan and class, ``(S, K, 4)``.
    """

    scans: tuple[str, ...]
    groups: tuple[str, ...]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class ClassChange:
    """One class before and after.

    Attributes:
        before: its score with production; None: not measurable, or no production.
        after: its score with the challenger; None: not measurable.
        tolerance: what it may lose.
        ruined: whether it lost more.
    """

    before: float | None
    after: float | None
    tolerance: float
    ruined: bool


@dataclass(frozen=True)
class GateNumbers:
    """The numbers behind a decision, for pages that show them.

    Attributes:
        against: version in production then; None where there was none to compare with.
        score: what was compared.
        before: macro score of production, None likewise.
        after: macro score of the challenger; None: not measurable.
        low: lower end of the interval of the gain; None where there is none.
        high: upper end, likewise.
        confidence: of that interval, likewise.
        units: what the bootstrap drew: groups, or the scans of one group.
        number: how many of them hold any class, likewise None.
        effective_number: how many of equal size would say as much, likewise None.
        draws: of the bootstrap, likewise.
        seed: of the bootstrap, likewise.
        classes: by name, in the order of the model.
    """

    against: str | None
    score: str
    before: float | None
    after: float | None
    classes: dict[str, ClassChange]
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    units: Units = "groups"
    number: int | None = None
    effective_number: float | None = None
    draws: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger is promoted, why, and from which numbers."""

    promotes: bool
    reason: str
    numbers: GateNumbers


def class_tolerances(config: GateConfig, classes: Sequence[str]) -> dict[str, float]:
    """What each class may lose, by name.

    Raises:
        UsageError: ``class_tolerances`` names a class that does not exist.
    """
    own = {name: parse_tolerance(text) for name, text in by_class(config.class_tolerances).items()}
    if unknown := [name for name in own if name not in classes]:
        raise UsageError(
            f"gate.class_tolerances: there is no class {unknown[0]!r}; the classes are {', '.join(classes)}"
        )
    return {name: own.get(name, config.tolerance) for name in classes}


# --------------------------------------------------------------------------- a first model


def first(ours: Scored, classes: Sequence[str], config: GateConfig) -> Verdict:
    """A model that cannot be compared with any is promoted when it reaches the floor."""
    scores = _scores(ours, config)
    tolerances = class_tolerances(config, classes)
    changes = {
        name: ClassChange(None, _plain(score), tolerances[name], ruined=False)
        for name, score in zip(classes, scores, strict=True)
    }
    reached = _plain(mean(scores))
    numbers = GateNumbers(None, config.score, None, reached, changes)
    if reached is None:
        return Verdict(False, _unmeasurable(config), numbers)
    words = "reaches" if reached >= config.floor else "is below"
    reason = f"macro {config.score} {reached:.3f} {words} the floor of {config.floor}"
    return Verdict(reached >= config.floor, reason, numbers)


def _unmeasurable(config: GateConfig) -> str:
    return f"macro {config.score} cannot be measured: no class is in the test split"


# --------------------------------------------------------------------------- two models


def compare(
    ours: Scored, theirs: Scored, classes: Sequence[str], config: GateConfig, draws: EvaluateConfig, *, against: str
) -> Verdict:
    """Compare a challenger with production.

    Args:
        ours: the challenger.
        theirs: production, on the same scans in the same order.
        classes: K names.
        config: score and tolerances.
        draws: draws, confidence and seed of the bootstrap.
        against: version of production.

    Raises:
        UsageError: the counts are not of the same masks, or a tolerance names an unknown class.
    """
    changes = _changes(ours, theirs, classes, config)
    try:
        difference, units = _difference(ours, theirs, config, draws)
    except DataError:
        return Verdict(False, _unmeasurable(config), GateNumbers(against, config.score, None, None, changes))
    gain = _sentence(difference, units, config)
    ruined = [
        f"{name} fell from {config.score} {change.before:.3f} to {change.after:.3f}, more than the "
        f"{change.tolerance:g} allowed"
        for name, change in changes.items()
        if change.ruined
    ]
    promotes = not ruined and _better(difference, units, config)
    return Verdict(promotes, "; ".join([*ruined, gain]), _numbers(difference, units, changes, config, against))


def _scores(model: Scored, config: GateConfig) -> NDArray[np.float64]:
    """The gate's score of each class, ``(K,)``; nan where not measurable."""
    return class_scores(model.counts)[:, SCORES.index(config.score)]


def _plain(value: float | np.floating | NDArray[np.float64]) -> float | None:
    return None if np.isnan(value) else float(value)


def _changes(ours: Scored, theirs: Scored, classes: Sequence[str], config: GateConfig) -> dict[str, ClassChange]:
    tolerances = class_tolerances(config, classes)
    scores = zip(classes, _scores(theirs, config), _scores(ours, config), strict=True)
    return {
        name: ClassChange(
            _plain(before), _plain(after), tolerances[name], ruined=bool(before - after > tolerances[name])
        )
        for name, before, after in scores
    }


def _difference(ours: Scored, theirs: Scored, config: GateConfig, draws: EvaluateConfig) -> tuple[Difference, Units]:
    """The gain; one group alone cannot be drawn from, so its scans then stand for themselves."""
    by_group = paired_difference(theirs.counts, ours.counts, ours.groups, config.score, draws)
    if by_group.low is not None:
        return by_group, "groups"
    return paired_difference(theirs.counts, ours.counts, ours.scans, config.score, draws), "scans"


def _better(difference: Difference, units: Units, config: GateConfig) -> bool:
    """Whether the interval lies above 0; scans of one group resemble each other, so there the gain counts as well."""
    enough = units == "groups" or difference.difference > config.tolerance
    return enough and (difference.low is None or difference.low > 0)


def _sentence(difference: Difference, units: Units, config: GateConfig) -> str:
    """Such as ``macro f1 0.940 -> 0.952 (difference +0.004 to +0.020 at 95% confidence, 12 groups)``."""
    change = f"macro {config.score} {difference.mean_a:.3f} -> {difference.mean_b:.3f}"
    gain, limit = f"the gain, {difference.difference:+.3f}, must", f"be more than {config.tolerance:g}"
    if difference.low is None or difference.high is None:
        return f"{change} (one test scan: {gain} {limit})"
    interval = f"difference {difference.low:+.3f} to {difference.high:+.3f} at {difference.confidence:.0%} confidence"
    uneven, effective = "", difference.effective_groups or 0.0
    if effective < _UNEVEN * difference.groups:
        uneven = f" so uneven that they count like {max(effective, 1):.1f}"
    if units == "groups":
        return f"{change} ({interval}, {difference.groups} groups{uneven})"
    scans = f"{difference.groups} scans of one group{uneven}, not over groups"
    return f"{change} ({interval} over {scans}: {gain} also {limit})"


def _numbers(
    difference: Difference, units: Units, changes: dict[str, ClassChange], config: GateConfig, against: str
) -> GateNumbers:
    drawn = difference.low is not None
    return GateNumbers(
        against=against,
        score=config.score,
        before=difference.mean_a,
        after=difference.mean_b,
        classes=changes,
        low=difference.low,
        high=difference.high,
        confidence=difference.confidence if drawn else None,
        units=units,
        number=difference.groups,
        effective_number=difference.effective_groups,
        draws=difference.draws if drawn else None,
        seed=difference.seed if drawn else None,
    )
