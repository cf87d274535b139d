"""Who segments: as the settings of a prediction and its cluster say."""

from __future__ import annotations

from contextlib import AbstractContextManager

from unetseg.parallel import Workers, open_workers
from unetseg.predict_open import Prediction

__all__ = ["workers_for"]


def workers_for(prediction: Prediction) -> AbstractContextManager[Workers]:
    """Workers for all units of a prediction.

    Args:
        prediction: what is about to be done; workers elsewhere must see its folders, its model and its scans.

    Raises:
        UsageError: the cluster does not answer, or cannot do this.
    """
    job, config = prediction.job, prediction.job.config
    return open_workers(
        workers=config.workers,
        processes=config.processes,
        cluster=prediction.cluster,
        resource=config.resource,
        out=job.out,
        sees=(job.bundle / "bundle.json", *(ref.path for ref in prediction.refs[:1])),
    )
