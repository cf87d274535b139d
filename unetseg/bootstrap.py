"""Intervals of scores, and the difference of two models, by drawing whole groups with replacement.

Scans of one patient resemble each other; drawing scans or pixels would make intervals far too narrow (Efron &
Tibshirani 1993, doi:10.1201/9780429246593). Test splits often have few groups, for which plain percentile intervals are
too narrow as well; both methods here correct that as Hesterberg 2015 shows (doi:10.1080/00031305.2015.1089789).

What is not measurable is nan in arrays and None in results, see `unetseg.score_sums`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from unetseg.config import EvaluateConfig
from unetseg.errors import DataError, UsageError
from unetseg.score_sums import (
    MEASURED,
    PRESENT,
    SCORES,
    SURFACE_SCORES,
    add_groups,
    check_counts,
    mean,
    scores_of_sums,
    summands,
)
from unetseg.score_table import check_names
from unetseg.scores import FN, FP, TN, TP, Counts, Values, divide

__all__ = ["COMPARABLE", "Difference", "Interval", "bootstrap_intervals", "paired_difference"]

COMPARABLE = ("recall", "f1", "dice", "iou")  # measurable wherever the class is, whatever the model predicts

_MAX_VALUES = 1 << 22  # numbers held at once while drawing: 32 MB

Interval = tuple[float, float] | None


# --------------------------------------------------------------------------- intervals


def bootstrap_intervals(
    counts: Counts,
    classes: Sequence[str],
    groups: Sequence[str],
    config: EvaluateConfig,
    *,
    surfaces: Values | None = None,
) -> dict[str, dict[str, Interval]]:
    """Expanded percentile intervals of all scores.

    With n groups the percentiles are taken further out, at ``ndtr(-sqrt(n / (n - 1)) t)`` instead of ``ndtr(-z)``,
    where t is the quantile of Student's distribution with n - 1 degrees of freedom; n is the number of groups that
    hold the class. An interval never leaves the range of the draws, hence not [0, 1] either; with 2 or 3 groups that
    range is all there is, and it is still too narrow.

    A draw in which a class does not occur does not count for the class, and its ``macro`` is the mean over the classes
    that do occur.

    Args:
        counts: of each scan and class, ``(S, K, 4)``.
        classes: K names.
        groups: the group of each scan, S names.
        config: draws, confidence and seed.
        surfaces: `SURFACE_SCORES` of each scan and class, ``(S, K, 2)``; nan where not measured.

    Returns:
        For each class and ``macro`` the ``(low, high)`` of each score; None where fewer than two groups hold it.
    """
    check_names(counts, classes)
    sums = add_groups(summands(counts, surfaces), groups)
    draws = np.concatenate([scores_of_sums(drawn) for drawn in _draws(sums, config)])
    holding = _holding(sums)
    intervals = {name: _intervals(draws[:, k], holding[:, k], config) for k, name in enumerate(classes)}
    return intervals | {"macro": _intervals(mean(draws, axis=1), holding.sum(axis=1) > 0, config)}


def _holding(sums: Values) -> NDArray[np.bool_]:
    """Whether a group holds what a score of a class needs: ``(G, K, 7 or 10)`` to ``(G, K, 5 or 7)``."""
    surfaces = [MEASURED] * len(SURFACE_SCORES) if sums.shape[-1] > MEASURED else []
    return np.asarray(sums[..., [PRESENT] * len(SCORES) + surfaces] > 0)


def _draws(sums: Values, config: EvaluateConfig) -> Iterator[Values]:
    """Sums over groups drawn with replacement: ``(G, ...)`` to ``(some draws, ...)``, until all draws are done."""
    random = np.random.default_rng(config.seed)
    groups = len(sums)
    step = max(1, _MAX_VALUES // max(groups, sums[0].size))
    for start in range(0, config.draws, step):
        # How often each draw holds each group is multinomial: one matrix product replaces all the drawing.
        size = min(step, config.draws - start)
        yield np.tensordot(random.multinomial(groups, np.full(groups, 1 / groups), size=size), sums, 1)


def _intervals(draws: Values, holding: NDArray[np.bool_], config: EvaluateConfig) -> dict[str, Interval]:
    """An interval for each column of ``(D, 5 or 7)``, from how many groups of ``(G, 5 or 7)`` hold it."""
    names = (SCORES + SURFACE_SCORES)[: draws.shape[1]]
    groups = holding.sum(axis=0)
    return {name: _interval(draws[:, column], int(groups[column]), config) for column, name in enumerate(names)}


def _interval(draws: Values, groups: int, config: EvaluateConfig) -> Interval:
    measured = draws[~np.isnan(draws)]
    if groups < 2 or not measured.size:
        return None
    tail = ndtr(-np.sqrt(groups / (groups - 1)) * _student(groups - 1, config.confidence))
    low, high = np.quantile(measured, [tail, 1 - tail])
    return float(low), float(high)


def _student(freedom: float, confidence: float) -> float:
    """Half width of a two-sided t interval, in standard errors; the degrees of freedom need not be whole."""
    return float(stdtrit(freedom, (1 + confidence) / 2))


# --------------------------------------------------------------------------- comparison of two models


@dataclass(frozen=True)
class Difference:
    """How much better model b is than model a, on the same scans.

    Attributes:
        mean_a: macro score of model a.
        mean_b: macro score of model b.
        difference: ``mean_b - mean_a``.
        low: lower end of the difference's interval; None with fewer than two groups that hold any class.
        high: upper end, likewise.
        probability_better: share of the draws in which b is better, ties counted half; None likewise.
        groups: how many groups hold any class.
        effective_groups: how many groups of equal size would say as much; None likewise.
        confidence: of the interval.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """

    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    probability_better: float | None
    groups: int
    effective_groups: float | None
    confidence: float
    draws: int
    seed: int


def paired_difference(
    counts_a: Counts, counts_b: Counts, groups: Sequence[str], score: str, config: EvaluateConfig
) -> Difference:
    """Compare the macro scores of two models on the same scans by a paired bootstrap over groups.

    Both models are scored on the same draws, so what makes a scan hard cancels out. The interval is Student's with the
    bootstrap's standard error: ``difference +- t sqrt(G / (G - 1)) SE``, where G is the number of groups that hold any
    class. Unlike percentiles it is wide enough from two groups on (Hesterberg 2015). It ends at -1 and 1.

    Groups of equal size leave ``G - 1`` degrees of freedom for t. Where few groups hold most of what is scored, equal
    models would then seem better too often (where 2 of 50 groups hold 80 % of the pixels, in 13 % of the nights instead
    of 2.5 %). So there are ``n - 1``, but at least 1, where ``n = 1 / sum(share^2)`` is the effective number of groups
    (as Carter et al. 2017 advise, doi:10.1162/REST_a_00639).

    Args:
        counts_a: of model a, ``(S, K, 4)``.
        counts_b: of model b, same scans and classes in the same order.
        groups: the group of each scan, S names.
        score: recall, f1, dice or iou. Precision is nan where a model marks nothing, so that the two means would be
            over other classes; average precision needs probabilities.
        config: draws, confidence and seed.

    Raises:
        UsageError: for another score, or counts that are not of the same masks.
        DataError: if the scans hold no class that could be measured.
    """
    column = _comparable(counts_a, counts_b, score)
    sums = [add_groups(summands(counts), groups) for counts in (counts_a, counts_b)]
    mean_a, mean_b = (float(mean(scores_of_sums(added.sum(axis=0))[..., column])) for added in sums)
    if np.isnan(mean_a):  # then mean_b is nan as well: that depends on the masks alone
        raise DataError(f"{score} cannot be compared: no class is measurable on the {len(groups)} scans; add scans")
    holding = int((sums[0][..., PRESENT] > 0).any(axis=1).sum())
    low = high = better = effective = None
    if holding > 1:
        gains = _gains(sums, column, config)
        better = float(((gains > 0) + 0.5 * (gains == 0)).mean())
        effective = _effective_groups(sums[0], score)
        error = float(gains.std()) * math.sqrt(holding / (holding - 1))
        reach = _student(max(effective - 1, 1), config.confidence) * error
        low, high = max(mean_b - mean_a - reach, -1.0), min(mean_b - mean_a + reach, 1.0)
    return Difference(
        mean_a,
        mean_b,
        mean_b - mean_a,
        low=low,
        high=high,
        probability_better=better,
        groups=holding,
        effective_groups=effective,
        confidence=config.confidence,
        draws=config.draws,
        seed=config.seed,
    )


def _gains(sums: Sequence[Values], column: int, config: EvaluateConfig) -> Values:
    """How much better b is in each draw that holds any class."""
    # The same seed draws the same groups for both, and the same arithmetic makes equal models differ by exactly 0.
    macro_a, macro_b = (
        np.concatenate([mean(scores_of_sums(drawn)[..., column]) for drawn in _draws(added, config)]) for added in sums
    )
    return np.asarray((macro_b - macro_a)[~np.isnan(macro_a)])


def _effective_groups(sums: Values, score: str) -> float:
    """``1 / sum(share^2)``: G for groups of equal size, near 1 where one holds nearly everything.

    A group's share is its mean share of what a class is scored on: true pixels, or scans where each scan has a score.
    """
    per_scan = score in ("dice", "iou")
    sizes = sums[..., PRESENT] if per_scan else sums[..., TP] + sums[..., FN]
    shares = mean(divide(sizes, sizes.sum(axis=0)), axis=1)
    return float(1 / np.square(shares).sum())


def _comparable(counts_a: Counts, counts_b: Counts, score: str) -> int:
    """The column of ``score``, once both models are known to be scored on the same masks."""
    if score not in COMPARABLE:
        raise UsageError(f"score must be one of {', '.join(COMPARABLE)}, got {score!r}; counts cannot compare others")
    check_counts(counts_a)
    check_counts(counts_b)
    truth_a, truth_b = (np.stack([c[..., TP] + c[..., FN], c[..., FP] + c[..., TN]]) for c in (counts_a, counts_b))
    if not np.array_equal(truth_a, truth_b):
        raise UsageError(
            f"counts_a and counts_b must be of the same scans and masks, got {counts_a.shape} and {counts_b.shape} "
            "with other numbers of true pixels; score both models on one split"
        )
    return SCORES.index(score)
