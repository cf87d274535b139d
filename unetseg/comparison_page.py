"""The page that compares two versions of a model: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from unetseg.bundle import Bundle
from unetseg.charts import CurveLine, curve_chart
from unetseg.comparison import Comparison, compare
from unetseg.config import EvaluateConfig
from unetseg.curve_files import load_curves
from unetseg.curves import Curve
from unetseg.evaluation_files import curve_file
from unetseg.pages import render
from unetseg.report import class_colours, working_point
from unetseg.score_words import OUTLINE_SCORES, PIXEL_SCORES, conventions, joined_warnings, percent
from unetseg.storage import write_bytes

__all__ = ["write_comparison"]

_SHOWN: Final = 10  # scans that lost most, and that gained most


def write_comparison(
    path: Path, a: Bundle, b: Bundle, *, config: EvaluateConfig, today: Mapping[str, Mapping[str, Any]] | None = None
) -> Comparison:
    """Compare two versions on the same test scans, and write the page.

    Args:
        path: of the HTML file, which is replaced.
        a: the one before, such as production.
        b: the one after.
        config: draws, confidence and seed of the paired bootstrap.
        today: by version, scores that were measured for this (:func:`unetseg.measured_now.measured_today`).

    Returns:
        The numbers on the page.

    Raises:
        UsageError: one of them was not evaluated, or scored on different scans or with different flips; nothing is
            written then.
        BundleError: stored curves are damaged.
    """
    found = compare(a, b, config, today=today)
    measured = {
        "scores": found.scores,
        "unit": found.unit,
        "settings": {"surface_tolerance": found.surface_tolerance},
        "inference": {"flips": found.flips},
    }
    html = render(
        "comparison.html",
        found=found,
        warnings=joined_warnings(found.warnings, found.classes),
        tables=[[name for name in found.columns if name in wanted] for wanted in (PIXEL_SCORES, OUTLINE_SCORES)],
        colours=class_colours(found.classes),
        conventions=conventions(measured, intervals=False),
        confidence=percent(config.confidence),
        draws=config.draws,
        charts=_charts(a, b) if found.curves else {},
        worse=[scan for scan in found.scans if scan.difference < 0][:_SHOWN],
        better=[scan for scan in reversed(found.scans) if scan.difference > 0][:_SHOWN],
        reasons={name: [_reason(bundle, name) for bundle in (a, b)] for name in found.classes},
    )
    write_bytes(path, html.encode())
    return found


def _charts(a: Bundle, b: Bundle) -> dict[str, str]:
    """Precision over recall of both versions, a picture per class that can be measured; none where no curves are."""
    files = [curve_file(bundle.folder / "evaluation", bundle.evaluation or {}, "test") for bundle in (a, b)]
    if not all(path.is_file() for path in files):
        return {}
    curves = [_curves(path) for path in files]
    return {
        name: curve_chart([_line(a, curves[0][name], name, dashed=True), _line(b, curves[1][name], name, dashed=False)])
        for name in b.info.classes
        if curves[1][name].positives
    }


def _curves(path: Path) -> dict[str, Curve]:
    histograms, classes = load_curves(path)
    return {name: histograms.curve(k) for k, name in enumerate(classes)}


def _line(bundle: Bundle, curve: Curve, name: str, *, dashed: bool) -> CurveLine:
    scores = (bundle.evaluation or {})["scores"][name]
    label = f"{bundle.version}: AP {curve.average_precision:.3f}"
    return CurveLine(label, curve, working_point(scores), dashed=dashed)


def _reason(bundle: Bundle, name: str) -> str:
    """Why a class has its threshold."""
    evaluation = bundle.evaluation or {}
    if evaluation.get("decision", "thresholds") != "thresholds":
        return "none: the most probable class is taken"
    return str(evaluation["thresholds"][name]["reason"])
