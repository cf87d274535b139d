"""Another operating point for a model, from the curves that evaluate stored: the network does not run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from unetseg.bundle import EVALUATION_SCHEMA, Bundle, load_bundle
from unetseg.config import EvaluateConfig, Settings, to_plain
from unetseg.curve_files import load_curves
from unetseg.dataset import open_dataset
from unetseg.errors import UsageError
from unetseg.evaluate import EvaluateResult, publish
from unetseg.evaluation_record import threshold_rows
from unetseg.histograms import BINS, Histograms
from unetseg.project import Project, override
from unetseg.registry import model_folder
from unetseg.score_table import score_table
from unetseg.thresholds import Threshold, choose_thresholds

__all__ = ["set_thresholds"]

_LEFT_OUT = "these thresholds were chosen from stored curves"
_OF_SCANS = ("dice", "iou", "hausdorff95", "surface_dice", "false_positive_fraction")
"""Scores that are means over scans: curves of all pixels together do not tell them."""


def set_thresholds(project: Project, criteria: Sequence[str], *, model: str = "production") -> EvaluateResult:
    """Choose thresholds of some classes anew, from the stored curves.

    Recall, precision, F1, average precision and specificity of the new thresholds are exact. Means over scans,
    distances and intervals need the network, so they are left out until `evaluate` runs with the same criteria.

    Args:
        project: whose model gets the thresholds.
        criteria: such as ``iris=recall_at_precision:0.95``; the other classes keep theirs.
        model: version number, ``latest``, ``production`` or ``previous``.

    Raises:
        UsageError: no criteria, an unknown class or criterion, the model has not been evaluated, or takes the highest
            probability instead of thresholds.
        BundleError: the bundle or its curves are damaged.
    """
    bundle = load_bundle(model_folder(project.models, model))
    before = _evaluated(bundle)
    config = _with_criteria(before, criteria)
    folder = bundle.folder / "evaluation"
    validation, classes = load_curves(folder / "validation_curves.npz")
    test, _ = load_curves(folder / "test_curves.npz")
    chosen = choose_thresholds(validation, classes, config)
    changed = {name: chosen[name] for name in chosen if name in _named(criteria)}
    thresholds = before["thresholds"] | threshold_rows(changed)
    record = before | {
        "schema_version": EVALUATION_SCHEMA,
        "decision": "thresholds",
        "unit": before.get("unit", "pixels"),
        "data": None,
        "settings": to_plain(config),
        "thresholds": thresholds,
        "scores": _scores(before, test, classes, [thresholds[name]["value"] for name in classes]),
        "intervals": {},
        "scans": [],
        "production": None,
        "warnings": [*_kept(before["warnings"], changed), *_unreached(changed), _left_out(config)],
    }
    curves = {"validation": validation, "test": test}
    return publish(folder, bundle, open_dataset(project.dataset), record, curves, [])


def _evaluated(bundle: Bundle) -> dict[str, Any]:
    """The evaluation of a bundle that decides by thresholds."""
    if bundle.evaluation is None:
        raise UsageError(f"thresholds: model {bundle.version} has no curves yet; run unetseg evaluate first")
    if bundle.decision.rule == "argmax":
        raise UsageError(
            f"thresholds: model {bundle.version} takes the most probable class (evaluate.decision), and no thresholds; "
            "run unetseg evaluate --set evaluate.decision=thresholds first"
        )
    return bundle.evaluation


def _with_criteria(before: dict[str, Any], criteria: Sequence[str]) -> EvaluateConfig:
    """The settings of the last evaluation, with other criteria for some classes."""
    if not criteria:
        raise UsageError("thresholds: no class is named; give --set CLASS=CRITERION, such as iris=fixed:0.3")
    stored = TypeAdapter(EvaluateConfig).validate_python(before["settings"])
    checked = override(Settings(), [f"evaluate.class_criteria={','.join(criteria)}"]).evaluate.class_criteria
    named = _named(checked)
    kept = [text for text in stored.class_criteria if _named([text]).isdisjoint(named)]
    return replace(stored, class_criteria=(*kept, *checked))


def _named(criteria: Sequence[str]) -> set[str]:
    return {text.partition("=")[0] for text in criteria}


def _scores(
    before: dict[str, Any], test: Histograms, classes: Sequence[str], thresholds: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """The table at other thresholds; what is a mean over scans is not known, how many scans hold a class still is."""
    pooled = score_table(_counts(test, thresholds)[np.newaxis], classes, thresholds, test)
    for name, row in pooled.items():
        row |= dict.fromkeys(_OF_SCANS)
        row |= {key: before["scores"][name].get(key) for key in ("support", "scans_without")}
    return pooled


def _counts(histograms: Histograms, thresholds: Sequence[float]) -> NDArray[np.int64]:
    """True and false positives and negatives at each class's threshold, ``(K, 4)``."""
    rows = []
    for k, threshold in enumerate(thresholds):
        cut = int(np.ceil(threshold * BINS))
        foreground, background = histograms.positives[k], histograms.negatives[k]
        rows.append([foreground[cut:].sum(), background[cut:].sum(), foreground[:cut].sum(), background[:cut].sum()])
    return np.array(rows, np.int64)


def _kept(warnings: Sequence[str], changed: Mapping[str, Threshold]) -> list[str]:
    """What was said before, but for thresholds that are others now and for what an earlier choice left out."""
    gone = (_LEFT_OUT, *(f"{name}: not reached" for name in changed))
    return [text for text in warnings if not text.startswith(gone)]


def _unreached(chosen: Mapping[str, Threshold]) -> Iterator[str]:
    for name, threshold in chosen.items():
        if not threshold.reached:
            yield f"{name}: {threshold.reason}"


def _left_out(config: EvaluateConfig) -> str:
    return (
        f"{_LEFT_OUT}: Dice, IoU and distances of scans and all intervals are "
        "left out until unetseg evaluate measures them; to keep the thresholds then, and for models of other nights, "
        f"set evaluate.class_criteria to {', '.join(config.class_criteria)}"
    )
