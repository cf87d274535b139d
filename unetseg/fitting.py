"""The training loop: what happens around ``model.fit``.

Before each epoch the learning rate is set; after each batch the loss and the time are watched; after each epoch the
network is scored, saved, and it is decided whether to go on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from unetseg.checkpoint import Checkpoint, FitOutcome, save_values, seconds_allowed
from unetseg.config import LossConfig, TrainConfig
from unetseg.dataset import Planes
from unetseg.devices import list_devices
from unetseg.errors import DataError, UsageError
from unetseg.heads import output_scales
from unetseg.history import Row, dice_column, series
from unetseg.losses import CompositeLoss
from unetseg.parallel import Progress
from unetseg.patches import PatchBatches
from unetseg.probes import Probe, Scores
from unetseg.schedules import learning_rate
from unetseg.tensorboard_log import TensorBoardLog

__all__ = ["Patches", "compile_model", "composite_loss", "fit", "scale_weights"]

logger = logging.getLogger(__name__)

_LOSS_NAMES: Final = {"cross_entropy": "weighted_binary_crossentropy"}
"""Of losses whose setting has a shorter name than the loss."""


@dataclass(frozen=True)
class Patches:
    """What a training sees.

    Attributes:
        batches: random patches to learn from.
        validation: fixed patches of the validation split, which choose the best epoch.
        training: some fixed, un-augmented patches of the training split, to compare those with.
        classes: names.
    """

    batches: PatchBatches
    validation: Sequence[Planes]
    training: Sequence[Planes]
    classes: Sequence[str]


def fit(model: keras.Model, patches: Patches, config: TrainConfig, run: Path, progress: Progress) -> FitOutcome:
    """Fit, from the checkpoint in ``run`` where there is one, and leave the best weights in the model.

    Args:
        model: compiled.
        patches: to learn from and to be scored on.
        config: of the training, without gaps.
        run: folder of the checkpoint and of TensorBoard's files.
        progress: told about every epoch.

    Raises:
        DataError: the loss became not-a-number; the scans of that batch are named.
    """
    checkpoint = Checkpoint(run / "checkpoint")
    outcome = checkpoint.restore(model)
    if outcome.history:
        logger.info("%d of at most %d epochs are done", len(outcome.history), config.epochs)
    if outcome.progress(config) < 1 and not _is_stale(outcome, config):
        patches.batches.epoch = len(outcome.history)
        loop = _Loop(patches, config, outcome, checkpoint, run / "tensorboard", progress)
        _run(model, patches.batches, loop, config.epochs)
    checkpoint.load_best(model)
    return outcome


def _run(model: keras.Model, batches: PatchBatches, loop: _Loop, epochs: int) -> None:
    try:
        model.fit(batches, shuffle=False, initial_epoch=batches.epoch, epochs=epochs, callbacks=[loop], verbose=0)
    except Exception as error:
        if batches.error is None or batches.error is error:
            raise
        # TensorFlow passes on an error of its own, of which nobody could tell a lost disk from a wrong setting.
        raise batches.error from error


def compile_model(model: keras.Model, config: TrainConfig, loss: LossConfig, class_weights: Sequence[float]) -> None:
    """Compile with AdamW and the composite loss of the settings, one per output.

    Args:
        model: from `build_unet`.
        config: of the optimiser.
        loss: weights of the losses and of the scales.
        class_weights: of the classes' foreground in the cross-entropy, ``(K,)``.
    """
    optimizer = keras.optimizers.AdamW(
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
        use_ema=config.ema > 0,
        ema_momentum=config.ema or None,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    names = list(output_scales(model))
    losses = {name: composite_loss(loss, class_weights) for name in names}
    shares = dict(zip(names, scale_weights(loss, len(names)), strict=True))
    several = len(names) > 1
    # TensorFlow's XLA makes convolutions on CPUs 1.4 times slower than its oneDNN kernels; elsewhere Keras knows best.
    slow_jit = keras.backend.backend() == "tensorflow" and not list_devices("gpu")
    model.compile(
        optimizer=optimizer,
        loss=losses if several else losses[names[0]],
        loss_weights=shares if several else None,
        jit_compile=False if slow_jit else "auto",
    )


def composite_loss(config: LossConfig, class_weights: Sequence[float]) -> CompositeLoss:
    """The loss that the settings describe."""
    weights = {_LOSS_NAMES.get(setting, setting): weight for setting, weight in config.weights.items()}
    tversky = {"alpha": config.tversky_alpha, "beta": config.tversky_beta}
    options = {
        "focal": {"gamma": config.focal_gamma},
        "tversky": tversky,
        "focal_tversky": {**tversky, "gamma": config.focal_tversky_gamma},
    }
    return CompositeLoss(weights, class_weights=list(class_weights), options=options)


def scale_weights(config: LossConfig, outputs: int) -> list[float]:
    """Share of each output in the loss, largest output first; they sum to 1.

    Raises:
        UsageError: the settings give another number of weights.
    """
    given = config.scale_weights or tuple(0.5**k for k in range(outputs))
    if len(given) != outputs or not sum(given):
        raise UsageError(
            f"loss.scale_weights: must be {outputs} numbers, one per output and not all 0, found {list(given)}; "
            "change it or model.outputs"
        )
    return [weight / sum(given) for weight in given]


_KEEPS_STATE_APART: Final = keras.backend.backend() == "jax"
"""Whether what is set in mid-epoch is lost: such an epoch has the rate of its middle."""


class _Loop(keras.callbacks.Callback):  # type: ignore[misc]  # keras publishes no types
    """Sets patches and learning rate before each epoch, watches each batch; scores, saves and decides after it."""

    def __init__(
        self,
        patches: Patches,
        config: TrainConfig,
        outcome: FitOutcome,
        checkpoint: Checkpoint,
        board: Path,
        tell: Progress,
    ) -> None:
        super().__init__()
        self.patches, self.config, self.outcome = patches, config, outcome
        self.checkpoint, self.board, self.tell = checkpoint, TensorBoardLog(board), tell
        self._started, self._rate, self._scores = 0.0, 0.0, list[float]()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._probe = Probe(self.model, self.config)
        self._average = _average(self.model) if self.config.ema else None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.monotonic()
        self.patches.batches.epoch = epoch
        _seed_dropout(self.model, self.config.seed, epoch)
        self._scores = list(series(self.outcome.history, "validation_score"))
        self._set_rate(0.5 if _KEEPS_STATE_APART else 0.0)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not _KEEPS_STATE_APART:
            self._set_rate(batch / len(self.patches.batches))

    def _set_rate(self, share: float) -> None:
        """The rate at some share of the epoch."""
        progress = self.outcome.progress(self.config, share, time.monotonic() - self._started)
        self._rate = learning_rate(progress, self.config, self._scores)
        self.model.optimizer.learning_rate = self._rate

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise DataError(self._explain(loss, batch))
        limit = seconds_allowed(self.config)
        if limit and self.outcome.seconds + time.monotonic() - self._started >= limit:
            self.model.stop_training = True  # in mid-epoch: what was learned so far is still scored and kept

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with self._averaged():
            validation, training = self._probe(self.patches.validation), self._probe(self.patches.training)
        if math.isnan(validation.monitored):
            raise DataError(self._explain(math.nan, self._first_broken_batch()))
        seconds = time.monotonic() - self._started
        row = self._row(epoch + 1, float((logs or {})["loss"]), seconds, validation, training)
        better = self.outcome.note(row, score=validation.monitored, seconds=seconds)
        self.board.add(row)
        self.checkpoint.save(self.model, self.outcome, self._save_best if better else None)
        ends = self.outcome.progress(self.config) >= 1 or _is_stale(self.outcome, self.config)
        total = epoch + 1 if ends else self.outcome.epochs_expected(self.config)
        self.tell(epoch + 1, total, f"loss {row['loss']:.3f}, validation {validation.monitored:.3f}")
        if ends:
            self.model.stop_training = True

    def _row(self, epoch: int, loss: float, seconds: float, validation: Scores, training: Scores) -> Row:
        row: dict[str, float | None] = {
            "epoch": epoch,
            "loss": loss,
            "validation_score": validation.monitored,
            "learning_rate": self._rate,
            "seconds": seconds,
        }
        for name, seen, unseen in zip(self.patches.classes, training.dice, validation.dice, strict=True):
            row |= {dice_column("train", name): seen, dice_column("validation", name): unseen}
        return row

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The running mean of the weights in the model, where there is one; the weights themselves afterwards."""
        if self._average is None:
            yield
            return
        self._average.on_epoch_end(0)
        try:
            yield
        finally:
            self._average.on_epoch_begin(0)

    def _save_best(self, path: Path) -> None:
        with self._averaged():
            save_values(path, self.model.variables)

    def _first_broken_batch(self) -> int:
        """Activations can swallow what is no number, so that the loss stays one while the weights do not."""
        batches = self.patches.batches
        return next((batch for batch in range(len(batches)) if _broken_inputs(batches, batch)), len(batches) - 1)

    def _explain(self, loss: float, batch: int) -> str:
        """Which scans, and what to do: data that is no number, or steps that were too large."""
        batches = self.patches.batches
        broken = _broken_inputs(batches, batch)
        cause = (
            f"their {' and '.join(broken)} hold values that are no numbers: mend the scans, and ingest again"
            if broken
            else f"lower train.learning_rate (now {self.config.learning_rate}) or set train.precision to float32 "
            f"(now {self.config.precision})"
        )
        scans = ", ".join(dict.fromkeys(batches.scans_of(batch)))
        return f"train: the loss is {loss} in epoch {batches.epoch + 1}, batch {batch + 1}, of scans {scans}; {cause}"


def _broken_inputs(batches: PatchBatches, batch: int) -> list[str]:
    return [name for name, planes in batches[batch][0].items() if not np.isfinite(planes).all()]


def _average(model: keras.Model) -> keras.callbacks.Callback:
    """Keras' callback that swaps weights with their running mean, called by hand."""
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    swap.set_model(model)
    swap.set_params({"epochs": 0})  # never the last one, after which it would not swap back
    return swap


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Random states are not saved with the weights: each epoch begins with its own, whatever went before."""
    # PyTorch's dropout draws from the one generator of the process.
    keras.utils.set_random_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
    layers = [layer for layer in model.layers if hasattr(layer, "seed_generator")]
    for number, layer in enumerate(layers):
        layer.seed_generator.state.assign(np.random.SeedSequence([seed, epoch, number]).generate_state(2))


def _is_stale(outcome: FitOutcome, config: TrainConfig) -> bool:
    """Whether validation has not risen for `patience` epochs."""
    return 0 < config.patience <= len(outcome.history) - outcome.best_epoch
