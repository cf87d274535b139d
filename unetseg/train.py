"""Train a U-Net on the dataset and leave an immutable bundle.

A run that was killed goes on from its last complete epoch, with the optimiser's state, when the same command is given
again. Keras is imported inside the functions, since it takes seconds.
"""

from __future__ import annotations

import csv
import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import BundleInfo, save_bundle, software_versions
from unetseg.class_statistics import class_weights
from unetseg.config import Settings, TrainConfig, to_plain
from unetseg.dataset import Dataset, open_dataset
from unetseg.parallel import Progress, silent
from unetseg.project import Project
from unetseg.scan_record import ScanRecord
from unetseg.storage import text_hash, write_json

if TYPE_CHECKING:
    import keras

    from unetseg.fitting import FitOutcome

__all__ = ["TrainResult", "train", "training_fingerprint"]

logger = logging.getLogger(__name__)

_MIN_STEPS = 10  # per epoch: fewer would spend the time on validation


@dataclass(frozen=True)
class TrainResult:
    """What one training left.

    Attributes:
        version: of the new bundle, such as ``0003``.
        bundle: its folder.
        run: folder with the history.
        epochs: epochs trained.
        best_epoch: whose weights the bundle holds, counted from 1.
        validation_dice: best Dice over thresholds on validation patches, mean over classes.
        seconds: time spent training.
    """

    version: str
    bundle: Path
    run: Path
    epochs: int
    best_epoch: int
    validation_dice: float
    seconds: float


def train(project: Project, *, progress: Progress = silent) -> TrainResult:
    """Train on the dataset's training split; validation chooses the weights.

    Args:
        project: whose dataset is read; the bundle goes to its ``models``, the history to its ``runs``.
        progress: told about every epoch.

    Raises:
        UsageError: there is no dataset.
        DataError: the loss became not-a-number.
    """
    dataset = open_dataset(project.dataset)
    fingerprint = training_fingerprint(dataset.index.fingerprint, project.settings)
    run = _run_folder(project, fingerprint)
    started = time.monotonic()
    model, outcome = _fit(dataset, project.settings, run, progress)
    bundle = save_bundle(project.models, model, _describe(dataset, project.settings, fingerprint, outcome))
    shutil.rmtree(run / "checkpoint", ignore_errors=True)
    result = TrainResult(
        version=bundle.name,
        bundle=bundle,
        run=run,
        epochs=len(outcome.history),
        best_epoch=outcome.best_epoch,
        validation_dice=outcome.best_score,
        seconds=time.monotonic() - started,
    )
    write_json(run / "result.json", to_plain(result))
    return result


def training_fingerprint(dataset_fingerprint: str, settings: Settings) -> str:
    """Hash of the data and of every setting that changes what training leaves."""
    plain = to_plain(settings)
    return text_hash(dataset_fingerprint, plain["model"], plain["train"])


def _fit(dataset: Dataset, settings: Settings, run: Path, progress: Progress) -> tuple[keras.Model, FitOutcome]:
    """Build the network, the patches and the loss, and fit."""
    import keras

    from unetseg.fitting import fit
    from unetseg.patches import PatchBatches, PatchReader, grid_patches, patch_shape

    config = settings.train
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(config.precision)
    _say_device()
    scans = dataset.scans("train")
    fractions = dataset.class_fractions()
    model = _build(dataset, settings, fractions)
    shape = patch_shape(scans, config.patch, 2**settings.model.depth)
    reader = PatchReader(dataset, scans)
    batches = PatchBatches(reader, config, shape, steps=_steps(scans, config, shape))
    validation = grid_patches(PatchReader(dataset, dataset.scans("validation")), shape)
    logger.info("training on %d scans, patches of %d x %d, %d steps an epoch", len(scans), *shape, batches.steps)
    outcome = fit(model, batches, validation, config, class_weights(fractions, config), run, progress)
    _write_history(run / "history.csv", outcome.history)
    return model, outcome


def _build(dataset: Dataset, settings: Settings, fractions: NDArray[np.float64]) -> keras.Model:
    from unetseg.model import build_unet

    index = dataset.index
    return build_unet(
        settings.model,
        input_shape=(None, None, len(index.channels)),
        classes=len(index.classes),
        guides=len(index.guides),
        # An absent or all-covering class must not start at an infinite bias.
        class_prior=[float(np.clip(fraction, 0.001, 0.999)) for fraction in fractions],
    )


def _steps(scans: Sequence[ScanRecord], config: TrainConfig, shape: tuple[int, int]) -> int:
    pixels = sum(scan.shape[0] * scan.shape[1] for scan in scans)
    return config.steps_per_epoch or max(_MIN_STEPS, math.ceil(pixels / (config.batch * shape[0] * shape[1])))


def _run_folder(project: Project, fingerprint: str) -> Path:
    """The folder of this run: the one of a killed run with the same data and settings, or a fresh one."""
    run = project.runs / f"train-{fingerprint[:12]}"
    if (run / "result.json").exists():
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    return run


def _describe(dataset: Dataset, settings: Settings, fingerprint: str, outcome: FitOutcome) -> BundleInfo:
    index = dataset.index
    sizes = {scan.pixel_size for scan in dataset.scans("train")}
    return BundleInfo(
        classes=index.classes,
        guides=index.guides,
        channels=index.channels,
        # The dataset's own settings: the scans were normalised by these, whatever the project says by now.
        settings=replace(settings, ingest=index.ingest),
        pixel_size=next(iter(sizes)) if len(sizes) == 1 else None,
        dataset_fingerprint=index.fingerprint,
        training_fingerprint=fingerprint,
        validation_dice=outcome.best_score,
        software=software_versions(),
    )


def _write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]) if history else ["epoch"])
        writer.writeheader()
        writer.writerows(history)


def _say_device() -> None:
    import keras

    gpus = keras.distribution.list_devices("gpu")
    if gpus:
        logger.info("training on %s with %s", gpus[0], keras.backend.backend())
    else:
        logger.warning("no GPU was found: training on the CPU with %s", keras.backend.backend())
