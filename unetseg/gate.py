"""The gate: a new model replaces production only when it is better on the same test scans and ruins no class."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from unetseg.bundle import Bundle, load_bundle
from unetseg.config import to_plain
from unetseg.dataset import Dataset, open_dataset
from unetseg.errors import BundleError, DataError, MovedError, UsageError
from unetseg.gate_rules import GateNumbers, Scored, Verdict, class_tolerances, compare, first
from unetseg.old_settings import same_settings
from unetseg.project import Project
from unetseg.registry import model_folder, promote, read_aliases
from unetseg.scoring import score_split
from unetseg.storage import read_json, write_json

__all__ = ["GateResult", "decided", "gate"]

logger = logging.getLogger(__name__)

_DECISION = "gate.json"
_ATTEMPTS = 3  # a comparison takes minutes, a person's promotion comes seldom


@dataclass(frozen=True)
class GateResult:
    """What the gate decided.

    Attributes:
        version: of the challenger.
        promoted: whether it is production now.
        production: the version in production now, or None.
        reason: in words and numbers.
        numbers: what the decision rests on; None where production met the gate again, and in those of older versions.
    """

    version: str
    promoted: bool
    production: str | None
    reason: str
    numbers: GateNumbers | None = None


def gate(project: Project, *, model: str = "latest") -> GateResult:
    """Compare an evaluated model with production, promote it or keep production, and note the decision.

    Args:
        project: whose models are compared on whose test split.
        model: the challenger.

    Raises:
        UsageError: the challenger has not been evaluated, or a tolerance names an unknown class.
    """
    challenger = load_bundle(model_folder(project.models, model))
    if challenger.evaluation is None:
        raise UsageError(f"gate: model {challenger.version} has no scores yet; run evaluate first")
    class_tolerances(project.settings.gate, challenger.info.classes)  # a misspelt name must not cost a scoring first
    result = _settle(project, challenger)
    said = ("promoted", result.version) if result.promoted else ("kept", result.production)
    logger.info("%s %s: %s", *said, result.reason)
    write_json(challenger.folder / _DECISION, {"result": asdict(result), "settings": _rules(project)})
    return result


def _settle(project: Project, challenger: Bundle) -> GateResult:
    """Decide, and promote what was decided; where a person moved production meanwhile, compare with that."""
    for _ in range(_ATTEMPTS):
        production = read_aliases(project.models).production
        result = _decide(project, challenger, production)
        if not result.promoted:
            return result
        try:
            promote(project.models, challenger.version, why=result.reason, instead_of=production)
        except MovedError as error:
            logger.warning("gate: %s", error)
            continue
        return replace(result, production=challenger.version)
    raise DataError(f"gate: production was changed {_ATTEMPTS} times while models were compared; run gate again")


def decided(bundle: Bundle, project: Project) -> GateResult | None:
    """The decision on a bundle; None where the gate has not seen it, or saw it under other rules."""
    path = bundle.folder / _DECISION
    if not path.exists():
        return None
    stored = read_json(path)
    rules = {"gate": replace(project.settings.gate, keep_models=0), "evaluate": project.settings.evaluate}
    if not all(same_settings(stored["settings"].get(section), rule) for section, rule in rules.items()):
        return None
    result: GateResult = TypeAdapter(GateResult).validate_python(stored["result"])
    return result


def _rules(project: Project) -> dict[str, Any]:
    """The settings that a decision depends on."""
    rules = to_plain(project.settings.gate)
    del rules["keep_models"]  # what is tidied up afterwards
    return {"gate": rules, "evaluate": to_plain(project.settings.evaluate)}


def _decide(project: Project, challenger: Bundle, production: str | None) -> GateResult:
    if production == challenger.version:
        return GateResult(challenger.version, False, production, f"{production} is production already")
    verdict = _verdict(project, challenger, production)
    return GateResult(challenger.version, verdict.promotes, production, verdict.reason, verdict.numbers)


def _verdict(project: Project, challenger: Bundle, production: str | None) -> Verdict:
    config, dataset, classes = project.settings.gate, open_dataset(project.dataset), challenger.info.classes
    ours = _scored(challenger, dataset, project)
    if production is None:
        return first(ours, classes, config)
    try:
        theirs = _scored(load_bundle(model_folder(project.models, production)), dataset, project)
    except (DataError, BundleError) as error:
        alone = first(ours, classes, config)
        return replace(alone, reason=f"{alone.reason} (not comparable with {production}: {error})")
    return compare(ours, theirs, classes, config, project.settings.evaluate, against=production)


def _scored(bundle: Bundle, dataset: Dataset, project: Project) -> Scored:
    """A model's counts on today's test split: stored ones where they are of the same data, else measured now."""
    stored = bundle.evaluation
    # Thresholds that were chosen from stored curves leave no counts of scans behind.
    if stored and stored["scans"] and stored["dataset_fingerprint"] == dataset.index.fingerprint:
        rows = [(row["id"], row["group"], row["counts"]) for row in stored["scans"]]
    else:
        test = score_split(bundle, dataset, "test", project.settings.predict)
        rows = [(scan.id, scan.group, counts) for scan, counts in zip(test.scans, test.counts, strict=True)]
    scans, groups, counts = zip(*sorted(rows, key=lambda row: str(row[0])), strict=True)
    return Scored(scans, groups, np.array(counts, np.int64))
