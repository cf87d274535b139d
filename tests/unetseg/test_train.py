"""Training: patches, schedule, resume."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest

from unetseg import fitting
from unetseg.config import TrainConfig
from unetseg.dataset import open_dataset
from unetseg.errors import DataError, UsageError
from unetseg.fitting import FitOutcome, compile_model, learning_rate
from unetseg.model import build_unet
from unetseg.patches import PatchBatches, PatchReader, grid_patches, patch_shape, stack_batch
from unetseg.project import Project, load_project, override
from unetseg.train import class_weights, train, training_fingerprint


def with_settings(project: Project, *texts: str) -> Project:
    return replace(project, settings=override(project.settings, texts))


# --------------------------------------------------------------------------- weights and schedule


def test_class_weights_follow_their_formulas():
    fractions = np.array([0.5, 0.1, 0.001, 0.0])

    def weights(rule: str) -> list[float]:
        return class_weights(fractions, TrainConfig(class_weights=rule, max_class_weight=50.0))

    assert weights("none") == [1, 1, 1, 1]
    assert weights("total_over_class") == pytest.approx([2, 10, 50, 1])
    assert weights("inverse_frequency") == pytest.approx([1, 9, 50, 1])


def test_learning_rate_rises_then_falls():
    rates = [learning_rate(progress, 0.1) for progress in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(0.1)
    assert np.argmax(rates) == 5
    assert rates[-1] == pytest.approx(0.001)
    assert all(a > b for a, b in pairwise(rates[5:]))


def test_progress_is_by_epochs_or_by_time_whichever_is_further():
    outcome = FitOutcome(history=[{}] * 5, seconds=90.0)
    assert outcome.progress(TrainConfig(epochs=10, max_minutes=0)) == 0.5
    assert outcome.progress(TrainConfig(epochs=10, max_minutes=2)) == 0.75
    assert outcome.progress(TrainConfig(epochs=10, max_minutes=1)) == 1.0


# --------------------------------------------------------------------------- patches


def test_patches_are_no_larger_than_scans_and_fit_the_stride(trained_folder: Path):
    scans = open_dataset(load_project(trained_folder).dataset).scans("train")
    assert patch_shape(scans, 64, 16) == (64, 64)
    assert patch_shape(scans, 100, 16) == (80, 96)
    assert patch_shape(scans, 512, 16) == (80, 112)
    assert patch_shape(scans, 512, 32) == (96, 128)


def test_windows_that_stick_out_are_padded_with_ignore(trained_folder: Path):
    dataset = open_dataset(load_project(trained_folder).dataset)
    scan = dataset.scans("train")[0]
    reader = PatchReader(dataset, [scan])
    patch = reader.read(scan, -8, 100, (32, 32))
    image, masks = dataset.image(scan), dataset.masks(scan)
    assert patch.image.shape == (32, 32, 1)
    assert np.array_equal(patch.image[8:, :12], image[:24, 100:112].astype(np.float32))
    assert np.array_equal(patch.masks[8:, :12], masks[:24, 100:112])
    assert (patch.masks[:8] == -1).all()
    assert (patch.masks[:, 12:] == -1).all()
    assert (patch.image[:8] == 0).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_cached_and_uncached_reading_are_the_same(share: float, trained_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unetseg.patches._MEMORY_SHARE", share)
    dataset = open_dataset(load_project(trained_folder).dataset)
    scan = dataset.scans("train")[0]
    patch = PatchReader(dataset, [scan]).read(scan, 3, 5, (16, 16))
    assert patch.image.dtype == np.float32
    assert np.array_equal(patch.image, dataset.image(scan)[3:19, 5:21].astype(np.float32))
    assert np.array_equal(patch.masks, dataset.masks(scan)[3:19, 5:21])


def batches(folder: Path, epoch: int = 0, **settings) -> PatchBatches:
    dataset = open_dataset(load_project(folder).dataset)
    config = TrainConfig(**({"batch": 4, "intensity": 0.0, "flips": False} | settings))
    return PatchBatches(PatchReader(dataset, dataset.scans("train")), config, (32, 32), steps=3, epoch=epoch)


def test_a_batch_depends_on_seed_epoch_and_number_alone(trained_folder: Path):
    first = batches(trained_folder, intensity=0.2, flips=True)
    again = batches(trained_folder, intensity=0.2, flips=True)
    again[2]
    assert np.array_equal(first[1][0]["image"], again[1][0]["image"])
    assert not np.array_equal(first[0][0]["image"], first[1][0]["image"])
    assert not np.array_equal(first[1][0]["image"], batches(trained_folder, epoch=1)[1][0]["image"])
    assert not np.array_equal(first[1][0]["image"], batches(trained_folder, seed=3)[1][0]["image"])
    first.epoch = 1
    assert np.array_equal(
        first[1][0]["image"], batches(trained_folder, epoch=1, intensity=0.2, flips=True)[1][0]["image"]
    )


def test_foreground_patches_hold_foreground(trained_folder: Path):
    always = batches(trained_folder, foreground_fraction=1.0, batch=16)
    never = batches(trained_folder, foreground_fraction=0.0, batch=16)
    held = [(source[i][1] == 1).any(axis=(1, 2, 3)).mean() for source in (always, never) for i in range(3)]
    assert min(held[:3]) > 0.9  # a scan with closed eyes has little to centre on
    assert max(held[3:]) < min(held[:3])


def test_masks_and_images_are_moved_together(trained_folder: Path):
    source = batches(trained_folder, flips=True, batch=8)
    dataset = source.reader.dataset
    pairs = set()
    for scan in source.reader.scans:
        image, masks = dataset.image(scan), dataset.masks(scan)
        pairs |= {(float(v), *map(int, m)) for v, m in zip(image.ravel(), masks.reshape(-1, 3), strict=True)}
    inputs, masks = source[0]
    counted = masks[..., 0] >= 0
    found = {(float(v), *map(int, m)) for v, m in zip(inputs["image"][counted].ravel(), masks[counted], strict=True)}
    assert found <= pairs


def test_validation_patches_cover_the_scans(trained_folder: Path):
    dataset = open_dataset(load_project(trained_folder).dataset)
    scans = dataset.scans("validation")
    patches = grid_patches(PatchReader(dataset, scans), (32, 32))
    assert len(patches) == len(scans) * 3 * 4
    counted = sum(int((patch.masks[..., 0] >= 0).sum()) for patch in patches)
    assert counted == sum(scan.shape[0] * scan.shape[1] for scan in scans)


def test_batches_carry_guides_where_there_are_some():
    from unetseg.dataset import Planes

    plain = Planes(np.zeros((4, 4, 1), np.float32), np.zeros((4, 4, 0), np.uint8), np.zeros((4, 4, 2), np.int8))
    guided = replace(plain, guides=np.ones((4, 4, 2), np.uint8))
    assert set(stack_batch([plain])[0]) == {"image"}
    assert stack_batch([guided, guided])[0]["guides"].shape == (2, 4, 4, 2)


# --------------------------------------------------------------------------- training


def test_training_without_a_dataset_is_wrong_usage(trained: Project):
    shutil.rmtree(trained.dataset)
    with pytest.raises(UsageError, match="run ingest first"):
        train(trained)


def test_a_killed_training_goes_on_and_ends_where_an_undisturbed_one_does(
    trained: Project, monkeypatch: pytest.MonkeyPatch
):
    project = with_settings(trained, "train.epochs=3", "train.steps_per_epoch=3", "train.seed=11")
    undisturbed = train(project)
    shutil.rmtree(undisturbed.run)
    note = fitting._Loop.on_epoch_begin

    def killed(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        note(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(fitting._Loop, "on_epoch_begin", killed)
        with pytest.raises(KeyboardInterrupt):
            train(project)
    trained_epochs = []
    monkeypatch.setattr(
        fitting._Loop,
        "on_epoch_begin",
        lambda self, epoch, logs=None: (trained_epochs.append(epoch), note(self, epoch)),
    )
    resumed = train(project)
    assert trained_epochs == [2]
    assert resumed.epochs == 3
    models = [
        keras.saving.load_model(result.bundle / "model.keras", compile=False) for result in (undisturbed, resumed)
    ]
    differences = [float(np.abs(a - b).max()) for a, b in zip(*(model.get_weights() for model in models), strict=True)]
    assert max(differences) < 1e-5


def test_history_has_a_row_per_epoch(trained_folder: Path):
    rows = next(trained_folder.glob("runs/*/history.csv")).read_text().splitlines()
    assert rows[0] == "epoch,loss,validation_dice,learning_rate,seconds"
    assert len(rows) == 1 + 6


def test_patience_stops_training(trained: Project, monkeypatch: pytest.MonkeyPatch):
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    monkeypatch.setattr(fitting, "validation_dice", lambda *arguments: next(scores))
    result = train(with_settings(trained, "train.epochs=5", "train.patience=2", "train.steps_per_epoch=1"))
    assert (result.epochs, result.best_epoch, result.validation_dice) == (3, 1, 0.5)


def test_the_best_weights_are_kept_not_the_last(trained: Project, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def score(model, *arguments):
        seen.append(model.get_weights()[0].copy())
        return [0.3, 0.9, 0.1][len(seen) - 1]

    monkeypatch.setattr(fitting, "validation_dice", score)
    result = train(with_settings(trained, "train.epochs=3", "train.steps_per_epoch=1"))
    kept = keras.saving.load_model(result.bundle / "model.keras", compile=False).get_weights()[0]
    assert np.array_equal(kept, seen[1])
    assert not np.array_equal(kept, seen[2])


def test_a_loss_that_is_no_number_is_said(trained: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PatchBatches, "__getitem__", _not_a_number(PatchBatches.__getitem__))
    with pytest.raises(DataError, match="the loss is nan in epoch 1"):
        train(with_settings(trained, "train.epochs=1", "train.steps_per_epoch=1"))


def _not_a_number(original):
    def spoiled(self, index):
        inputs, masks = original(self, index)
        return {name: value * np.nan for name, value in inputs.items()}, masks

    return spoiled


@pytest.mark.parametrize(
    ("text", "reaches"),
    [
        ("train.learning_rate=0.5", lambda m: float(m.optimizer.learning_rate) == 0.5),
        ("train.weight_decay=0.25", lambda m: m.optimizer.weight_decay == 0.25),
        ("train.clip_norm=0.125", lambda m: m.optimizer.global_clipnorm == 0.125),
        ("train.clip_norm=0", lambda m: m.optimizer.global_clipnorm is None),
        ("train.dice_weight=3", lambda m: "3.0" in str(m.loss.get_config())),
        ("train.cross_entropy_weight=7", lambda m: "7.0" in str(m.loss.get_config())),
    ],
)
def test_optimiser_and_loss_settings_reach_the_model(text: str, reaches, trained: Project):
    config = with_settings(trained, text).settings.train
    model = build_unet(with_settings(trained).settings.model, classes=3)
    compile_model(model, config, [1.0, 2.0, 4.0])
    assert reaches(model)
    assert "4.0" in str(model.loss.get_config())


def test_fingerprint_changes_with_data_model_and_training_alone(trained: Project):
    def fingerprint(data: str, *texts: str) -> str:
        return training_fingerprint(data, override(trained.settings, texts))

    base = fingerprint("data")
    assert fingerprint("other") != base
    assert fingerprint("data", "train.seed=9") != base
    assert fingerprint("data", "model.width=8") != base
    assert fingerprint("data", "predict.tile=512", "evaluate.beta=2", "gate.floor=0.9") == base
