"""Two versions of a model, compared on the same test scans: numbers only; no network runs here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.bootstrap import COMPARABLE, Difference, paired_difference
from unetseg.bundle import Bundle
from unetseg.config import EvaluateConfig
from unetseg.errors import UsageError
from unetseg.model_changes import TextChange, model_changes
from unetseg.same_scans import (
    beside,
    evaluated,
    evaluated_apart,
    evaluated_flips,
    inference_of,
    of_same_scans,
    ran_otherwise,
)
from unetseg.score_words import measured, shared_scores
from unetseg.scores import FN, TP
from unetseg.words import counted

__all__ = ["Comparison", "ScanChange", "ScoreChange", "compare"]

_MACRO: Final = "macro"

Evaluation = Mapping[str, Any]
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
        anew: those of the versions whose own evaluation has no counts of these scans, or with other flips or blended
            tiles: they were scored apart from it.
        why_anew: a sentence about each of these.
        flips: of ``predict.flips``, with which both were scored.
        curves: whether the stored curves of both are of these scans, with these flips and tiles.
        unit: of distances.
        surface_tolerance: of surface Dice, in pixels; None: not known.
        columns: scores that both evaluations have.
        scores: per class, and for ``micro``, ``macro`` and ``weighted``, each of those scores.
        differences: per class and ``macro``, the paired bootstrap of each of `COMPARABLE`; a class that no test scan
            holds has none.
        scans: every test scan, the one that lost most first.
        thresholds: per class, of both; None where a version decides without thresholds.
        changes: what differs in settings, data, plan and software.
        warnings: of both evaluations, each once, of a version that was scored anew none; and where the two ran in
            another precision, or in blended tiles of another size.
    """

    versions: tuple[str, str]
    classes: tuple[str, ...]
    anew: tuple[str, ...]
    why_anew: tuple[str, ...]
    flips: str
    curves: bool
    unit: str
    surface_tolerance: float | None
    columns: tuple[str, ...]
    scores: dict[str, dict[str, ScoreChange]]
    differences: dict[str, dict[str, Difference]]
    scans: tuple[ScanChange, ...]
    thresholds: dict[str, ScoreChange]
    changes: tuple[TextChange, ...]
    warnings: tuple[str, ...]


def compare(
    a: Bundle, b: Bundle, config: EvaluateConfig, *, today: Mapping[str, Evaluation] | None = None
) -> Comparison:
    """Compare two versions on the same test scans, with the same ``predict.flips``.

    Their evaluations may be of different nights, as long as both stayed the same. Else it is enough that one of them
    was in production when the other was evaluated: it was scored in the same way then.

    Args:
        a: the one before, such as production.
        b: the one after.
        config: draws, confidence and seed of the paired bootstrap.
        today: by version, scores that were measured for this (:func:`unetseg.measured_now.measured_today`).

    Raises:
        UsageError: both are one version, one of them was not evaluated, or they were scored on different scans or with
            different flips.
    """
    if a.version == b.version:
        raise UsageError(f"compare: both are version {a.version}; name two, of those that unetseg models list shows")
    before, after = _on_same_scans(a, b, today or {})
    rows = [_rows(item) for item in (before, after)]
    used = ((a, before), (b, after))
    anew = [(bundle, evaluation) for bundle, evaluation in used if evaluation is not bundle.evaluation]
    return Comparison(
        versions=(a.version, b.version),
        classes=b.info.classes,
        anew=tuple(bundle.version for bundle, _ in anew),
        why_anew=tuple(_why_anew(bundle, evaluation) for bundle, evaluation in anew),
        flips=evaluated_flips(after),
        curves=all(_of_same_probabilities(evaluated(bundle), evaluation) for bundle, evaluation in used),
        unit=after.get("unit", "pixels"),
        surface_tolerance=after["settings"].get("surface_tolerance"),
        columns=shared_scores(before, after),
        scores=_score_changes(before, after),
        differences=_differences(rows, b.info.classes, config),
        scans=tuple(_scan_changes(*rows)),
        thresholds={name: _change(*(_threshold(item, name) for item in (before, after))) for name in b.info.classes},
        changes=model_changes(a.info, b.info),
        warnings=tuple(
            dict.fromkeys([*before["warnings"], *after["warnings"], *_other_inference(a, b, before, after)])
        ),
    )


def _why_anew(bundle: Bundle, evaluation: Evaluation) -> str:
    causes = ", ".join(evaluated_apart(evaluated(bundle), evaluation))
    return f"{bundle.version} was {causes}: it was scored anew on these scans, with its thresholds as they are"


def _of_same_probabilities(own: Evaluation, evaluation: Evaluation) -> bool:
    """Whether two evaluations of one model are of the same scans, and its network ran alike."""
    return of_same_scans(own, evaluation) and not ran_otherwise(own, evaluation)


def _other_inference(a: Bundle, b: Bundle, before: Evaluation, after: Evaluation) -> Iterator[str]:
    first, second = (inference_of(item) for item in (before, after))
    if first["precision"] != second["precision"]:
        yield (
            f"{a.version} was scored in {first['precision']}, {b.version} in {second['precision']}: what bfloat16 "
            "rounds is part of what differs"
        )
    if "tile" in ran_otherwise(before, after):
        yield (
            f"{a.version} was scored in blended tiles of {first['tile']} pixels, {b.version} of {second['tile']}: on "
            "larger scans that is part of what differs"
        )


# --------------------------------------------------------------------------- what may be compared


def _on_same_scans(a: Bundle, b: Bundle, today: Mapping[str, Evaluation]) -> tuple[Evaluation, Evaluation]:
    """An evaluation of each, of the same scans: their own, or what one has of the other, which was in production."""
    own = {item.version: evaluated(item) for item in (a, b)}
    first, second = (_as_scored(own[item.version], today.get(item.version)) for item in (a, b))
    pairs = (
        (first, second),
        (_as_scored(own[a.version], beside(own[b.version], a)), second),
        (first, _as_scored(own[b.version], beside(own[a.version], b))),
    )
    if found := next((pair for pair in pairs if _comparable(*pair)), None):
        return found
    raise UsageError(
        "compare: both models must be scored on the same test scans, with the same predict.flips, but "
        f"{_scans_of(a.version, first)} and {_scans_of(b.version, second)}; unetseg models compare {a.version} "
        f"{b.version} --score scores them on today's, with today's flips and their thresholds as they are"
    )


def _as_scored(own: Evaluation, found: Evaluation | None) -> Evaluation:
    """An evaluation with scores that were measured elsewhere; what it warns of is about the scans of its own."""
    return {**own, "warnings": [], **found} if found else own


def _comparable(before: Evaluation, after: Evaluation) -> bool:
    ids = [[row["id"] for row in _rows(item)] for item in (before, after)]
    return bool(ids[0]) and ids[0] == ids[1] and of_same_scans(before, after)


def _scans_of(version: str, evaluation: Evaluation) -> str:
    if not evaluation["scans"]:
        why = "its thresholds were set by unetseg thresholds, from stored curves"
        return f"{version} has no scores of single scans ({why})"
    name = evaluation.get("test_fingerprint") or evaluation["dataset_fingerprint"]
    flips = evaluated_flips(evaluation)
    how = "" if flips == "none" else f", flips: {flips}"
    return f"{version} has scores of {counted(len(evaluation['scans']), 'scan')} ({name[:12]}{how})"


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The scans of an evaluation, by id."""
    return sorted(evaluation["scans"], key=lambda row: str(row["id"]))


# --------------------------------------------------------------------------- numbers


def _change(before: object, after: object) -> ScoreChange:
    first, second = measured(before), measured(after)
    return ScoreChange(first, second, None if first is None or second is None else second - first)


def _score_changes(before: Evaluation, after: Evaluation) -> dict[str, dict[str, ScoreChange]]:
    columns, old = shared_scores(before, after), before["scores"]
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
