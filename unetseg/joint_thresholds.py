"""Thresholds of several classes chosen together, so that an average over the classes meets a criterion.

Micro averages count the pixels of all classes as if they were one; macro averages are means over classes. A class has
a threshold of its own, and what one class gives up another may gain: `best_choice` weighs that exactly. Conventions:

- Every class marks at least one pixel: precision is undefined where nothing is marked, so that is never chosen.
- Only classes with foreground take part; the others are not measurable.

Precision and recall of macro averages are compared in steps of 2**-50, about 1e-15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from unetseg.config import EvaluateConfig
from unetseg.curves import Counts, Curve, Values
from unetseg.joint_choice import best_choice
from unetseg.relaxation import Options, Ratio

__all__ = ["Averages", "average_of", "choose_places", "highest_precision"]

_STEPS = 1 << 50  # of precision and recall in macro averages: sums over thousands of classes fit into 64 bits
_DENOMINATOR = 10**6  # of targets: six decimals, so that pixels times this fit into 64 bits


@dataclass(frozen=True)
class Averages:
    """Precision, recall and F-beta of several classes, averaged.

    Attributes:
        precision: micro or macro average.
        recall: micro or macro average.
        f_beta: micro or macro average.
    """

    precision: float
    recall: float
    f_beta: float


def average_of(curves: Sequence[Curve], places: Sequence[int], average: str, beta: float) -> Averages:
    """What the average is where class k is cut at ``curves[k].thresholds[places[k]]``.

    Args:
        curves: of classes with foreground.
        places: one per class.
        average: ``micro`` or ``macro``.
        beta: of F-beta.
    """
    pairs = list(zip(curves, places, strict=True))
    if average == "macro":
        cut = [(c.precision[place], c.recall[place], c.f_beta(beta)[place]) for c, place in pairs]
        return Averages(*np.mean(cut, axis=0).tolist())
    pooled = Curve(
        thresholds=np.zeros(1),
        true_positives=np.array([sum(int(curve.true_positives[place]) for curve, place in pairs)]),
        false_positives=np.array([sum(int(curve.false_positives[place]) for curve, place in pairs)]),
        positives=sum(curve.positives for curve in curves),
    )
    return Averages(float(pooled.precision[0]), float(pooled.recall[0]), float(pooled.f_beta(beta)[0]))


def choose_places(curves: Sequence[Curve], config: EvaluateConfig) -> list[int] | None:
    """Per class the place on its curve, so that the average over the classes is as high as it can be.

    Args:
        curves: of classes with foreground, at least one.
        config: criterion ``f_beta``, ``recall_at_precision`` or ``precision_at_recall``; average ``micro`` or
            ``macro``; beta and target (of which six decimals count).

    Returns:
        Places such that no others make the average higher; None where the target cannot be reached.
    """
    if config.criterion == "f_beta":
        return _highest_f_beta(curves, config)
    recall, precision = _ratios(curves, config.average)
    target = Fraction(str(config.target)).limit_denominator(_DENOMINATOR)
    goal, limit = (recall, precision) if config.criterion == "recall_at_precision" else (precision, recall)
    return best_choice(_options(curves, config.average), goal, limit, target)


def highest_precision(curves: Sequence[Curve], average: str) -> float:
    """The highest average precision that any thresholds reach.

    Args:
        curves: of classes with foreground, at least one.
        average: ``micro`` or ``macro``.
    """
    places = best_choice(_options(curves, average), _ratios(curves, average)[1])
    return average_of(curves, places or [], average, 1.0).precision


def _highest_f_beta(curves: Sequence[Curve], config: EvaluateConfig) -> list[int] | None:
    if config.average == "macro":  # a mean is highest where each of its summands is
        scores = [curve.f_beta(config.beta) for curve in curves]
        return [int(np.flatnonzero(score == score.max())[-1]) for score in scores]
    # (1 + b^2) TP / (TP + FP + b^2 P), with b^2 as a fraction of whole numbers
    beta = (Fraction(str(config.beta)) ** 2).limit_denominator(_DENOMINATOR)
    above, below = beta.numerator, beta.denominator
    positives = sum(curve.positives for curve in curves)
    return best_choice(_options(curves, config.average), Ratio((above + below, 0), (below, -below), above * positives))


def _options(curves: Sequence[Curve], average: str) -> list[Options]:
    """Goods that add up: true and minus false positives, or recall and precision in small steps."""
    if average == "micro":
        return [Options(c.true_positives, -c.false_positives, np.arange(len(c.thresholds))) for c in curves]
    return [Options(_steps(c.recall), _steps(c.precision), np.arange(len(c.thresholds))) for c in curves]


def _steps(values: Values) -> Counts:
    # Rounded up, so that a mean that is exactly the target is never found to be below it.
    return np.floor(values * _STEPS).astype(np.int64) + 1


def _ratios(curves: Sequence[Curve], average: str) -> tuple[Ratio, Ratio]:
    """Recall and precision of the sums of the goods."""
    if average == "micro":
        return Ratio((1, 0), (0, 0), sum(curve.positives for curve in curves)), Ratio((1, 0), (1, -1), 0)
    whole = len(curves) * _STEPS
    return Ratio((1, 0), (0, 0), whole), Ratio((0, 1), (0, 0), whole)
