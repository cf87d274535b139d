"""What a training shows while it runs and when it is done, and what happens when the server takes nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from unetseg import train as library
from unetseg.history import write_history
from unetseg.init import init
from unetseg.parallel import Progress
from unetseg.train import TrainResult

ROWS = [
    {
        "epoch": epoch,
        "loss": 1 / epoch,
        "validation_score": 0.1 * epoch,
        "learning_rate": 0.002,
        "seconds": 3.0,
        "train_dice_iris": 0.875,
        "validation_dice_iris": 0.125 * epoch,
        "train_dice_pupil": 0.5,
        "validation_dice_pupil": None,
    }
    for epoch in range(1, 8)
]


@pytest.fixture
def trained_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainResult:
    """A training of seven epochs that takes no time."""
    import prefect.main  # noqa: F401 (its first import takes the handlers of the log away, pytest's too)

    write_history(tmp_path / "history.csv", ROWS)
    Image.new("RGB", (8, 8)).save(tmp_path / "curves.png")
    result = TrainResult(
        version="0003",
        bundle=tmp_path / "0003",
        run=tmp_path,
        epochs=7,
        best_epoch=7,
        validation_score=0.7,
        seconds=21.0,
        plan={"train.batch": "8, which the memory holds"},
        notes=("pupil: whether it is overfitted cannot be told",),
    )

    def train(project: Any, *, progress: Progress) -> TrainResult:
        for epoch in range(1, 8):
            progress(epoch, 20, f"loss {1 / epoch:.3f}")
        return result

    monkeypatch.setattr(library, "train", train)
    return result


@pytest.mark.usefixtures("prefect_server")
def test_training_is_shown_with_curves_classes_epochs_plan_and_notes(
    trained_at_once: TrainResult, eyes: Path, tmp_path: Path
):
    from flows.train import train

    init(eyes / "scans", eyes / "masks", project=tmp_path / "lab")
    assert train(project=str(tmp_path / "lab")) == trained_at_once
    (page,) = shown("training", trained_at_once)
    for said in (
        "Model 0003: epoch 7 of 7 is the best one, with a validation score of 0.700.",
        "- pupil: whether it is overfitted cannot be told",
        '<img alt="curves" src="data:image/png;base64,',
        "| iris | 0.875 | 0.875 |",
        "| pupil | 0.500 | – |",
        "| 7 | 0.1429 | 0.7 | 0.002 | 3 |",
        "| `train.batch` | 8, which the memory holds |",
    ):
        assert said in page.data
    assert "| 2 | 0.5 | 0.2 | 0.002 | 3 |" not in page.data  # the last five epochs
    progress = next(item for item in shown("train-progress") if item.flow_run_id == page.flow_run_id)
    assert progress.data == 100
    assert progress.description == "train: 7 of 7, last best epoch 7"


def shown(key: str, result: TrainResult | None = None) -> list[Any]:
    """What runs have shown under a key; of one training where it is given."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [item for item in found if result is None or str(result.run) in str(item.data)]


def test_picture_that_is_too_large_is_left_out(trained_at_once: TrainResult, monkeypatch: pytest.MonkeyPatch):
    from tasks import artifacts

    pages: list[str] = []
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda text, **_: pages.append(text))
    (trained_at_once.run / "curves.png").write_bytes(bytes(400_001))
    artifacts.show_training(trained_at_once)
    assert "<img" not in pages[0]
    assert str(trained_at_once.run) in pages[0]


def test_server_that_takes_nothing_does_not_end_the_training(
    trained_at_once: TrainResult, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    import tasks.artifacts
    import tasks.progress
    from tasks.train import train

    def broken(*arguments: Any, **named: Any) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(tasks.progress, "create_progress_artifact", broken)
    monkeypatch.setattr(tasks.artifacts, "create_markdown_artifact", broken)
    with caplog.at_level(logging.INFO):
        assert train.fn(SimpleNamespace()) is trained_at_once
    told = [record.getMessage() for record in caplog.records]
    assert told.count("train: progress is not shown any more") == 1
    assert f"train: the results are not shown; they are in {trained_at_once.run}" in told
    assert "epoch 7 of about 20: loss 0.143" in told
