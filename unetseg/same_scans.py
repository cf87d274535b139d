"""Whether two evaluations are of the same test scans, and where the scores of a model on given scans are stored.

Training scans that come or go leave the test scans what they are, so models of different nights can be compared. An
evaluation of an older version names only the whole dataset, and is comparable only where all of it is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from unetseg.bundle import Bundle
from unetseg.dataset import Dataset
from unetseg.decisions import Decision
from unetseg.errors import UsageError

__all__ = ["as_scored", "beside", "evaluated", "evaluated_flips", "fingerprints", "of_same_scans", "scored_on"]

Evaluation = Mapping[str, Any]

_PRINTS = ("test_fingerprint", "dataset_fingerprint")


def fingerprints(dataset: Dataset) -> dict[str, str]:
    """What tells the scans of a dataset from others, as an evaluation keeps it."""
    return {"test_fingerprint": dataset.index.test_fingerprint, "dataset_fingerprint": dataset.index.fingerprint}


def as_scored(
    decision: Decision, *, unit: str, tolerance: float | None, scores: Mapping[str, Any], scans: Sequence[Evaluation]
) -> dict[str, Any]:
    """The scores of a model on some scans, with all that they depend on: the part of an evaluation that is compared.

    Args:
        decision: what made a pixel a class.
        unit: of distances.
        tolerance: of surface Dice, in pixels; None: outlines were not compared.
        scores: a row per class and mean.
        scans: a row per scan.
    """
    return {
        "unit": unit,
        "settings": {"surface_tolerance": tolerance},
        "operating_point": asdict(decision),
        "scores": scores,
        "scans": scans,
    }


def of_same_scans(evaluation: Evaluation, scans: Evaluation) -> bool:
    """Whether an evaluation, with its curves, is of these test scans; it may have no counts of them.

    Args:
        evaluation: as ``evaluation.json`` has it.
        scans: `fingerprints`, or another evaluation of the scans.
    """
    both_tell = evaluation.get("test_fingerprint") and scans.get("test_fingerprint")
    name = "test_fingerprint" if both_tell else "dataset_fingerprint"
    return bool(evaluation[name] == scans[name])


def scored_on(evaluation: Evaluation | None, scans: Evaluation) -> bool:
    """Whether an evaluation tells the counts of each of these test scans.

    Thresholds that were chosen from stored curves leave no counts of scans behind.

    Args:
        evaluation: as ``evaluation.json`` has it; None: there is none.
        scans: `fingerprints`, or another evaluation of the scans.
    """
    return bool(evaluation and evaluation["scans"] and of_same_scans(evaluation, scans))


def beside(evaluation: Evaluation | None, bundle: Bundle) -> dict[str, Any] | None:
    """The scores of a model that were kept beside another's, when it was in production.

    Args:
        evaluation: of the other model.
        bundle: the model.

    Returns:
        What an evaluation of the model on those scans would have: fingerprints, ``scores``, ``scans`` and how both were
        measured. None where the other evaluation has none, or where the model decides in another way by now.
    """
    found = evaluation and evaluation.get("production")
    if not evaluation or not found or found["version"] != bundle.version or "operating_point" not in found:
        return None
    point = found["operating_point"]
    if Decision(point["rule"], tuple(point["thresholds"])) != bundle.decision:
        return None
    return {name: evaluation.get(name) for name in _PRINTS} | dict(found)


def evaluated(bundle: Bundle) -> dict[str, Any]:
    """The evaluation of a model that is to be compared.

    Raises:
        UsageError: there is none.
    """
    if bundle.evaluation is None:
        raise UsageError(
            f"compare: model {bundle.version} has no scores yet; run unetseg evaluate --model {bundle.version}"
        )
    return bundle.evaluation


def evaluated_flips(evaluation: Evaluation) -> str:
    """With which ``predict.flips`` a model was evaluated: none, before schema 4."""
    return str((evaluation.get("inference") or {"flips": "none"})["flips"])
