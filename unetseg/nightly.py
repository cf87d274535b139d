"""Nightly: ingest -> (unchanged? stop) -> train -> evaluate -> better than production? -> promote.

Unchanged means: a model is there that was trained on this data with these settings of model, loss, augment and train,
is evaluated by the settings of today, and met the gate under its rules of today. The version of unetseg does not count.

The steps are given, so that the same sentence runs as library calls and as Prefect tasks. A night that was cut short
goes on the next time from the first step that is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from unetseg.bundle import Bundle, load_bundle
from unetseg.errors import BundleError, BusyError, DataError, NoScansError, UnetsegError
from unetseg.evaluate import EvaluateResult, evaluate
from unetseg.evaluation_files import has_pages
from unetseg.full_disk import disk_errors_name
from unetseg.gate import GateResult, decided, gate
from unetseg.ingest import IngestResult, ingest
from unetseg.old_settings import changed_settings, same_settings
from unetseg.outputs_folder import check_outputs_folder
from unetseg.parallel import Progress, silent
from unetseg.predict import PredictResult, predict
from unetseg.project import Project
from unetseg.registry import model_folder, read_aliases, versions
from unetseg.registry_cleaning import clean
from unetseg.same_scans import inference_today, ran_otherwise
from unetseg.storage import is_remote, locate
from unetseg.train import TrainResult, train, training_fingerprint
from unetseg.working import working

__all__ = ["NightlyResult", "Steps", "nightly", "predict_after"]

logger = logging.getLogger(__name__)


def predict_after(project: Project, *, progress: Progress = silent) -> PredictResult:
    """Segment the folder of ``nightly.predict_folder`` with production.

    Args:
        project: whose settings name it.
        progress: told about every scan.
    """
    folder, out = locate(project.nightly.predict_folder), locate(project.nightly.predict_out)
    bundle, config = model_folder(project.models), project.prediction
    return predict(folder, out, bundle=bundle, config=config, project=project.folder, progress=progress)


@dataclass(frozen=True)
class Steps:
    """What nightly calls; library functions unless told otherwise."""

    ingest: Callable[[Project], IngestResult] = ingest
    train: Callable[[Project], TrainResult] = train
    evaluate: Callable[..., EvaluateResult] = evaluate
    gate: Callable[..., GateResult] = gate
    predict: Callable[[Project], PredictResult] = predict_after


@dataclass(frozen=True)
class NightlyResult:
    """What one night did.

    Attributes:
        outcome: ``promoted``, ``kept``, ``unchanged``, or ``skipped`` where another run works on the project.
        sentence: the outcome in words and numbers.
        version: of the model that this data and these settings give; empty where the night was skipped.
        production: the version in production now, or None.
        scores: of ``version``, a row per class, and ``micro``, ``macro``, ``weighted``.
        ingest: what ingest did; None where the night was skipped.
        report: page to look at; empty likewise.
        removed: old versions that ``gate.keep_models`` let go.
        predicted: what came of the folder that the settings name; None where they name none.
        notes: what was noticed when ``version`` was trained, such as overfitting; empty where nothing changed.
    """

    outcome: Literal["promoted", "kept", "unchanged", "skipped"]
    sentence: str
    version: str
    production: str | None
    scores: dict[str, dict[str, Any]]
    ingest: IngestResult | None
    report: str
    removed: tuple[str, ...] = ()
    predicted: PredictResult | None = None
    notes: tuple[str, ...] = ()


def nightly(project: Project, steps: Steps | None = None) -> NightlyResult:
    """Run one night.

    Production changes in one step, the gate's: whatever fails before leaves it as it was.

    Args:
        project: to bring up to date.
        steps: how each step is run.

    Raises:
        UsageError: settings that do not fit, also those that name a folder of outputs; no GPU where one is required.
        DataError: the night is done, but the folder that it was to segment could not be; the next night does.
        OSError: the disk is full; what is done stays.
    """
    steps = steps or Steps()
    _check_gpu(project)
    _check_folders(project)
    waits = project.settings.nightly.when_busy == "wait"
    try:
        with disk_errors_name(project.folder), working(project.folder, "nightly", wait=waits):
            night = _bring_up_to_date(project, steps)
    except BusyError as error:
        production = read_aliases(project.models).production
        return NightlyResult("skipped", f"skipped: {error}", "", production, {}, None, "")
    return _with_prediction(project, steps, night)


def _check_gpu(project: Project) -> None:
    if project.settings.train.gpu == "required":  # else a night without anything to do would import Keras for it
        from unetseg.devices import check_gpu

        check_gpu(project.settings.train.gpu)


def _check_folders(project: Project) -> None:
    """See that the outputs of the folder to segment have a place of their own, before a training is spent on them."""
    config = project.nightly
    if config.predict_folder and not is_remote(config.predict_out):  # a store may be back when the night has trained
        with suppress(OSError):  # also a disk: predict tells of it
            check_outputs_folder(locate(config.predict_out), locate(config.predict_folder), project)


def _bring_up_to_date(project: Project, steps: Steps) -> NightlyResult:
    ingested = steps.ingest(project)
    version = _trained_on(project, ingested.fingerprint) or steps.train(project).version
    before = load_bundle(model_folder(project.models, version))
    if not _is_evaluated(before, project):
        steps.evaluate(project, model=version)
    decision = decided(before, project)
    unchanged = decision is not None
    decision = decision or steps.gate(project, model=version)
    keep = project.settings.gate.keep_models
    removed = clean(project.models, keep=keep, runs=project.runs) if keep else ()
    return replace(_conclude(project, ingested, decision, unchanged=unchanged), removed=removed)


def _with_prediction(project: Project, steps: Steps, night: NightlyResult) -> NightlyResult:
    """Segment the folder that the settings name, if any: what is up to date there is not done again."""
    folder = project.nightly.predict_folder
    if not (folder and night.production):
        return night
    try:
        predicted = steps.predict(project)
    except NoScansError as error:  # somebody empties it once its scans are done
        logger.info("%s", error)
        return night
    except (UnetsegError, OSError) as error:
        raise DataError(f"{night.sentence}; but {folder} was not segmented: {error}") from error
    return replace(night, predicted=predicted, sentence=f"{night.sentence}; {predicted.sentence}")


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
    return _is_evaluated_as_today(bundle, evaluation, project)


def _is_evaluated_as_today(bundle: Bundle, evaluation: Mapping[str, Any], project: Project) -> bool:
    """Whether no setting was another; else it is told which, for thresholds may move that somebody asked for."""
    today = {"inference": inference_today(bundle.info, project.settings.predict)}
    changed = [f"predict.{name}" for name in ran_otherwise(evaluation, today)]
    changed += [f"evaluate.{name}" for name in changed_settings(evaluation.get("settings"), project.settings.evaluate)]
    if changed:
        logger.warning(
            "model %s is evaluated anew, which may move its thresholds: at its last evaluation %s %s other than now",
            *(bundle.version, ", ".join(changed), "was" if len(changed) == 1 else "were"),
        )
    return not changed


def _open(project: Project, version: str) -> Bundle:
    return load_bundle(model_folder(project.models, version))


def _conclude(project: Project, ingested: IngestResult, decision: GateResult, *, unchanged: bool) -> NightlyResult:
    bundle = _open(project, decision.version)
    outcome: Literal["promoted", "kept", "unchanged"] = "promoted" if decision.promoted else "kept"
    production = read_aliases(project.models).production
    sentence = f"{outcome} {decision.version if decision.promoted else production or 'nothing'}: {decision.reason}"
    if unchanged:
        outcome = "unchanged"
        stays = "" if production in (None, decision.version) else f", {production} stays production"
        sentence = f"unchanged since {decision.version}: nothing to train{stays}"
    evaluation = bundle.evaluation or {}
    return NightlyResult(
        outcome=outcome,
        sentence=sentence,
        version=decision.version,
        production=production,
        scores=evaluation.get("scores", {}),
        ingest=ingested,
        report=str(bundle.folder / "evaluation" / "report.html"),
        notes=() if unchanged else bundle.info.notes,
    )
