"""The gate: a new model replaces production only when it is better on the same test scans and ruins no class."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle, load_bundle
from unetseg.config import EvaluateConfig, GateConfig, to_plain
from unetseg.dataset import Dataset, open_dataset
from unetseg.errors import DataError, UsageError
from unetseg.evaluate import score_split
from unetseg.project import Project
from unetseg.registry import model_folder, promote, read_aliases
from unetseg.scores import Difference, paired_difference, score_table
from unetseg.storage import read_json, write_json

__all__ = ["GateResult", "decided", "gate"]

logger = logging.getLogger(__name__)

_DECISION = "gate.json"


@dataclass(frozen=True)
class GateResult:
    """What the gate decided.

    Attributes:
        version: of the challenger.
        promoted: whether it is production now.
        production: the version in production now, or None.
        reason: in words and numbers.
    """

    version: str
    promoted: bool
    production: str | None
    reason: str


@dataclass(frozen=True)
class _Scored:
    """One model on the test split: the counts that the bootstrap draws from, and its table of scores."""

    scans: tuple[str, ...]
    groups: tuple[str, ...]
    counts: NDArray[np.int64]
    scores: dict[str, dict[str, Any]]


def gate(project: Project, *, model: str = "latest") -> GateResult:
    """Compare an evaluated model with production, promote it or keep production, and note the decision.

    Args:
        project: whose models are compared on whose test split.
        model: the challenger.

    Raises:
        UsageError: the challenger has not been evaluated.
    """
    challenger = load_bundle(model_folder(project.models, model))
    if challenger.evaluation is None:
        raise UsageError(f"gate: model {challenger.version} has no scores yet; run evaluate first")
    production = read_aliases(project.models).production
    promotes, reason = _decide(project, challenger, production)
    logger.info("%s %s: %s", *(("promoted", challenger.version) if promotes else ("kept", production)), reason)
    if promotes:
        production = promote(project.models, challenger.version, why=reason).production
    result = GateResult(challenger.version, promotes, production, reason)
    write_json(challenger.folder / _DECISION, {"result": asdict(result), "settings": _rules(project)})
    return result


def decided(bundle: Bundle, project: Project) -> GateResult | None:
    """The decision on a bundle; None where the gate has not seen it, or saw it under other rules."""
    path = bundle.folder / _DECISION
    if not path.exists():
        return None
    stored = read_json(path)
    return GateResult(**stored["result"]) if stored["settings"] == _rules(project) else None


def _rules(project: Project) -> dict[str, Any]:
    """The settings that a decision depends on."""
    return {"gate": to_plain(project.settings.gate), "evaluate": to_plain(project.settings.evaluate)}


def _decide(project: Project, challenger: Bundle, production: str | None) -> tuple[bool, str]:
    if production == challenger.version:
        return False, f"{production} is production already"
    config, dataset = project.settings.gate, open_dataset(project.dataset)
    ours = _scored(challenger, dataset, project)
    if production is None:
        return _first(ours, config)
    try:
        theirs = _scored(load_bundle(model_folder(project.models, production)), dataset, project)
    except DataError as error:
        passes, reason = _first(ours, config)
        return passes, f"{reason} (not comparable with {production}: {error})"
    return _compare(ours, theirs, challenger.info.classes, config, project.settings.evaluate)


def _scored(bundle: Bundle, dataset: Dataset, project: Project) -> _Scored:
    """A model's numbers on today's test split: stored ones where they are of the same data, else measured now."""
    stored = bundle.evaluation
    if stored and stored["dataset_fingerprint"] == dataset.index.fingerprint:
        rows = sorted(stored["scans"], key=lambda row: str(row["id"]))
        counts = np.array([row["counts"] for row in rows], np.int64)
        return _Scored(tuple(row["id"] for row in rows), tuple(row["group"] for row in rows), counts, stored["scores"])
    test = score_split(bundle, dataset, "test", project.settings.predict)
    scores = score_table(test.counts, bundle.info.classes, bundle.thresholds.tolist(), test.histograms)
    return _Scored(tuple(scan.id for scan in test.scans), tuple(scan.group for scan in test.scans), test.counts, scores)


def _first(ours: _Scored, config: GateConfig) -> tuple[bool, str]:
    reached = ours.scores["macro"][config.score]
    if reached is None:
        return False, f"macro {config.score} cannot be measured: no class is in the test split"
    comparison = "reaches" if reached >= config.floor else "is below"
    return reached >= config.floor, f"macro {config.score} {reached:.3f} {comparison} the floor of {config.floor}"


def _compare(
    ours: _Scored, theirs: _Scored, classes: tuple[str, ...], config: GateConfig, draws: EvaluateConfig
) -> tuple[bool, str]:
    ruined = _ruined(ours, theirs, classes, config)
    if ruined:
        return False, ruined
    if config.score == "average_precision":  # not a function of counts, so there is nothing to draw from
        before, now = (item.scores["macro"]["average_precision"] for item in (theirs, ours))
        if before is None or now is None:
            return False, "macro average precision cannot be measured: no class is in the test split"
        return now > before, f"macro average precision {before:.3f} -> {now:.3f}"
    # One group alone cannot be drawn from; its scans then stand for themselves.
    units = ours.groups if len(set(ours.groups)) > 1 else ours.scans
    return _verdict(paired_difference(theirs.counts, ours.counts, units, config.score, draws), config, draws)


def _verdict(difference: Difference, config: GateConfig, draws: EvaluateConfig) -> tuple[bool, str]:
    """Promote when the whole interval of the difference is above 0."""
    change = f"macro {config.score} {difference.mean_a:.3f} -> {difference.mean_b:.3f}"
    if difference.low is None or difference.high is None:
        better = difference.difference > config.tolerance
        return better, f"{change} (one test scan: must gain more than {config.tolerance})"
    interval = f"{difference.low:+.3f} to {difference.high:+.3f} at {draws.confidence:.0%} confidence"
    return difference.low > 0, f"{change} (difference {interval})"


def _ruined(ours: _Scored, theirs: _Scored, classes: tuple[str, ...], config: GateConfig) -> str:
    """Names a class that lost more than the tolerance; empty when there is none."""
    for name in classes:
        before, now = theirs.scores[name][config.score], ours.scores[name][config.score]
        if before is not None and (now is None or before - now > config.tolerance):
            shown = "not measurable" if now is None else f"{now:.3f}"
            return f"{name} fell from {config.score} {before:.3f} to {shown}, more than {config.tolerance} allows"
    return ""
