"""Two versions of a model, compared on the same test scans: numbers only, from their evaluations; no network runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.bootstrap import COMPARABLE, Difference, paired_difference
from unetseg.bundle import Bundle
from unetseg.config import EvaluateConfig
from unetseg.errors import UsageError
from unetseg.model_changes import TextChange, model_changes
from unetseg.score_words import OUTLINE_SCORES, PIXEL_SCORES, measured, scores_in
from unetseg.scores import FN, TP

__all__ = ["Comparison", "ScanChange", "ScoreChange", "compare"]

_MACRO: Final = "macro"

Evaluation = dict[str, Any]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ScoreChange:
    """One score of both versions; None where it is not measurable.

    Attributes:
        before: of version a.
        after: of version b.
        difference: ``after - before``.
    """

    before: float | None
    after: float | None
    difference: float | None


@dataclass(frozen=True)
class ScanChange:
    """Mean F1 over the classes of one scan.

    Attributes:
        id: the scan.
        group: its group.
        before: of version a.
        after: of version b.
        difference: ``after - before``.
    """

    id: str
    group: str
    before: float
    after: float
    difference: float


@dataclass(frozen=True)
class Comparison:
    """What differs between two versions, b minus a throughout.

    Attributes:
        versions: a and b.
        classes: names, in order.
        unit: of distances.
        columns: scores that both evaluations have.
        scores: per class, and for ``micro``, ``macro`` and ``weighted``, each of those scores.
        differences: per class and ``macro``, the paired bootstrap of each of `COMPARABLE`; a class that no test scan
            holds has none.
        scans: every test scan, the one that lost most first.
        thresholds: per class, of both; None where a version decides without thresholds.
        changes: what differs in settings, data, plan and software.
        warnings: of both evaluations, each once.
    """

    versions: tuple[str, str]
    classes: tuple[str, ...]
    unit: str
    columns: tuple[str, ...]
    scores: dict[str, dict[str, ScoreChange]]
    differences: dict[str, dict[str, Difference]]
    scans: tuple[ScanChange, ...]
    thresholds: dict[str, ScoreChange]
    changes: tuple[TextChange, ...]
    warnings: tuple[str, ...]


def compare(a: Bundle, b: Bundle, config: EvaluateConfig) -> Comparison:
    """Compare two versions that were evaluated on the same test scans.

    Args:
        a: the one before, such as production.
        b: the one after.
        config: draws, confidence and seed of the paired bootstrap.

    Raises:
        UsageError: one of them was not evaluated, or the evaluations are of other scans.
    """
    before, after = _evaluated(a), _evaluated(b)
    rows = [_rows(item) for item in (before, after)]
    _check_same_scans((a, b), (before, after), rows)
    return Comparison(
        versions=(a.version, b.version),
        classes=b.info.classes,
        unit=after.get("unit", "pixels"),
        columns=_columns(before, after),
        scores=_score_changes(before, after),
        differences=_differences(rows, b.info.classes, config),
        scans=tuple(_scan_changes(*rows)),
        thresholds={name: _change(*(_threshold(item, name) for item in (before, after))) for name in b.info.classes},
        changes=model_changes(a.info, b.info),
        warnings=tuple(dict.fromkeys([*before["warnings"], *after["warnings"]])),
    )


# --------------------------------------------------------------------------- what may be compared


def _evaluated(bundle: Bundle) -> Evaluation:
    if bundle.evaluation is None:
        raise UsageError(
            f"compare: model {bundle.version} has no scores yet; run unetseg evaluate --model {bundle.version}"
        )
    return bundle.evaluation


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The scans of an evaluation, by id."""
    return sorted(evaluation["scans"], key=lambda row: str(row["id"]))


def _check_same_scans(
    bundles: tuple[Bundle, Bundle], evaluations: tuple[Evaluation, Evaluation], rows: Sequence[list[dict[str, Any]]]
) -> None:
    """Refuse evaluations whose scores are not of the same scans and masks."""
    again = "; ".join(f"unetseg evaluate --model {bundle.version}" for bundle in bundles)
    for bundle, found in zip(bundles, rows, strict=True):
        if not found:
            raise UsageError(
                f"compare: the evaluation of model {bundle.version} has no single scans (its thresholds were set from "
                f"stored curves); run unetseg evaluate --model {bundle.version}"
            )
    prints = [item["dataset_fingerprint"] for item in evaluations]
    if prints[0] != prints[1]:
        raise UsageError(
            "compare: both models must be evaluated on the same data, found data "
            f"{prints[0][:12]} for {bundles[0].version} and {prints[1][:12]} for {bundles[1].version}; "
            f"evaluate both again: {again}"
        )
    if [row["id"] for row in rows[0]] != [row["id"] for row in rows[1]]:
        raise UsageError(
            f"compare: the evaluations must be of the same scans, found {len(rows[0])} and {len(rows[1])} scans that "
            f"differ; evaluate both again: {again}"
        )


# --------------------------------------------------------------------------- numbers


def _change(before: object, after: object) -> ScoreChange:
    first, second = measured(before), measured(after)
    return ScoreChange(first, second, None if first is None or second is None else second - first)


def _columns(before: Evaluation, after: Evaluation) -> tuple[str, ...]:
    """Scores of both tables; distances only where both have the same unit, shares within one tolerance alike."""
    known = [set(scores_in(item["scores"], PIXEL_SCORES + OUTLINE_SCORES)) for item in (before, after)]
    if before.get("unit", "pixels") != after.get("unit", "pixels"):
        known.append(set(known[0]) - {"hausdorff95"})
    if before["settings"].get("surface_tolerance") != after["settings"].get("surface_tolerance"):
        known.append(set(known[0]) - {"surface_dice"})
    return tuple(score for score in PIXEL_SCORES + OUTLINE_SCORES if all(score in found for found in known))


def _score_changes(before: Evaluation, after: Evaluation) -> dict[str, dict[str, ScoreChange]]:
    columns, old = _columns(before, after), before["scores"]
    return {
        name: {score: _change(old.get(name, {}).get(score), row.get(score)) for score in columns}
        for name, row in after["scores"].items()
    }


def _threshold(evaluation: Evaluation, name: str) -> float | None:
    if evaluation.get("decision", "thresholds") != "thresholds":
        return None
    return measured(evaluation["thresholds"][name]["value"])


def _differences(
    rows: Sequence[list[dict[str, Any]]], classes: Sequence[str], config: EvaluateConfig
) -> dict[str, dict[str, Difference]]:
    """The paired bootstrap of every class that some scan holds, and of all of them together."""
    groups = [str(row["group"]) for row in rows[0]]
    before, after = (np.array([row["counts"] for row in found], np.int64) for found in rows)
    parts = {name: slice(k, k + 1) for k, name in enumerate(classes)} | {_MACRO: slice(None)}
    return {
        name: {score: paired_difference(before[:, part], after[:, part], groups, score, config) for score in COMPARABLE}
        for name, part in parts.items()
        if _holds(before[:, part])
    }


def _holds(counts: Counts) -> bool:
    return bool((counts[..., TP] + counts[..., FN]).any())


def _scan_changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[ScanChange]:
    changes = [
        ScanChange(old["id"], old["group"], old["mean_f1"], new["mean_f1"], new["mean_f1"] - old["mean_f1"])
        for old, new in zip(before, after, strict=True)
    ]
    return sorted(changes, key=lambda change: (change.difference, change.id))
