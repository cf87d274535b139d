"""Nightly: ingest -> (unchanged? stop) -> train -> evaluate -> better than production? -> promote.

The steps are given, so that the same sentence runs as library calls and as Prefect tasks. A night that was cut short
goes on the next time from the first step that is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from unetseg.bundle import Bundle, load_bundle
from unetseg.errors import BundleError
from unetseg.evaluate import EvaluateResult, evaluate
from unetseg.evaluation_files import has_pages
from unetseg.gate import GateResult, decided, gate
from unetseg.ingest import IngestResult, ingest
from unetseg.old_settings import same_settings
from unetseg.project import Project
from unetseg.registry import model_folder, read_aliases, versions
from unetseg.registry_cleaning import clean
from unetseg.same_scans import inference_today, ran_otherwise
from unetseg.train import TrainResult, train, training_fingerprint

__all__ = ["NightlyResult", "Steps", "nightly"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steps:
    """What nightly calls; library functions unless told otherwise."""

    ingest: Callable[[Project], IngestResult] = ingest
    train: Callable[[Project], TrainResult] = train
    evaluate: Callable[..., EvaluateResult] = evaluate
    gate: Callable[..., GateResult] = gate


@dataclass(frozen=True)
class NightlyResult:
    """What one night did.

    Attributes:
        outcome: ``promoted``, ``kept`` or ``unchanged``.
        sentence: the outcome in words and numbers.
        version: of the model that this data and these settings give.
        production: the version in production now, or None.
        scores: of ``version``, a row per class, and ``micro``, ``macro``, ``weighted``.
        ingest: what ingest did.
        report: page to look at.
        removed: old versions that ``gate.keep_models`` let go.
    """

    outcome: Literal["promoted", "kept", "unchanged"]
    sentence: str
    version: str
    production: str | None
    scores: dict[str, dict[str, Any]]
    ingest: IngestResult
    report: str
    removed: tuple[str, ...] = ()


def nightly(project: Project, steps: Steps | None = None) -> NightlyResult:
    """Run one night.

    Args:
        project: to bring up to date.
        steps: how each step is run.
    """
    steps = steps or Steps()
    ingested = steps.ingest(project)
    version = _trained_on(project, ingested.fingerprint) or steps.train(project).version
    before = load_bundle(model_folder(project.models, version))
    if not _is_evaluated(before, project):
        steps.evaluate(project, model=version)
    decision = decided(before, project)
    unchanged = decision is not None
    decision = decision or steps.gate(project, model=version)
    keep = project.settings.gate.keep_models
    removed = clean(project.models, keep=keep) if keep else ()
    return replace(_conclude(project, ingested, decision, unchanged=unchanged), removed=removed)


def _trained_on(project: Project, fingerprint: str) -> str | None:
    """The newest version that was trained on this data with these settings, if any."""
    wanted = training_fingerprint(fingerprint, project.settings)
    for version in reversed(versions(project.models)):
        try:
            bundle = _open(project, version)
        except BundleError as error:  # an old version that nobody uses must not end all nights to come
            logger.warning("model %s is left out: %s", version, error)
            continue
        if bundle.info.training_fingerprint == wanted:
            return version
    return None


def _is_evaluated(bundle: Bundle, project: Project) -> bool:
    """Whether an evaluation is there that can be read, by the settings of today, and with its page.

    Where a person has set thresholds since, the settings of the `evaluate` before count, and its scores stay away until
    somebody asks for them: a night must not take such thresholds back, not even for a page.
    """
    try:
        evaluation = bundle.evaluation
    except BundleError as error:
        logger.warning("model %s is evaluated anew: %s", bundle.version, error)
        return False
    if evaluation is None:
        return False
    wanted, by_hand = project.settings.evaluate, evaluation.get("evaluated_with")
    if by_hand and same_settings(by_hand, wanted):
        return True
    if not has_pages(bundle.folder / "evaluation"):
        logger.warning("model %s is evaluated anew: its page is missing", bundle.version)
        return False
    today = {"inference": inference_today(bundle.info, project.settings.predict)}
    return not ran_otherwise(evaluation, today) and same_settings(evaluation["settings"], wanted)


def _open(project: Project, version: str) -> Bundle:
    return load_bundle(model_folder(project.models, version))


def _conclude(project: Project, ingested: IngestResult, decision: GateResult, *, unchanged: bool) -> NightlyResult:
    bundle = _open(project, decision.version)
    outcome: Literal["promoted", "kept", "unchanged"] = "promoted" if decision.promoted else "kept"
    production = read_aliases(project.models).production
    sentence = f"{outcome} {decision.version if decision.promoted else production or 'nothing'}: {decision.reason}"
    if unchanged:
        outcome = "unchanged"
        sentence = f"unchanged: data and settings are those of model {decision.version}; nothing was trained"
    evaluation = bundle.evaluation or {}
    return NightlyResult(
        outcome=outcome,
        sentence=sentence,
        version=decision.version,
        production=production,
        scores=evaluation.get("scores", {}),
        ingest=ingested,
        report=str(bundle.folder / "evaluation" / "report.html"),
    )
