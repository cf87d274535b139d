"""Another operating point for a model, from the curves that evaluate stored: the network does not run again."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from unetseg.bundle import Bundle, load_bundle
from unetseg.class_settings import by_class
from unetseg.config import EvaluateConfig, Settings, to_plain
from unetseg.curve_files import load_curves
from unetseg.dataset import Dataset, open_dataset
from unetseg.decisions import decision_rule
from unetseg.errors import BundleError, DataError, UsageError
from unetseg.evaluate import EvaluateResult, publish
from unetseg.evaluation_files import EVALUATION_SCHEMA, curve_file
from unetseg.evaluation_record import NOT_OUTLINED, few_scans, threshold_rows
from unetseg.histograms import BINS, Histograms
from unetseg.project import Project, override
from unetseg.registry import model_folder
from unetseg.score_table import score_table
from unetseg.thresholds import Threshold, choose_thresholds
from unetseg.words import in_project

__all__ = ["set_thresholds"]

_SETTING = re.compile(r"evaluate\.\w+=")
_LEFT_OUT = "these thresholds were chosen from stored curves"
_CHOOSE_BY = ("criterion", "average", "beta", "target", "fixed_threshold")
"""Settings by which a class without a criterion of its own gets its threshold."""
_OF_SCANS = ("dice", "iou", "hausdorff95", "surface_dice", "false_positive_fraction")
"""Scores that are means over scans: curves of all pixels together do not tell them."""


def set_thresholds(project: Project, criteria: Sequence[str], *, model: str = "production") -> EvaluateResult:
    """Choose thresholds of some classes anew, from the stored curves.

    Recall, precision, F1, average precision and specificity of the new thresholds are exact. Means over scans,
    distances and intervals need the network, so they are left out until `evaluate` runs with the same criteria. The
    page tells of the dataset only where that is still the one that was scored.

    Args:
        project: whose model gets the thresholds.
        criteria: such as ``iris=recall_at_precision:0.95``; the other classes keep theirs.
        model: version number, ``latest``, ``production`` or ``previous``.

    Raises:
        UsageError: no criteria, an unknown class or criterion, the model has not been evaluated, or takes the highest
            probability instead of thresholds.
        BundleError: the bundle or its curves are damaged.
        MovedError: the model was evaluated anew meanwhile; nothing is written then.
    """
    bundle = load_bundle(model_folder(project.models, model))
    before = _evaluated(bundle, project.folder)
    asked = _checked(criteria)
    config = _with_criteria(before, asked)
    folder, classes = bundle.folder / "evaluation", bundle.info.classes
    validation, test = (_stored(folder, before, split) for split in ("validation", "test"))
    chosen = choose_thresholds(validation, classes, config)
    changed = {name: chosen[name] for name in by_class(asked)}
    thresholds = before["thresholds"] | threshold_rows(changed)
    record = before | {
        "schema_version": EVALUATION_SCHEMA,
        "decision": "thresholds",
        "unit": before.get("unit", "pixels"),
        "data": None,
        "settings": to_plain(config),
        "evaluated_with": before.get("evaluated_with") or before["settings"],
        "thresholds": thresholds,
        "scores": _scores(before, test, classes, [thresholds[name]["value"] for name in classes]),
        "intervals": {},
        "scans": [],
        "production": None,
        "warnings": [
            *_warnings(before, config, changed),
            _left_out(bundle, config, project.settings.evaluate, thresholds),
        ],
    }
    curves = {"validation": validation, "test": test}
    return publish(folder, bundle, _scored_dataset(project, before), record, curves, [], made_of=before)


def _stored(folder: Path, evaluation: Mapping[str, Any], split: str) -> Histograms:
    """The curves of an evaluation; old ones do not name theirs, so that nobody has looked whether they are there."""
    path = curve_file(folder, evaluation, split)
    if not path.is_file():
        raise BundleError(f"{path}: is missing; run unetseg evaluate again")
    return load_curves(path)[0]


def _evaluated(bundle: Bundle, project: Path) -> dict[str, Any]:
    """The evaluation of a bundle that decides by thresholds."""
    if bundle.evaluation is None:
        raise UsageError(
            f"thresholds: model {bundle.version} has no curves yet; first: {_evaluate_first(bundle, project)}"
        )
    if bundle.decision.rule == "argmax":
        raise UsageError(
            f"thresholds: model {bundle.version} takes the most probable class (evaluate.decision), and no thresholds; "
            f"first: {_evaluate_first(bundle, project, ' --set evaluate.decision=thresholds')}"
        )
    return bundle.evaluation


def _evaluate_first(bundle: Bundle, project: Path, more: str = "") -> str:
    return in_project(f"unetseg evaluate --model {bundle.version}{more}", project)


def _checked(criteria: Sequence[str]) -> tuple[str, ...]:
    """The criteria one by one, each of a form that there is."""
    if settings := [text for text in criteria if _SETTING.match(text)]:
        raise UsageError(
            f"thresholds: --set takes CLASS=CRITERION, such as iris=f_beta:2, got {settings[0]!r}; a setting goes to "
            f"unetseg evaluate --set {settings[0]}"
        )
    asked = override(Settings(), [f"evaluate.class_criteria={','.join(criteria)}"]).evaluate.class_criteria
    if not asked:
        raise UsageError("thresholds: no class is named; give --set CLASS=CRITERION, such as iris=fixed:0.3")
    return asked


def _with_criteria(before: dict[str, Any], asked: Sequence[str]) -> EvaluateConfig:
    """The settings of the last evaluation, with other criteria for some classes."""
    stored = TypeAdapter(EvaluateConfig).validate_python(before["settings"])
    return replace(stored, class_criteria=tuple((by_class(stored.class_criteria) | by_class(asked)).values()))


def _scored_dataset(project: Project, before: Mapping[str, Any]) -> Dataset | None:
    """The project's dataset, where it is the one that the scores are of."""
    try:
        dataset = open_dataset(project.dataset)
    except (UsageError, DataError):  # none, or damaged: ingest tells of that, and thresholds need none
        return None
    return dataset if dataset.index.fingerprint == before["dataset_fingerprint"] else None


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


def _warnings(before: Mapping[str, Any], config: EvaluateConfig, changed: Mapping[str, Threshold]) -> list[str]:
    """What was said before and still holds, and what is to be said of the new thresholds."""
    support = before.get("validation_support") or {}
    found = _kept(before["warnings"], changed, support)
    for name, threshold in changed.items():
        found += few_scans(name, config, support.get(name))
        if not threshold.reached:
            found.append(f"{name}: {threshold.reason}")
    return found


def _kept(warnings: Sequence[str], changed: Iterable[str], support: Container[str]) -> list[str]:
    """What was said before, but for what is left out now, and for thresholds that are others now.

    Evaluations of older versions do not tell how many validation scans hold a class: then it is said as it was.
    Those that say it in other words ("only 4 validation scans hold it") are understood.
    """
    about = "|".join(re.escape(name) for name in changed)
    told = "|".join(re.escape(name) for name in changed if name in support) or "(?!)"
    gone = re.compile(rf"{_LEFT_OUT}|{NOT_OUTLINED}|({about}): not |({told}): only (in )?\d+ validation scan")
    return [text for text in warnings if not gone.match(text)]


def _left_out(
    bundle: Bundle, config: EvaluateConfig, project: EvaluateConfig, thresholds: Mapping[str, Mapping[str, Any]]
) -> str:
    """What is not known, and the setting by which the project's evaluations come to the same thresholds."""
    same = replace(project, class_criteria=config.class_criteria)
    if config.average == "class" and all(getattr(same, name) == getattr(config, name) for name in _CHOOSE_BY):
        wanted, means = config.class_criteria, "the thresholds then, and for models of other nights"
    else:  # the other classes would be chosen in another way, or together, so that one that is given moves the rest
        wanted = tuple(f"{name}=fixed:{_digits(row['value'])}" for name, row in thresholds.items())
        means = "exactly these thresholds then (models of other nights would take them too)"
    most_probable = decision_rule(project, bundle.info.settings.model) == "argmax"
    decide = "evaluate.decision to thresholds and " if most_probable else ""
    return (
        f"{_LEFT_OUT}: Dice, IoU and distances of scans and all intervals are left out until unetseg evaluate measures "
        f"them; to keep {means}, set {decide}evaluate.class_criteria to {', '.join(wanted)}"
    )


def _digits(value: float) -> str:
    """A number that is read back as the same one, never with an exponent."""
    return np.format_float_positional(value, trim="-")
