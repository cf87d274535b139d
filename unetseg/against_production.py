"""How a model compares with the one in production, from stored numbers of the same test scans."""

from __future__ import annotations

from typing import Any

import numpy as np

from unetseg.bootstrap import paired_difference
from unetseg.bundle import Bundle, load_bundle
from unetseg.dataset import Dataset
from unetseg.errors import DataError, UnetsegError
from unetseg.project import Project
from unetseg.registry import model_folder, read_aliases
from unetseg.scoring import SplitScores

__all__ = ["against_production"]


def against_production(project: Project, bundle: Bundle, dataset: Dataset, test: SplitScores) -> dict[str, Any] | None:
    """Scores of production and the difference to it, as an evaluation keeps them.

    Nothing is measured here: the gate does that where it must.

    Args:
        project: whose production is compared with.
        bundle: the model.
        dataset: it was scored on.
        test: its scores on the test split.

    Returns:
        ``version``, ``scores`` and ``difference``; None where there is no other model in production, it was not scored
        on the same scans, or it cannot be read.
    """
    version = read_aliases(project.models).production
    if version is None or version == bundle.version:
        return None
    try:
        theirs = load_bundle(model_folder(project.models, version)).evaluation
        if not theirs or theirs["dataset_fingerprint"] != dataset.index.fingerprint or not theirs["scans"]:
            return None
        difference = _difference(project, theirs, test)
    except UnetsegError:  # a damaged production is the gate's and the registry's to tell of
        return None
    return {"version": version, "scores": theirs["scores"], "difference": difference}


def _difference(project: Project, theirs: dict[str, Any], test: SplitScores) -> dict[str, Any]:
    """The gain of the gate's score, with its interval."""
    stored = {row["id"]: row["counts"] for row in theirs["scans"]}
    if set(stored) != {scan.id for scan in test.scans}:
        raise DataError("production was scored on other scans")
    before = np.array([stored[scan.id] for scan in test.scans], np.int64)
    groups, score = [scan.group for scan in test.scans], project.settings.gate.score
    found = paired_difference(before, test.counts, groups, score, project.settings.evaluate)
    return {"score": score, "difference": found.difference, "low": found.low, "high": found.high}
