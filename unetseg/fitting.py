"""The training loop: what happens around ``model.fit``.

One callback, one duty: the learning rate and the time budget, the validation score with the best weights, the
checkpoint that a killed run goes on from.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unetseg.config import TrainConfig
from unetseg.curves import Histograms
from unetseg.dataset import Planes
from unetseg.errors import DataError
from unetseg.losses import CompositeLoss
from unetseg.parallel import Progress
from unetseg.patches import PatchBatches, stack_batch
from unetseg.storage import read_json, write_folder, write_json

__all__ = ["FitOutcome", "compile_model", "fit", "learning_rate", "validation_dice"]

_FINAL_RATE = 0.01  # of the peak: where the cosine ends
_WARM_UP = 0.05  # of the training: a linear rise, so that Adam's first steps do not throw the weights about
_SECONDS_PER_MINUTE = 60


@dataclass
class FitOutcome:
    """What the loop has seen so far; stored with each checkpoint.

    Attributes:
        history: one row per epoch: loss, validation Dice, learning rate, seconds.
        best_score: highest validation Dice.
        best_epoch: when that was, counted from 1; 0 before the first.
        seconds: time spent in epochs, over all attempts.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_score: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0

    def progress(self, config: TrainConfig) -> float:
        """How far training is, in [0, 1]: by epochs or by time, whichever is further."""
        by_epochs = len(self.history) / config.epochs
        by_time = self.seconds / (config.max_minutes * _SECONDS_PER_MINUTE) if config.max_minutes else 0.0
        return min(1.0, max(by_epochs, by_time))


def fit(
    model: keras.Model,
    batches: PatchBatches,
    validation: Sequence[Planes],
    config: TrainConfig,
    weights: Sequence[float],
    run: Path,
    progress: Progress,
) -> FitOutcome:
    """Fit, from the checkpoint in ``run`` where there is one, and leave the best weights in the model.

    Args:
        model: built, not yet compiled.
        batches: training patches.
        validation: patches that choose the best epoch.
        config: of the training.
        weights: of the classes' foreground, ``(K,)``.
        run: folder of the checkpoint.
        progress: told about every epoch.

    Raises:
        DataError: the loss became not-a-number.
    """
    compile_model(model, config, weights)
    outcome = _restore(model, run / "checkpoint")
    loop = _Loop(outcome, batches, validation, run / "checkpoint", progress)
    if outcome.progress(config) < 1 and not loop.is_stale():
        start = batches.epoch = len(outcome.history)
        model.fit(batches, shuffle=False, initial_epoch=start, epochs=config.epochs, callbacks=[loop], verbose=0)
    model.load_weights(run / "checkpoint" / "best.weights.h5")
    return outcome


def compile_model(model: keras.Model, config: TrainConfig, weights: Sequence[float]) -> None:
    """Compile with AdamW and the composite loss of the settings."""
    optimizer = keras.optimizers.AdamW(
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    parts = {"weighted_binary_crossentropy": config.cross_entropy_weight, "dice": config.dice_weight}
    # TensorFlow's XLA makes convolutions on CPUs 1.4 times slower than its oneDNN kernels; elsewhere Keras knows best.
    slow_jit = keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu")
    model.compile(
        optimizer=optimizer,
        loss=CompositeLoss(parts, class_weights=list(weights)),
        jit_compile=False if slow_jit else "auto",
    )


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up, then a half cosine (doi:10.48550/arXiv.1608.03983); ``progress`` in [0, 1]."""
    if progress < _WARM_UP:
        return peak * max(progress / _WARM_UP, _FINAL_RATE * 10)
    turn = (progress - _WARM_UP) / (1 - _WARM_UP)
    return peak * (_FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * turn)) / 2)


def validation_dice(model: keras.Model, patches: Sequence[Planes], batch: int) -> float:
    """Dice at the best threshold of each class, mean over the classes that the patches hold."""
    histograms = Histograms.empty(patches[0].masks.shape[-1])
    for start in range(0, len(patches), batch):
        inputs, masks = stack_batch(patches[start : start + batch])
        histograms.add(masks, np.asarray(model.predict_on_batch(inputs), dtype=np.float32))
    curves = [histograms.curve(k) for k in range(masks.shape[-1])]
    best = [float(curve.f_beta(1.0).max()) for curve in curves if curve.positives]
    return float(np.mean(best)) if best else 0.0


class _Loop(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets patches and learning rate before each epoch; scores, saves and decides after it."""

    def __init__(
        self, outcome: FitOutcome, batches: PatchBatches, validation: Sequence[Planes], checkpoint: Path, tell: Progress
    ) -> None:
        super().__init__()
        self.outcome, self.batches, self.validation, self.config = outcome, batches, validation, batches.config
        self.checkpoint, self.tell = checkpoint, tell
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.monotonic()
        self.batches.epoch = epoch
        self.model.optimizer.learning_rate = learning_rate(
            self.outcome.progress(self.config), self.config.learning_rate
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise DataError(
                f"train: the loss is {loss} in epoch {epoch + 1}; lower train.learning_rate "
                f"(now {self.config.learning_rate}) or set train.precision to float32"
            )
        score = validation_dice(self.model, self.validation, self.config.batch)
        self._note(epoch + 1, loss, score)
        self._save(better=self.outcome.best_epoch == epoch + 1)
        if self.outcome.progress(self.config) >= 1 or self.is_stale():
            self.model.stop_training = True

    def is_stale(self) -> bool:
        """Whether validation has not risen for `patience` epochs."""
        waited = len(self.outcome.history) - self.outcome.best_epoch
        return 0 < self.config.patience <= waited

    def _note(self, epoch: int, loss: float, score: float) -> None:
        seconds = time.monotonic() - self._started
        rate = float(self.model.optimizer.learning_rate)
        row = {"epoch": epoch, "loss": loss, "validation_dice": score, "learning_rate": rate, "seconds": seconds}
        self.outcome.history.append(row)
        self.outcome.seconds += seconds
        if score > self.outcome.best_score:
            self.outcome.best_score, self.outcome.best_epoch = score, epoch
        total = max(epoch, round(epoch / max(self.outcome.progress(self.config), 1e-9)))
        self.tell(epoch, total, f"loss {loss:.3f}, validation Dice {score:.3f}")

    def _save(self, *, better: bool) -> None:
        """Replace the checkpoint as a whole: weights with optimiser, best weights, and what the loop has seen."""
        best = self.checkpoint / "best.weights.h5"
        with write_folder(self.checkpoint) as folder:
            self.model.save_weights(folder / "last.weights.h5")
            if better:
                self.model.save_weights(folder / "best.weights.h5")
            else:
                shutil.copyfile(best, folder / "best.weights.h5")  # not a link: some shares have none
            write_json(folder / "outcome.json", vars(self.outcome))


def _restore(model: keras.Model, checkpoint: Path) -> FitOutcome:
    """What a killed run had reached, with its weights and optimiser put back; or a fresh start."""
    if not (checkpoint / "outcome.json").exists():
        return FitOutcome()
    model.optimizer.build(model.trainable_variables)
    model.load_weights(checkpoint / "last.weights.h5")
    return FitOutcome(**read_json(checkpoint / "outcome.json"))
