"""Scores as people read them: their names, their numbers, and what is to be known beside them.

Shared by the report, the comparison of two versions and the model card, so that one number looks the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = [
    "ABSENT",
    "OUTLINE_SCORES",
    "PIXEL_SCORES",
    "conventions",
    "interval_text",
    "joined_warnings",
    "measured",
    "percent",
    "score_number",
    "score_title",
    "scores_in",
    "shared_scores",
]

ABSENT: Final = "–"
"""What is shown where there is no number."""

PIXEL_SCORES: Final = ("recall", "precision", "f1", "dice", "iou", "average_precision")
OUTLINE_SCORES: Final = ("hausdorff95", "surface_dice", "specificity", "false_positive_fraction")

_TITLES: Final = {
    "f1": "F1",
    "dice": "Dice",
    "iou": "IoU",
    "average_precision": "average precision",
    "hausdorff95": "Hausdorff 95",
    "surface_dice": "surface Dice",
    "false_positive_fraction": "marked where absent",
}
_DISTANCES: Final = ("hausdorff95",)
_SHARES: Final = ("false_positive_fraction",)

Scores = Mapping[str, Mapping[str, Any]]
Evaluation = Mapping[str, Any]


def score_title(score: str, unit: str = "pixels") -> str:
    """The name of a score at the head of a column; ``unit`` is that of distances."""
    title = _TITLES.get(score, score.replace("_", " "))
    return f"{title} ({unit})" if score in _DISTANCES else title


def measured(value: object) -> float | None:
    """A number, or None where there is none: None, not-a-number and infinity are all "not measurable"."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def score_number(score: str, value: object, *, signed: bool = False) -> str:
    """A score in few digits: shares in per cent, distances in their unit, the rest with three decimals."""
    number = measured(value)
    if number is None:
        return ABSENT
    sign = "+z" if signed else "z"  # z: no minus before what is rounded to 0
    if score in _SHARES:
        return f"{100 * number:{sign}.2f} %"
    if score in _DISTANCES:
        return f"{number:{sign},.1f}" if abs(number) >= 10 else f"{number:{sign}.2f}"
    return f"{number:{sign}.3f}"


def percent(share: float) -> str:
    """A share as whole per cent, such as ``95 %``."""
    return f"{100 * share:.0f} %"


def interval_text(score: str, interval: Sequence[float] | None, *, signed: bool = False) -> str:
    """``low to high``; a dash where there is no interval."""
    ends = [score_number(score, end, signed=signed) for end in interval or ()]
    return " to ".join(ends) if ends and ABSENT not in ends else ABSENT


def scores_in(scores: Scores, wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of the wanted scores that a table has; older evaluations lack some."""
    return tuple(score for score in wanted if any(score in row for row in scores.values()))


def shared_scores(before: Evaluation, after: Evaluation) -> tuple[str, ...]:
    """Scores of both tables that mean the same: distances only in one unit, shares of outlines within one tolerance."""
    known = [set(scores_in(item["scores"], PIXEL_SCORES + OUTLINE_SCORES)) for item in (before, after)]
    if before.get("unit", "pixels") != after.get("unit", "pixels"):
        known.append(set(known[0]) - {"hausdorff95"})
    if before["settings"].get("surface_tolerance") != after["settings"].get("surface_tolerance"):
        known.append(set(known[0]) - {"surface_dice"})
    return tuple(score for score in PIXEL_SCORES + OUTLINE_SCORES if all(score in found for found in known))


def conventions(evaluation: Evaluation, *, intervals: bool = True) -> list[str]:
    """What must be known to read a table of scores, a sentence each; ``intervals``: it has some in small print."""
    sentences = [
        f"{ABSENT}: not measurable. A class that no scan holds has no recall, precision, F1, Dice or IoU; it is left "
        "out of macro and weighted means, never counted as 0.",
        "Recall, precision, F1 and average precision are of the pixels of all scans together. Dice and IoU are means "
        "over the scans that hold the class.",
        "Marked where absent: of the scans that do not hold the class, the mean share of pixels that is marked all the "
        "same.",
        "micro: all classes taken as one, so that what is marked of an absent class lowers it; macro: the mean over "
        "classes; weighted: the mean by inverse frequency of the class.",
    ]
    sentences += _of_outlines(evaluation) + _of_inference(evaluation.get("inference") or {})
    return sentences + (_of_intervals(evaluation["settings"]) if intervals else [])


def _of_inference(how: Mapping[str, Any]) -> list[str]:
    """How the network ran, where that was not plainly and in float32."""
    sentences = []
    if how.get("flips", "none") != "none":
        sentences.append(f"Probabilities are means over each scan and its mirror images (flips: {how['flips']}).")
    if change := how.get("change"):
        sentences.append(
            f"The network ran in bfloat16. Against float32 that changes probabilities by at most {change['max']:.2g}, "
            f"and by {change['mean']:.2g} on average ({change['scans']} validation scans)."
        )
    return sentences


def _of_intervals(settings: Mapping[str, Any]) -> list[str]:
    return [
        f"Small print: {percent(settings['confidence'])} bootstrap interval over groups ({settings['draws']:,} draws). "
        "Fewer than two groups with the class: no interval."
    ]


def _of_outlines(evaluation: Evaluation) -> list[str]:
    if not scores_in(evaluation["scores"], ("hausdorff95", "surface_dice")):
        return []
    tolerance = evaluation["settings"].get("surface_tolerance")
    within = "the tolerance" if tolerance is None else f"{tolerance:g} pixels"
    unit = evaluation.get("unit", "pixels")
    return [
        f"Hausdorff 95: 95 % of each outline lies closer to the other than this, in {unit}; "
        f"the smaller the better. Surface Dice: the share of both outlines that lies within {within} of the other.",
        "Both are means over the scans that hold the class; where nothing of it was found, a scan counts with its "
        "diagonal and with 0.",
    ]


def joined_warnings(warnings: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Warnings that say the same of several classes, as one.

    >>> joined_warnings(["a: few scans", "b: few scans", "all is rough"], ["a", "b"])
    ['a, b: few scans', 'all is rough']
    """
    about: dict[str, list[str]] = {}
    for text in warnings:
        name, _, rest = text.partition(": ")
        about.setdefault(rest, []).append(name) if name in classes else about.setdefault(text, [])
    return [f"{', '.join(names)}: {text}" if names else text for text, names in about.items()]
