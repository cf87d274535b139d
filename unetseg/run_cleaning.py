"""Remove the folders of trainings whose models are gone, and of killed ones that nobody has gone on with."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from unetseg.json_files import read_json

__all__ = ["ABANDONED_DAYS", "clean_runs"]

logger = logging.getLogger(__name__)

ABANDONED_DAYS = 30
"""Where a killed training has not been gone on with for so long, its data have changed since."""
_SECONDS_PER_DAY = 86400


def clean_runs(runs: Path, versions: Collection[str]) -> tuple[Path, ...]:
    """Remove what led to no model that is still there.

    Args:
        runs: the project's folder of trainings.
        versions: of the models that are there.

    Returns:
        The folders that were removed.
    """
    gone = tuple(run for run in sorted(runs.glob("train-*")) if _is_over(run, versions))
    for run in gone:
        shutil.rmtree(run, ignore_errors=True)  # what cannot be removed now is the next night's
        logger.info("removed %s, which led to no model that is still there", run)
    return gone


def _is_over(run: Path, versions: Collection[str]) -> bool:
    try:
        return read_json(run / "result.json")["version"] not in versions
    except (OSError, ValueError, KeyError, TypeError):  # killed in mid-training, or damaged
        return _idle_seconds(run) > ABANDONED_DAYS * _SECONDS_PER_DAY


def _idle_seconds(run: Path) -> float:
    """Since its files were last written; each epoch writes some. None have passed where one is replaced just now."""
    try:
        return time.time() - max(path.stat().st_mtime for path in (run, *run.iterdir(), *run.glob("checkpoint/*")))
    except FileNotFoundError:
        return 0.0
