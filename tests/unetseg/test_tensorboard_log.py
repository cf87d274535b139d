"""TensorBoard's files, read back by TensorFlow."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from unetseg import tensorboard_log
from unetseg.tensorboard_log import TensorBoardLog


def row(epoch: int, offset: float = 0.0) -> dict[str, float | None]:
    return {
        "epoch": epoch,
        "loss": offset + 1 / epoch,
        "validation_score": offset + epoch / 8,
        "learning_rate": 0.25,
        "seconds": 2.0,
        "train_dice_iris": 0.5,
        "validation_dice_iris": None if epoch == 1 else 0.25,
        "train_dice_pupil": 0.125,
        "validation_dice_pupil": math.nan,
    }


def shown(folder: Path, *only: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows of a run: each tag's values by step, without those that a restart purges."""
    pytest.importorskip("tensorflow", reason="TensorFlow reads the files back")
    from tensorflow.compat.v1 import Event, SessionLog
    from tensorflow.data import TFRecordDataset

    values: dict[str, dict[int, float]] = defaultdict(dict)
    for file in only or sorted(folder.iterdir()):
        for record in TFRecordDataset(str(file)):
            event = Event.FromString(record.numpy())
            if event.session_log.status == SessionLog.START:
                for steps in values.values():
                    for step in [step for step in steps if step >= event.step]:
                        del steps[step]
            for value in event.summary.value:
                values[value.tag][event.step] = value.simple_value
    return dict(values)


def test_training_and_validation_are_two_runs_with_the_same_tags(tmp_path: Path):
    log = TensorBoardLog(tmp_path)
    log.add(row(1))
    log.add(row(2))
    assert shown(tmp_path / "train") == {
        "loss": {1: 1.0, 2: 0.5},
        "learning_rate": {1: 0.25, 2: 0.25},
        "seconds": {1: 2.0, 2: 2.0},
        "dice/iris": {1: 0.5, 2: 0.5},
        "dice/pupil": {1: 0.125, 2: 0.125},
    }
    assert shown(tmp_path / "validation") == {"score": {1: 0.125, 2: 0.25}, "dice/iris": {2: 0.25}}


def test_epochs_that_are_done_again_replace_the_earlier_ones(tmp_path: Path):
    for epochs, offset in (((1, 2, 3, 4), 0), ((3,), 10)):  # killed in epoch 5, with a checkpoint of epoch 2
        log = TensorBoardLog(tmp_path)
        for epoch in epochs:
            log.add(row(epoch, offset))
    assert len(list((tmp_path / "validation").iterdir())) == 2
    assert shown(tmp_path / "validation")["score"] == {1: 0.125, 2: 0.25, 3: 10.375}


def test_a_row_that_cannot_be_written_is_told_and_the_next_ones_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    log = TensorBoardLog(tmp_path)
    log.add(row(1))
    append = tensorboard_log._append

    def half(path: Path, events: list[Any]) -> None:
        append(path, events)
        path.write_bytes(path.read_bytes()[:-5])
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as full:
        full.setattr(tensorboard_log, "_append", half)
        log.add(row(2))
    assert "epoch 2 is not in TensorBoard's files: [Errno 28] No space left on device" in caplog.text
    for epoch in range(3, 30):
        log.add(row(epoch))
    (whole,) = (tmp_path / "train").glob("*.00003")
    assert list(shown(whole.parent, whole)["loss"]) == list(range(3, 30))


def test_nothing_is_written_before_the_first_epoch(tmp_path: Path):
    TensorBoardLog(tmp_path / "tensorboard")
    assert not (tmp_path / "tensorboard").exists()
