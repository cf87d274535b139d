"""The threshold of each class, chosen from the precision-recall curves by a named criterion.

A class is judged on its own, or the classes together by a micro or macro average (`EvaluateConfig.average`), in which
case their thresholds are chosen jointly.

Example:
    >>> histograms = Histograms.empty(1)
    >>> histograms.add(np.array([[1], [1], [0]], np.uint8), np.array([[1.0], [0.75], [0.25]], np.float32))
    >>> choose_thresholds(histograms, ["vessel"], EvaluateConfig())["vessel"].value
    0.5
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unetseg.class_settings import by_class, parse_criterion
from unetseg.config import EvaluateConfig
from unetseg.curves import BINS, Curve, Values
from unetseg.errors import UsageError
from unetseg.histograms import Histograms
from unetseg.joint_thresholds import average_of, choose_places, highest_precision

__all__ = ["Threshold", "check_criteria", "choose_threshold", "choose_thresholds"]

_FALLBACK = 0.5  # threshold of a class without any foreground: nothing can be said about it


@dataclass(frozen=True)
class Threshold:
    """A chosen threshold; a pixel is foreground where ``y_pred >= value`` (in float32 or float64, not float16).

    Attributes:
        value: a multiple of 1/65536, so that the numbers below are exact.
        reached: whether the criterion was met; if not, ``value`` is a fall-back.
        precision: precision at ``value``; None where nothing is predicted or there is no foreground.
        recall: recall at ``value``; None without foreground.
        score: what ``value`` is best in: recall, precision or F-beta, and F1 for a fall-back; None without foreground.
            Where classes are chosen together this is still the class's own.
        reason: one sentence for people; where classes are chosen together it says what their average reached.
    """

    value: float
    reached: bool
    precision: float | None
    recall: float | None
    score: float | None
    reason: str


def choose_thresholds(histograms: Histograms, classes: Sequence[str], config: EvaluateConfig) -> dict[str, Threshold]:
    """Choose the threshold of every class.

    Classes named in ``config.class_criteria`` are chosen on their own. The others are chosen by ``config.criterion``:
    each on its own, or all of them together where ``config.average`` is ``micro`` or ``macro``; that average is over
    these others alone. Classes without foreground are not measurable and take no part in an average.

    Args:
        histograms: of the validation split, K classes.
        classes: the K names.
        config: criterion, average, class_criteria, beta, target and fixed_threshold.

    Returns:
        A threshold per class, in the order of ``classes``.

    Raises:
        UsageError: if ``classes`` are not K names, or class_criteria names one that is not there.
    """
    if len(classes) != len(histograms.positives):
        raise UsageError(f"classes must be {len(histograms.positives)} names, got {list(classes)}")
    own = _own_criteria(classes, config)
    curves = {name: histograms.curve(k) for k, name in enumerate(classes)}
    chosen = {name: choose_threshold(curves[name], criterion) for name, criterion in own.items()}
    rest = {name: curve for name, curve in curves.items() if name not in own}
    chosen |= _choose_together(rest, config)
    return {name: chosen[name] for name in classes}


def check_criteria(classes: Sequence[str], config: EvaluateConfig) -> None:
    """Refuse criteria of classes that there are not, before any work; the rest was checked with the settings.

    Raises:
        UsageError: naming the criterion and the classes.
    """
    _own_criteria(classes, config)


def _own_criteria(classes: Sequence[str], config: EvaluateConfig) -> dict[str, EvaluateConfig]:
    """Per class that has a criterion of its own: the settings that express it."""
    own = by_class(config.class_criteria)
    if unknown := [name for name in own if name not in classes]:
        raise UsageError(
            f"class_criteria: there is no class {unknown[0]!r}, got {own[unknown[0]]!r}; classes: {', '.join(classes)}"
        )
    return {name: replace(config, **parse_criterion(text)) for name, text in own.items()}


def choose_threshold(curve: Curve, config: EvaluateConfig) -> Threshold:
    """Choose the threshold of one class, on its own, by ``config.criterion``.

    ================================  ==============  =======================  ============================
    criterion                         highest         among thresholds with    ties
    ================================  ==============  =======================  ============================
    ``f_beta``, ``dice`` (beta = 1)   F-beta          (all)                    the highest threshold
    ``recall_at_precision``           recall          precision >= target      the highest: more precision
    ``precision_at_recall``           precision       recall >= target         the lowest: more recall
    ``fixed``                         (none)          it is the number given   rounded to 1/65536
    ================================  ==============  =======================  ============================

    Between two bins that hold pixels every threshold counts the same; the middle of that gap is returned, because
    there a tiny numeric difference (another engine, another processor) changes nothing. A fixed threshold is not moved.

    Args:
        curve: the class on the validation split.
        config: criterion, beta, target and fixed_threshold.

    Returns:
        The threshold. Where the criterion cannot be met ``reached`` is False and the value is that of the best F1, or
        0.5 for a class without foreground.
    """
    if config.criterion == "fixed":
        return _fixed(curve, config)
    if curve.positives == 0:
        reason = f"not chosen: no foreground pixel to judge {config.criterion} by; fell back to {_FALLBACK}"
        return Threshold(_FALLBACK, False, None, None, None, reason)
    scores, allowed = _scores(curve, config)
    if not allowed.any():
        return _fallback(curve, config)
    ties = np.flatnonzero(allowed & (scores == scores[allowed].max()))
    index = int(ties[0] if config.criterion == "precision_at_recall" else ties[-1])
    return _at(curve, index, scores, reached=True, reason=f"{_aim(config)}: {scores[index]:.4f}")


def _scores(curve: Curve, config: EvaluateConfig) -> tuple[Values, NDArray[np.bool_]]:
    """The score to be maximal, and the thresholds that may be taken."""
    if config.criterion == "recall_at_precision":
        return curve.recall, curve.precision >= config.target
    if config.criterion == "precision_at_recall":
        return curve.precision, curve.recall >= config.target
    return curve.f_beta(_beta(config)), np.full(curve.thresholds.shape, True)


def _beta(config: EvaluateConfig) -> float:
    return 1.0 if config.criterion == "dice" else config.beta


def _aim(config: EvaluateConfig, average: str = "") -> str:
    """The criterion in words; ``average`` is ``"micro "`` or ``"macro "``, or empty."""
    if config.criterion == "recall_at_precision":
        return f"highest {average}recall with {average}precision >= {config.target:g}"
    if config.criterion == "precision_at_recall":
        return f"highest {average}precision with {average}recall >= {config.target:g}"
    return f"highest {average}" + ("Dice" if config.criterion == "dice" else f"F{config.beta:g}")


def _fallback(curve: Curve, config: EvaluateConfig) -> Threshold:
    scores = curve.f_beta(1.0)
    index = int(np.flatnonzero(scores == scores.max())[-1])
    reason = (
        f"not reached: no threshold for the {_aim(config)} (highest precision: {curve.precision.max():.4f}); "
        f"fell back to the highest F1: {scores[index]:.4f}"
    )
    return _at(curve, index, scores, reached=False, reason=reason)


def _at(curve: Curve, index: int, scores: Values, *, reached: bool, reason: str) -> Threshold:
    """The threshold in the middle of the gap below ``thresholds[index]``."""
    bins = np.rint(curve.thresholds * BINS).astype(int)
    above_lower = bins[index - 1] + 1 if index else 0  # upper edge of the next lower occupied bin
    return Threshold(
        value=float((bins[index] + above_lower) // 2 / BINS),
        reached=reached,
        precision=float(curve.precision[index]),
        recall=float(curve.recall[index]),
        score=float(scores[index]),
        reason=reason,
    )


def _fixed(curve: Curve, config: EvaluateConfig) -> Threshold:
    value = min(round(config.fixed_threshold * BINS), BINS - 1) / BINS
    index = int(np.searchsorted(curve.thresholds, value))  # the lowest occupied bin that is still predicted
    reason = f"fixed at {config.fixed_threshold:g}, not chosen from the data"
    if curve.positives == 0:
        return Threshold(value, True, None, None, None, reason)
    if index == len(curve.thresholds):
        return Threshold(value, True, None, 0.0, 0.0, reason)
    score = float(curve.f_beta(_beta(config))[index])
    return Threshold(value, True, float(curve.precision[index]), float(curve.recall[index]), score, reason)


# --------------------------------------------------------------------------- together


def _choose_together(curves: Mapping[str, Curve], config: EvaluateConfig) -> dict[str, Threshold]:
    """Of all classes by the criterion, on the average where there is one."""
    if config.average == "class" or config.criterion == "fixed":
        return {name: choose_threshold(curve, config) for name, curve in curves.items()}
    measurable = {name: curve for name, curve in curves.items() if curve.positives}
    chosen = {name: choose_threshold(curve, config) for name, curve in curves.items() if not curve.positives}
    return chosen | _choose_jointly(measurable, config) if measurable else chosen


def _choose_jointly(curves: Mapping[str, Curve], config: EvaluateConfig) -> dict[str, Threshold]:
    """Of classes with foreground."""
    average, cuts = f"{config.average} ", list(curves.values())
    plain = replace(config, criterion="f_beta", beta=1.0) if config.criterion == "dice" else config
    places = choose_places(cuts, plain)
    if reached := places is not None:
        reason = f"chosen together over {len(cuts)} classes: {_aim(config, average)}"
    else:
        plain = replace(config, criterion="f_beta", beta=1.0)
        places = choose_places(cuts, plain) or []
        reason = (
            f"not reached: no thresholds of {len(cuts)} classes for the {_aim(config, average)} (highest {average}"
            f"precision: {highest_precision(cuts, config.average):.4f}); fell back to the highest {average}F1"
        )
    averages = average_of(cuts, places, config.average, plain.beta)
    kind = {"recall_at_precision": "recall", "precision_at_recall": "precision"}.get(plain.criterion, "f_beta")
    reason += f": {getattr(averages, kind):.4f}"
    return {
        name: _at(curve, place, _scores(curve, plain)[0], reached=reached, reason=reason)
        for (name, curve), place in zip(curves.items(), places, strict=True)
    }
