"""The gate: a new model replaces production only when it is better on the same test scans and ruins no class."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from unetseg.bundle import Bundle, load_bundle, read_evaluation
from unetseg.config import PredictConfig, to_plain
from unetseg.dataset import Dataset, open_dataset
from unetseg.errors import BundleError, DamagedFileError, DataError, MovedError, UsageError
from unetseg.gate_rules import GateNumbers, Scored, Verdict, class_tolerances, compare, first
from unetseg.json_files import read_json
from unetseg.old_settings import same_settings
from unetseg.project import Project
from unetseg.records import read_record, write_record
from unetseg.registry import model_folder, promote, read_aliases
from unetseg.registry_rollbacks import rollback_in_words, rolled_back
from unetseg.same_scans import beside, evaluated_flips, inference_of, ran_otherwise, scans_today, scored_on
from unetseg.scoring import score_split

__all__ = ["GateResult", "decided", "gate"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
"""Of gate.json; the first ones named none, and had no digest."""
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


@dataclass(frozen=True)
class _Decision:
    """What gate.json holds: a result, and what it rests on: settings, and how the challenger was evaluated."""

    result: GateResult
    settings: dict[str, Any]


def gate(project: Project, *, model: str = "latest") -> GateResult:
    """Compare an evaluated model with production, promote it or keep production, and note the decision.

    A version that a person took out of production is not promoted again, whatever its scores.

    Args:
        project: whose models are compared on whose test split.
        model: the challenger.

    Raises:
        UsageError: the challenger has not been evaluated, or a tolerance names an unknown class.
        BundleError: the challenger is damaged, or production works but its evaluation is damaged; production stays, and
            nothing is noted, so that the challenger meets the gate again.
        DataError: production was changed again and again meanwhile.
    """
    challenger = load_bundle(model_folder(project.models, model))
    if challenger.evaluation is None:
        raise UsageError(f"gate: model {challenger.version} has no scores yet; run evaluate first")
    class_tolerances(project.settings.gate, challenger.info.classes)  # a misspelt name must not cost a scoring first
    result = _settle(project, challenger)
    said = ("promoted", result.version) if result.promoted else ("kept", result.production)
    logger.info("%s %s: %s", *said, result.reason)
    return result


def _settle(project: Project, challenger: Bundle) -> GateResult:
    """Decide, note it, and promote what was decided; where a person moved production meanwhile, decide again.

    It is noted first: of a run that is killed between the two, the next one knows that it did not promote (`decided`).
    """
    for _ in range(_ATTEMPTS):
        production = read_aliases(project.models).production
        result = _decide(project, challenger, production)
        _note(project, challenger, result)
        if not result.promoted:
            return result
        try:
            promote(project.models, challenger.version, why=result.reason, instead_of=production)
        except MovedError as error:
            logger.warning("gate: %s", error)
            continue
        return result
    raise DataError(f"gate: production was changed {_ATTEMPTS} times while models were compared; run gate again")


def decided(bundle: Bundle, project: Project) -> GateResult | None:
    """The decision on a bundle; None where the gate has not seen it, saw it under other rules, or was killed.

    So it is where the model was evaluated with other flips or tiles since. A decision that is damaged counts as none,
    with a warning. A model that was rolled back meanwhile stays decided.

    Raises:
        BundleError: the evaluation is damaged.
    """
    path = bundle.folder / _DECISION
    if not path.exists():
        return None
    try:
        stored = _read_decision(path)
    except DamagedFileError as error:
        logger.warning("model %s meets the gate again: %s", bundle.version, error)
        return None
    rules = {"gate": replace(project.settings.gate, keep_models=0), "evaluate": project.settings.evaluate}
    same = all(same_settings(stored.settings.get(section), rule) for section, rule in rules.items())
    evaluation = read_evaluation(bundle.folder) or {}  # that of now: a night evaluates anew what it has opened
    same = same and not ran_otherwise(stored.settings, evaluation)
    return stored.result if same and _is_done(project, stored.result) else None


def _is_done(project: Project, result: GateResult) -> bool:
    """Whether the history tells of the promotion that was decided."""
    aliases = read_aliases(project.models)
    done = any((line["production"], line["why"]) == (result.version, result.reason) for line in aliases.history)
    return done or not result.promoted or aliases.production == result.version


def _note(project: Project, challenger: Bundle, result: GateResult) -> None:
    decision = asdict(_Decision(result, _rules(project, challenger)))
    write_record(challenger.folder / _DECISION, {"schema_version": SCHEMA_VERSION, **decision})


def _read_decision(path: Path) -> _Decision:
    plain = read_json(path)
    if isinstance(plain, dict) and "schema_version" in plain:
        plain = read_record(path, since=SCHEMA_VERSION)
    try:
        decision: _Decision = TypeAdapter(_Decision).validate_python(plain)
    except ValidationError:
        raise DamagedFileError(f"{path}: damaged, holds no decision of the gate") from None
    return decision


def _rules(project: Project, challenger: Bundle) -> dict[str, Any]:
    """What a decision depends on: settings, and how the network ran for the scores."""
    rules = to_plain(project.settings.gate)
    del rules["keep_models"]  # what is tidied up afterwards
    how = inference_of(challenger.evaluation or {})
    inference = {name: how[name] for name in ("flips", "tile")}
    return {"gate": rules, "evaluate": to_plain(project.settings.evaluate), "inference": inference}


def _decide(project: Project, challenger: Bundle, production: str | None) -> GateResult:
    if production == challenger.version:
        return GateResult(challenger.version, False, production, f"{production} is production already")
    if line := rolled_back(read_aliases(project.models), challenger.version):
        words = rollback_in_words(challenger.version, line)
        way_out = f"promote it by hand if it is wanted again: unetseg models promote {challenger.version}"
        return GateResult(challenger.version, False, production, f"{words}; {way_out}")
    verdict = _verdict(project, challenger, production)
    after = challenger.version if verdict.promotes else production
    return GateResult(challenger.version, verdict.promotes, after, verdict.reason, verdict.numbers)


def _verdict(project: Project, challenger: Bundle, production: str | None) -> Verdict:
    config, dataset, classes = project.settings.gate, open_dataset(project.dataset), challenger.info.classes
    # As the challenger was evaluated: its thresholds are for these flips, which must not be its only gain.
    run = replace(project.settings.predict, flips=evaluated_flips(challenger.evaluation or {}))
    ours = _scored(challenger, dataset, run)
    if production is None:
        return first(ours, classes, config)
    try:
        before = load_bundle(model_folder(project.models, production))
    except BundleError as error:
        return _alone(first(ours, classes, config), production, error)
    _check_evaluation(before)
    try:
        theirs = _scored(before, dataset, run, other=challenger)
    except DamagedFileError:
        raise
    except DataError as error:  # other classes, channels or guides
        return _alone(first(ours, classes, config), production, error)
    return compare(ours, theirs, classes, config, project.settings.evaluate, against=production)


def _alone(verdict: Verdict, production: str, error: Exception) -> Verdict:
    return replace(verdict, reason=f"{verdict.reason} (not comparable with {production}: {error})")


def _check_evaluation(production: Bundle) -> None:
    """Refuse to judge without production's thresholds: a model that works must not make way for damaged scores."""
    try:
        production.decision  # noqa: B018 (it is read, and checked, here)
    except BundleError as error:
        version = production.version
        raise BundleError(
            f"gate: production {version} stays, since its evaluation is damaged and nothing can be compared with it: "
            f"{error}; run unetseg evaluate --model {version}, then gate again"
        ) from error


def _scored(bundle: Bundle, dataset: Dataset, run: PredictConfig, *, other: Bundle | None = None) -> Scored:
    """A model's counts on today's test split: stored with it or beside another model, else measured now."""
    stored = (bundle.evaluation, beside(other.evaluation, bundle) if other else None)
    today = scans_today(dataset, bundle.info, run)
    if found := next((item for item in stored if item and scored_on(item, today)), None):
        rows = [(row["id"], row["group"], row["counts"]) for row in found["scans"]]
    else:
        test = score_split(bundle, dataset, "test", run)
        rows = [(scan.id, scan.group, counts) for scan, counts in zip(test.scans, test.counts, strict=True)]
    scans, groups, counts = zip(*sorted(rows, key=lambda row: str(row[0])), strict=True)
    return Scored(scans, groups, np.array(counts, np.int64))
