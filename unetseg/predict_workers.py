"""Who segments: as the settings of a prediction and its cluster say."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Final

from unetseg.memory import physical_memory, pixel_bytes
from unetseg.parallel import Workers, open_workers
from unetseg.predict_job import Job
from unetseg.predict_open import Prediction

__all__ = ["workers_for"]

logger = logging.getLogger(__name__)

_MOST: Final = 1 / 2  # of the machine's memory: what the calls of all processes should take


def workers_for(prediction: Prediction) -> AbstractContextManager[Workers]:
    """Workers for all units of a prediction.

    Args:
        prediction: what is about to be done; workers elsewhere must see its folders, its model and its scans.

    Raises:
        UsageError: the cluster does not answer, or cannot do this.
    """
    job, config = prediction.job, prediction.job.config
    if not prediction.cluster and (warning := _crowding(job)):
        logger.warning(warning)
    return open_workers(
        workers=config.workers,
        processes=config.processes,
        cluster=prediction.cluster,
        resource=config.resource,
        out=job.out,
        sees=(job.bundle / "bundle.json", *(ref.path for ref in prediction.refs[:1])),
    )


def _crowding(job: Job) -> str:
    """Says that the processes of a prediction may take too much memory, or nothing.

    Each runs one call of the network at least, and where tiles are blended, none is smaller on a smaller machine
    (docs/adr/0013-tiles-are-settled-once.md).

    Args:
        job: of the prediction, done on this machine.
    """
    processes, tile = job.config.processes, job.config.tile
    taken = processes * tile**2 * pixel_bytes(job.info.settings.model)
    if taken <= _MOST * physical_memory():
        return ""
    return (
        f"predict.processes={processes}: on scans as large as a tile ({tile} pixels) their networks take about "
        f"{taken / 1e9:.1f} GB together, more than half of this machine's {physical_memory() / 1e9:.1f} GB; use fewer "
        "processes"
    )
