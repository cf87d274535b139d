"""``run.json``: what a prediction was made with, what it did, and fingerprints by which two can be compared.

The fingerprints are of contents and names below the folders, not of where these are nor of when they were changed: two
machines that segment the same scans with the same model and settings get the same ones. Addresses of folders, times
and ``result`` tell of this run.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import Any

from unetseg.bundle import Bundle, software_versions
from unetseg.config import to_plain
from unetseg.predict_job import SCHEMA_VERSION
from unetseg.predict_marker import Segmented
from unetseg.predict_open import Prediction
from unetseg.predict_result import PredictResult
from unetseg.storage import text_hash

__all__ = ["counts_of", "fingerprints", "model_of", "run_record", "utc"]


def utc(seconds: float | None = None) -> str:
    """A time in UTC, to the second, as ISO 8601.

    Args:
        seconds: since 1970; None: now.
    """
    moment = time.time() if seconds is None else seconds
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds")


def counts_of(result: PredictResult) -> dict[str, int]:
    """How many scans were done, were up to date, cannot be used, and failed unforeseen."""
    return {
        "done": result.done,
        "skipped": result.skipped,
        "quarantined": len(result.quarantined),
        "failed": len(result.failed),
    }


def model_of(bundle: Bundle) -> dict[str, str]:
    """How a record names the model."""
    return {"version": bundle.version, "digest": bundle.digest}


def fingerprints(signature: str, found: Mapping[str, Segmented]) -> dict[str, str]:
    """Of the scans and their guides, and of what the commit markers say but for paths and times.

    Args:
        signature: of the job.
        found: the scans that have outputs now, by id.
    """
    # `asdict` copies each value, which takes longer than all else of an unchanged run
    rows = [[scan, item.sources, [vars(row) for row in item.rows]] for scan, item in sorted(found.items())]
    return {
        "inputs_fingerprint": text_hash(sorted([scan, item.sources] for scan, item in found.items())),
        "outputs_fingerprint": text_hash(signature, rows),
    }


def run_record(prediction: Prediction, prints: Mapping[str, str], result: PredictResult) -> dict[str, Any]:
    """What becomes ``run.json``.

    Args:
        prediction: what was to be done.
        prints: `fingerprints` of the scans that have outputs now.
        result: what was done.
    """
    model, job = prediction.model, prediction.job
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model_of(model),
        "bundle": str(model.folder),
        "training_fingerprint": model.info.training_fingerprint,
        "decision": model.decision.rule,
        "thresholds": dict(zip(model.info.classes, model.decision.thresholds, strict=True)),
        "settings": to_plain(job.config),
        "signature": job.signature,
        "software": software_versions(),
        **prints,
        "counts": counts_of(result),
        "began": utc(prediction.started),
        "ended": utc(),
        "result": to_plain(result),
    }
