"""Whether two evaluations are of the same test scans, and where the scores of a model on given scans are stored.

Training scans that come or go leave the test scans what they are, so models of different nights can be compared. An
evaluation of an older version names only the whole dataset, and is comparable only where all of it is the same.

The mean over flips makes nearly any model better, so scores are compared only with the same ``predict.flips``. What
bfloat16 rounds favours no model, as the gate's interval allows for, and ``precision: auto`` is not the same on each
machine: another precision hinders no comparison, but is told. So is another size of blended tiles, which depends on the
network; but what a model found in other tiles than today's is measured anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from unetseg.bundle import Bundle, BundleInfo
from unetseg.config import PredictConfig
from unetseg.dataset import Dataset
from unetseg.decisions import Decision
from unetseg.errors import UsageError
from unetseg.tile_size import blended_tile

__all__ = [
    "as_scored",
    "beside",
    "evaluated",
    "evaluated_apart",
    "evaluated_flips",
    "fingerprints",
    "inference_of",
    "inference_today",
    "of_same_scans",
    "ran_otherwise",
    "scans_today",
    "scored_on",
]

Evaluation = Mapping[str, Any]

_PRINTS = ("test_fingerprint", "dataset_fingerprint")
_PLAINLY: Final[dict[str, Any]] = {"flips": "none", "tile": None, "precision": "float32"}  # as all ran before schema 4


def fingerprints(dataset: Dataset) -> dict[str, str]:
    """What tells the scans of a dataset from others, as an evaluation keeps it."""
    return {"test_fingerprint": dataset.index.test_fingerprint, "dataset_fingerprint": dataset.index.fingerprint}


def inference_today(info: BundleInfo, config: PredictConfig) -> dict[str, Any]:
    """How a network runs by these settings, as far as that changes what is found.

    Returns:
        ``flips``; ``tile``: side of blended tiles in pixels, None where tiles are exact.
    """
    return {"flips": config.flips, "tile": blended_tile(info, config.tile)}


def scans_today(dataset: Dataset, info: BundleInfo, config: PredictConfig) -> dict[str, Any]:
    """What the evaluation of a model by these settings would say of its scans, for `scored_on`."""
    return fingerprints(dataset) | {"inference": inference_today(info, config)}


def as_scored(
    decision: Decision,
    *,
    unit: str,
    tolerance: float | None,
    scores: Mapping[str, Any],
    scans: Sequence[Evaluation],
    inference: Mapping[str, Any],
) -> dict[str, Any]:
    """The scores of a model on some scans, with all that they depend on: the part of an evaluation that is compared.

    Args:
        decision: what made a pixel a class.
        unit: of distances.
        tolerance: of surface Dice, in pixels; None: outlines were not compared.
        scores: a row per class and mean.
        scans: a row per scan.
        inference: how the network ran: ``flips``, ``tile`` and ``precision``.
    """
    return {
        "unit": unit,
        "settings": {"surface_tolerance": tolerance},
        "operating_point": asdict(decision),
        "inference": {name: inference[name] for name in _PLAINLY},
        "scores": scores,
        "scans": scans,
    }


def of_same_scans(evaluation: Evaluation, scans: Evaluation) -> bool:
    """Whether an evaluation, with its curves, is of these test scans, with the same flips; it may have no counts.

    The models may be two, whose tiles are their own.

    Args:
        evaluation: as ``evaluation.json`` has it.
        scans: `scans_today`, or another evaluation of the scans.
    """
    return evaluated_flips(evaluation) == evaluated_flips(scans) and _same_prints(evaluation, scans)


def _same_prints(evaluation: Evaluation, scans: Evaluation) -> bool:
    both_tell = evaluation.get("test_fingerprint") and scans.get("test_fingerprint")
    name = "test_fingerprint" if both_tell else "dataset_fingerprint"
    return bool(evaluation.get(name) == scans[name])


def scored_on(evaluation: Evaluation | None, scans: Evaluation) -> bool:
    """Whether an evaluation tells the counts of each of these test scans, with the same flips and blended tiles.

    Thresholds that were chosen from stored curves leave no counts of scans behind.

    Args:
        evaluation: as ``evaluation.json`` has it; None: there is none.
        scans: `scans_today`, or another evaluation of the same model.
    """
    return evaluation is not None and not evaluated_apart(evaluation, scans)


def evaluated_apart(evaluation: Evaluation, scans: Evaluation) -> tuple[str, ...]:
    """Why an evaluation does not tell the counts of each of these test scans, as `scored_on` asks.

    Args:
        evaluation: as ``evaluation.json`` has it.
        scans: `scans_today`, or another evaluation of the same model.

    Returns:
        In words, what the model was instead; nothing where its evaluation tells them.
    """
    others = ran_otherwise(evaluation, scans)
    causes = {
        "evaluated on other test scans": not _same_prints(evaluation, scans),
        "evaluated with other flips": "flips" in others,
        "evaluated in blended tiles of another size": "tile" in others,
        "given thresholds from stored curves, which tell nothing of single scans": not evaluation.get("scans"),
    }
    return tuple(words for words, true in causes.items() if true)


def beside(evaluation: Evaluation | None, bundle: Bundle) -> dict[str, Any] | None:
    """The scores of a model that were kept beside another's, when it was in production.

    Args:
        evaluation: of the other model.
        bundle: the model.

    Returns:
        What an evaluation of the model on those scans would have: fingerprints, ``scores``, ``scans`` and how both were
        measured. None where the other evaluation has none, or does not tell how the network ran for them, or where the
        model decides in another way by now.
    """
    found = evaluation and evaluation.get("production")
    point = found and found.get("operating_point")
    if not evaluation or not found or not point or found["version"] != bundle.version:
        return None
    if evaluation.get("inference") and not found.get("inference"):  # plainly, or as the other model: nobody knows
        return None
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


def inference_of(evaluation: Evaluation) -> Mapping[str, Any]:
    """How the network ran when a model was evaluated: ``flips``, ``tile``, ``precision`` and what else is noted."""
    return _PLAINLY | (evaluation.get("inference") or {})


def ran_otherwise(evaluation: Evaluation, other: Evaluation) -> tuple[str, ...]:
    """Which settings of ``predict`` were others when a model was evaluated, of those that change what it finds.

    Evaluations of older versions do not tell the size of blended tiles, which then counts as the same.

    Args:
        evaluation: as ``evaluation.json`` has it.
        other: another one of the same model, or what else has an ``inference``.

    Returns:
        Names among ``flips`` and ``tile``.
    """
    before, after = inference_of(evaluation), inference_of(other)
    known = [name for name in ("flips", "tile") if None not in (before[name], after[name])]
    return tuple(name for name in known if before[name] != after[name])


def evaluated_flips(evaluation: Evaluation) -> Any:  # noqa: ANN401 (one of the settings)
    """With which ``predict.flips`` a model was evaluated."""
    return inference_of(evaluation)["flips"]
