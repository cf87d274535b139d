"""The report of an evaluation: one self-contained HTML page, for screens, phones and paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle
from unetseg.charts import CurveLine, curve_chart, strip_chart
from unetseg.class_statistics import ClassStatistics, class_statistics
from unetseg.dataset import Dataset
from unetseg.histograms import Histograms
from unetseg.ome import COLOURS
from unetseg.pages import render
from unetseg.pictures import INVENTED, MISSED, RIGHT, data_uri, error_picture, overlay, to_rgb
from unetseg.score_words import (
    OUTLINE_SCORES,
    PIXEL_SCORES,
    conventions,
    joined_warnings,
    measured,
    percent,
    score_number,
    score_title,
    scores_in,
    shared_scores,
)
from unetseg.scores import FN, TP, count, f_beta
from unetseg.splits import SPLITS

__all__ = ["ErrorPicture", "ReportPage", "class_colours", "report_page", "working_point"]

_PICTURE_SIDE: Final = 384  # pixels: sharp on a screen, and the page stays below a few megabytes
_DRAWN_SIDE: Final = 4 * _PICTURE_SIDE  # larger scans are thinned before they are drawn: nothing more would be seen
_WORST_SHOWN: Final = 25  # scans listed; all of them are in evaluation.json
_COMPARED: Final = ("recall", "precision", "f1", "dice", "iou", "surface_dice", "hausdorff95")
_MEASURED_SOMEHOW: Final = {"unit": "", "settings": {}}  # production, in evaluations before schema 3

Evaluation = Mapping[str, Any]


@dataclass(frozen=True)
class ErrorPicture:
    """One test scan with truth and prediction.

    Attributes:
        title: why it is shown, and its id.
        image: normalised intensities, ``(H, W, C)``.
        masks: truth, ``(H, W, K)`` int8: 1, 0, -1 to ignore.
        found: prediction, ``(H, W, K)``.
    """

    title: str
    image: NDArray[np.floating]
    masks: NDArray[np.int8]
    found: NDArray[np.bool_]


@dataclass(frozen=True)
class ReportPage:
    """All that the page shows.

    Attributes:
        bundle: that was evaluated.
        dataset: that it was evaluated on; None where that is gone: its statistics are left out.
        evaluation: the record, as ``evaluation.json`` has it; keys that older versions did not write may be missing.
        histograms: of the probabilities on the test scans.
        pictures: scans with their errors.
    """

    bundle: Bundle
    dataset: Dataset | None
    evaluation: Evaluation
    histograms: Histograms
    pictures: Sequence[ErrorPicture]


def report_page(page: ReportPage) -> str:
    """The page, as HTML."""
    classes, evaluation = page.bundle.info.classes, page.evaluation
    scores = evaluation["scores"]
    return render(
        "report.html",
        bundle=page.bundle,
        info=page.bundle.info,
        evaluation=evaluation,
        warnings=joined_warnings(evaluation["warnings"], classes),
        unit=evaluation.get("unit", "pixels"),
        decision=evaluation.get("decision", "thresholds"),
        elsewhere=evaluation.get("data"),
        tables=[found for wanted in (PIXEL_SCORES, OUTLINE_SCORES) if (found := scores_in(scores, wanted))],
        conventions=conventions(evaluation),
        production=_production(evaluation, classes),
        colours=class_colours(classes),
        charts=_charts(page.histograms, classes, scores),
        strip=evaluation["scans"]
        and strip_chart(_per_scan(evaluation, classes), class_colours(classes), label="Dice of a scan"),
        pictures=[_panels(picture, classes) for picture in page.pictures],
        statistics=_statistics(page.dataset) if page.dataset else {},
        worst=evaluation["scans"][:_WORST_SHOWN],
        legend={"found": RIGHT, "missed": MISSED, "invented": INVENTED},
    )


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """The colour of each class, as ``RRGGBB``."""
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(classes)}


def working_point(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Recall and precision of a row of scores; None where one of them is not measurable."""
    recall, precision = (measured(row.get(name)) for name in ("recall", "precision"))
    return None if recall is None or precision is None else (recall, precision)


# --------------------------------------------------------------------------- curves and scans


def _charts(histograms: Histograms, classes: Sequence[str], scores: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Precision over recall of each class that can be measured, as SVG, with the point that the model works at."""
    curves = {name: histograms.curve(k) for k, name in enumerate(classes)}
    return {
        name: curve_chart([CurveLine(f"AP {curve.average_precision:.3f}", curve, working_point(scores[name]))])
        for name, curve in curves.items()
        if curve.positives
    }


def _per_scan(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, list[float]]:
    """Dice of each scan that holds a class; of one scan, F1 is the same number."""
    counts = np.array([row["counts"] for row in evaluation["scans"]], np.int64).reshape(-1, len(classes), 4)
    dice, holding = f_beta(counts), counts[..., TP] + counts[..., FN] > 0
    return {name: dice[holding[:, k], k].tolist() for k, name in enumerate(classes)}


# --------------------------------------------------------------------------- pictures


def _panels(picture: ErrorPicture, classes: Sequence[str]) -> dict[str, Any]:
    """The scan, the truth, the prediction, and the errors of each class with their F1."""
    thin = (slice(None, None, -(-max(picture.image.shape[:2]) // _DRAWN_SIDE)),) * 2
    rgb, masks, found = to_rgb(picture.image[thin]), picture.masks[thin], picture.found[thin]
    panels = [("scan", rgb), ("truth", overlay(rgb, masks == 1)), ("prediction", overlay(rgb, found))]
    reached = f_beta(count(picture.masks, picture.found))
    for k, name in enumerate(classes):
        caption = f"errors: {name}, F1 {score_number('f1', float(reached[k]))}"
        panels.append((caption, error_picture(rgb, masks[..., k], found[..., k])))
    return {"title": picture.title, "panels": [(name, data_uri(panel, _PICTURE_SIDE)) for name, panel in panels]}


# --------------------------------------------------------------------------- data and production


def _statistics(dataset: Dataset) -> dict[str, tuple[int, ClassStatistics]]:
    """Of each split that has scans, the number of its groups, and how often the classes are."""
    found = {split: dataset.scans(split) for split in SPLITS}
    return {
        split: (len({scan.group for scan in scans}), class_statistics(scans, dataset.index.classes))
        for split, scans in found.items()
        if scans
    }


def _production(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, Any] | None:
    """This model beside production on the same scans; None where there is no other."""
    found = evaluation.get("production")
    if not found:
        return None
    ours, theirs = evaluation["scores"], found["scores"]
    rows = [name for name in (*classes, "macro") if name in theirs]
    shared = shared_scores(_MEASURED_SOMEHOW | found, evaluation)
    return {
        "version": found["version"],
        "measured": found.get("measured", False),
        "scores": [score for score in _COMPARED if score in shared],
        "rows": {name: (theirs[name], ours[name]) for name in rows},
        "verdict": _verdict(found.get("difference"), evaluation["settings"]["confidence"]),
    }


def _verdict(difference: Mapping[str, Any] | None, confidence: float) -> str:
    """What the paired bootstrap says, in words."""
    if not difference:
        return ""
    score, gain = score_title(difference["score"]), score_number("", difference["difference"], signed=True)
    low, high = measured(difference.get("low")), measured(difference.get("high"))
    if low is None or high is None:
        return (
            f"Macro {score}: {gain}; no interval over groups, for fewer than two hold a class. The gate then draws "
            "single scans, and the gain must also be more than its tolerance."
        )
    words = "better" if low > 0 else "worse" if high < 0 else "no difference that these scans could show"
    return f"Macro {score}: {gain} ({percent(confidence)} interval {low:+.3f} to {high:+.3f}): {words}."
