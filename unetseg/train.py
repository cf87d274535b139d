"""Train a network on a project's dataset: plan, patches, loss, fit, bundle."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from unetseg.bundle import BundleInfo, save_bundle, software_versions
from unetseg.config import Settings, TrainConfig, to_plain
from unetseg.dataset import Dataset, open_dataset
from unetseg.decisions import decision_rule
from unetseg.errors import DamagedFileError, DataError, UsageError
from unetseg.freed_memory import freed_memory_kept
from unetseg.full_disk import disk_errors_name
from unetseg.gate_rules import class_tolerances
from unetseg.json_files import read_json, write_json
from unetseg.leakage import scan_marks
from unetseg.parallel import Progress, silent
from unetseg.pixel_size import common_pixel_size
from unetseg.plan import Plan, make_plan
from unetseg.project import Project
from unetseg.storage import is_remote, text_hash
from unetseg.thresholds import check_criteria
from unetseg.training_data import describe_training_data
from unetseg.working import working

if TYPE_CHECKING:
    import keras

    from unetseg.checkpoint import FitOutcome

__all__ = ["TrainResult", "plan_training", "train", "training_fingerprint"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What one training left.

    Attributes:
        version: of the new bundle, such as ``0003``.
        bundle: its folder.
        run: folder with the history, curves, plan and a drawing of the network.
        epochs: epochs trained.
        best_epoch: whose weights the bundle holds, counted from 1.
        validation_score: highest score on validation patches, by what ``train.monitor`` says.
        seconds: time spent training.
        plan: settings that were chosen from data and machine, such as ``train.batch``, each with its reason.
        notes: what was noticed, such as overfitting.
    """

    version: str
    bundle: Path
    run: Path
    epochs: int
    best_epoch: int
    validation_score: float
    seconds: float
    plan: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What came of it, in numbers."""
        return (
            f"trained {self.version}: validation score {self.validation_score:.3f} in epoch {self.best_epoch} of "
            f"{self.epochs}"
        )


def train(project: Project, *, progress: Progress = silent) -> TrainResult:
    """Train on the dataset's training split; validation chooses the weights.

    Args:
        project: whose dataset is read; the bundle goes to its ``models``, the history to its ``runs``.
        progress: told about every epoch.

    Raises:
        UsageError: there is no dataset, settings that do not fit each other, or no GPU where one is required.
        DataError: the loss became not-a-number.
        OSError: the disk is full; what is trained so far stays.
    """
    from unetseg.devices import check_gpu

    if is_remote(project.folder):
        raise UsageError(
            f"{project.folder}: a project in an object store can be ingested, but not trained yet; "
            "keep the project in a local folder and leave scans and masks where they are"
        )
    check_gpu(project.settings.train.gpu)
    # A second one on the same data would write into the same run folder.
    with disk_errors_name(project.folder), working(project.folder, "train"):
        return _train_alone(project, progress)


def _train_alone(project: Project, progress: Progress) -> TrainResult:
    dataset = open_dataset(project.dataset)
    _check_what_follows(project, dataset.index.classes)
    fingerprint = training_fingerprint(dataset.index.fingerprint, project.settings)
    run = _run_folder(project, fingerprint)
    started = time.monotonic()
    trained = _train(project, dataset, run, progress)
    info = _describe(dataset, trained, fingerprint)
    _write_course(run, trained.outcome, info.classes)
    bundle = save_bundle(project.models, trained.model, info)
    result = TrainResult(
        version=bundle.name,
        bundle=bundle,
        run=run,
        epochs=len(trained.outcome.history),
        best_epoch=trained.outcome.best_epoch,
        validation_score=trained.outcome.best_score,
        seconds=time.monotonic() - started,
        plan=info.plan,
        notes=info.notes,
    )
    write_json(run / "result.json", to_plain(result))
    shutil.rmtree(run / "checkpoint", ignore_errors=True)
    return result


def _check_what_follows(project: Project, classes: Sequence[str]) -> None:
    """Refuse what evaluate and the gate would refuse, hours before they do."""
    settings = project.settings
    decision_rule(settings.evaluate, settings.model)
    check_criteria(classes, settings.evaluate)
    class_tolerances(settings.gate, classes)


def training_fingerprint(dataset_fingerprint: str, settings: Settings) -> str:
    """Hash of the data and of every setting that changes what training leaves."""
    plain = to_plain(settings)
    del plain["train"]["gpu"]  # where it runs, and whether at all
    return text_hash(dataset_fingerprint, *(plain[section] for section in ("model", "loss", "augment", "train")))


# --------------------------------------------------------------------------- one run


@dataclass(frozen=True)
class _Trained:
    """A network with its best weights, and how it came about."""

    model: keras.Model
    outcome: FitOutcome
    plan: Plan
    notes: tuple[str, ...]


def _train(project: Project, dataset: Dataset, run: Path, progress: Progress) -> _Trained:
    """Plan and fit; where the device has too little memory for a batch, go on with half of it."""
    from unetseg.overfitting import fitting_notes

    _tell_device()
    plan, notes = _plan(project, run), list[str]()
    with freed_memory_kept():
        while (found := _try(project, dataset, plan, run, progress)) is None:
            notes.append(f"out of memory with batches of {plan.settings.train.batch}: went on with {_half(plan)}")
            logger.warning("train: %s", notes[-1])
            plan = _with_batch(project, _half(plan), notes[-1], run)
    model, outcome = found
    notes += _ending_notes(outcome, plan.settings.train)
    notes += fitting_notes(outcome.history, dataset.index.classes, plan.settings)
    return _Trained(model, outcome, plan, tuple(notes))


def _ending_notes(outcome: FitOutcome, config: TrainConfig) -> Iterator[str]:
    """That the clock ended training, and that no epoch was told from another."""
    if outcome.is_out_of_time(config):
        yield (
            f"stopped by train.max_minutes={config.max_minutes:g} after {len(outcome.history)} of {config.epochs} "
            "epochs; longer: --set train.max_minutes=... (0: no limit)"
        )
    if outcome.best_score == 0:
        yield "validation told no epoch from another (its score was always 0): the last weights are kept"


def _try(
    project: Project, dataset: Dataset, plan: Plan, run: Path, progress: Progress
) -> tuple[keras.Model, FitOutcome] | None:
    """One attempt; None where memory was out and a smaller batch may do."""
    import keras

    from unetseg.attempt import attempt
    from unetseg.devices import is_out_of_memory

    try:
        return attempt(project, dataset, plan, run, progress)
    except Exception as error:  # each backend has an error of its own for this
        if not is_out_of_memory(error) or not _half(plan):
            raise
    keras.utils.clear_session()  # outside of the handler, whose traceback holds the network and its batch
    return None


def _half(plan: Plan) -> int:
    """Half the batch, in equal parts for the devices that share it; 0 where there is no less."""
    train = plan.settings.train
    return train.batch // 2 // train.devices * train.devices


# --------------------------------------------------------------------------- plan


def plan_training(project: Project) -> Plan:
    """What training would choose where the settings leave it open.

    Args:
        project: with a dataset.

    Raises:
        UsageError: there is no dataset.
        DataError: it has no scans to train on.
    """
    from unetseg.devices import find_device

    dataset = open_dataset(project.dataset)
    shapes = [scan.shape for scan in dataset.scans("train")]
    if not shapes:
        raise DataError(f"{dataset.folder}: has no training scans; look at its quarantine and its splits")
    return make_plan(project.settings, shapes, find_device())


def _tell_device() -> None:
    from unetseg.devices import find_device

    device = find_device()
    if device.gpus:
        logger.info("training on %s", device.name)
    else:
        logger.warning("no GPU was found: training on the CPU; train.gpu=required would refuse that")


def _plan(project: Project, run: Path) -> Plan:
    """The plan of this run: that of the killed one where there was one, so that it goes on as it began."""
    stored = run / "plan.json"
    if goes_on := stored.exists():
        logger.info("a training that was ended goes on, as it was planned: %s", run)
    plan = _stored_plan(stored) if goes_on else plan_training(project)
    for name, choice in plan.choices.items():
        logger.info("%s = %s", name, choice)
    if not goes_on:
        write_json(stored, to_plain(plan))
    return plan


def _stored_plan(path: Path) -> Plan:
    try:
        return TypeAdapter(Plan).validate_python(read_json(path))
    except ValidationError as error:
        where, what = error.errors()[0]["loc"], error.errors()[0]["msg"]
        raise DamagedFileError(
            f"{path}: damaged, holds no plan of a training ({where}: {what}); remove {path.parent}, and it begins anew"
        ) from None


def _with_batch(project: Project, batch: int, reason: str, run: Path) -> Plan:
    """The plan for another batch: steps and epochs follow it, so that as many pixels are seen."""
    train = replace(project.settings.train, batch=batch)
    plan = plan_training(replace(project, settings=replace(project.settings, train=train)))
    plan = replace(plan, reasons={**plan.reasons, "train.batch": reason})
    write_json(run / "plan.json", to_plain(plan))
    return plan


# --------------------------------------------------------------------------- what stays


def _run_folder(project: Project, fingerprint: str) -> Path:
    """The folder of this run: the one of a killed run with the same data and settings, or a fresh one."""
    run = project.runs / f"train-{fingerprint[:12]}"
    if (run / "result.json").exists():
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    return run


def _write_course(run: Path, outcome: FitOutcome, classes: Sequence[str]) -> None:
    """How training went, as numbers and as a picture."""
    from unetseg.history import write_history
    from unetseg.training_curves import write_curves

    write_history(run / "history.csv", outcome.history)
    write_curves(run / "curves.png", outcome.history, classes)


def _describe(dataset: Dataset, trained: _Trained, fingerprint: str) -> BundleInfo:
    index, learned = dataset.index, [*dataset.scans("train"), *dataset.scans("validation")]
    pixel_size, note = common_pixel_size([scan.pixel_size for scan in dataset.scans("train")])
    if note:
        logger.warning("train: %s", note)
    return BundleInfo(
        classes=index.classes,
        guides=index.guides,
        channels=index.channels,
        # The dataset's own settings: the scans were normalised by these, whatever the project says by now.
        settings=replace(trained.plan.settings, ingest=index.ingest),
        pixel_size=pixel_size,
        dataset_fingerprint=index.fingerprint,
        training_fingerprint=fingerprint,
        validation_score=trained.outcome.best_score,
        software=software_versions(),
        plan=trained.plan.choices,
        notes=(*trained.notes, *filter(None, [note])),
        training_scans=scan_marks(learned),
        training_data=describe_training_data(learned, index.channels, index.classes),
    )
