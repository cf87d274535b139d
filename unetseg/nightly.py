"""Nightly: ingest -> (unchanged? stop) -> train -> evaluate -> better than production? -> promote.

The steps are given, so that the same sentence runs as library calls and as Prefect tasks. A night that was cut short
goes on the next time from the first step that is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from unetseg.bundle import Bundle, load_bundle
from unetseg.config import to_plain
from unetseg.evaluate import EvaluateResult, evaluate
from unetseg.gate import GateResult, decided, gate
from unetseg.ingest import IngestResult, ingest
from unetseg.project import Project
from unetseg.registry import model_folder, read_aliases, versions
from unetseg.train import TrainResult, train, training_fingerprint

__all__ = ["NightlyResult", "Steps", "nightly"]


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
    """

    outcome: Literal["promoted", "kept", "unchanged"]
    sentence: str
    version: str
    production: str | None
    scores: dict[str, dict[str, Any]]
    ingest: IngestResult
    report: str


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
    if before.evaluation is None or before.evaluation["settings"] != to_plain(project.settings.evaluate):
        steps.evaluate(project, model=version)
    decision = decided(before, project)
    unchanged = decision is not None
    decision = decision or steps.gate(project, model=version)
    return _conclude(project, ingested, decision, unchanged=unchanged)


def _trained_on(project: Project, fingerprint: str) -> str | None:
    """The newest version that was trained on this data with these settings, if any."""
    wanted = training_fingerprint(fingerprint, project.settings)
    for version in reversed(versions(project.models)):
        bundle = _open(project, version)
        if bundle.info.training_fingerprint == wanted:
            return version
    return None


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
