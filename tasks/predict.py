"""Segment a folder of scans, a task run per batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.artifacts import show_prediction
from tasks.progress import ProgressArtifact
from tasks.step import shown, step, unseen
from unetseg import predict as library
from unetseg.config import PredictConfig
from unetseg.parallel import Progress, Workers
from unetseg.predict_batches import BatchRecord, PredictBatch
from unetseg.predict_open import Prediction
from unetseg.predict_workers import workers_for

__all__ = ["finish", "open_prediction", "segment", "segment_batch"]


@step("open prediction", "look at {folder.name}")
def open_prediction(
    folder: Path, out: Path, *, bundle: Path, config: PredictConfig, cluster: str = "", project: Path | None = None
) -> Prediction:
    """Check model, settings and folders, and list the scans."""
    return library.open_prediction(folder, out, bundle=bundle, config=config, cluster=cluster, project=project)


def segment(prediction: Prediction) -> list[BatchRecord]:
    """Segment all batches, one after the other; each uses all processors or the whole cluster."""
    progress = ProgressArtifact("predict")
    records = []
    with workers_for(prediction) as workers:
        for batch in prediction.batches():
            records.append(segment_batch(unseen(batch), unseen(workers), unseen(progress)))
            progress.flush()
    return records


@step("segment", "segment {batch.name} {batch.number} of {batch.of}")
def segment_batch(batch: PredictBatch, workers: Workers, progress: Progress) -> BatchRecord:
    """Segment the scans of one batch; begun again, it does only those that are missing."""
    return library.segment_batch(batch, workers, progress=progress)


@step("finish prediction", "finish {prediction.name}")
def finish(prediction: Prediction, records: Sequence[BatchRecord]) -> library.PredictResult:
    """Write table, gallery and record of the run, and show what was found."""
    result = library.finish(prediction, records)
    shown(show_prediction, result, of="predict", where=result.out)
    return result
