"""How a model compares with the one in production on the same test scans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from unetseg.bootstrap import paired_difference
from unetseg.bundle import Bundle, load_bundle
from unetseg.dataset import Dataset
from unetseg.errors import UnetsegError
from unetseg.measured_now import measured_scores
from unetseg.parallel import Progress, silent
from unetseg.project import Project
from unetseg.registry import model_folder, read_aliases
from unetseg.same_scans import fingerprints, scored_on
from unetseg.scoring import SplitScores

__all__ = ["against_production"]

_OF_A_SCAN = ("id", "group", "counts", "mean_f1")  # of production's scans, what the gate and comparisons need


def against_production(
    project: Project, bundle: Bundle, dataset: Dataset, test: SplitScores, *, progress: Progress = silent
) -> dict[str, Any] | None:
    """Scores of production and the difference to it, as an evaluation keeps them.

    Where production's own evaluation is of other test scans, it is scored here, with its thresholds as they are and
    without outlines; the gate then takes these counts.

    Args:
        project: whose production is compared with.
        bundle: the model.
        dataset: it was scored on.
        test: its scores on the test split.
        progress: told about every scan on which production is scored.

    Returns:
        ``version``; ``measured``: whether it was scored here; ``difference``; ``scores``, ``scans`` and what they
        depend on, as `measured_scores` gives them. None where there is no other model in production, or where it
        cannot be scored.
    """
    version = read_aliases(project.models).production
    if version is None or version == bundle.version:
        return None
    try:
        production = load_bundle(model_folder(project.models, version))
        found = _stored(production, dataset)
        measured = found is None
        if found is None:
            found = measured_scores(production, dataset, project.settings.predict, progress=progress)
        difference = _difference(project, found, test)
    except UnetsegError:  # a damaged production is the gate's and the registry's to tell of
        return None
    scans = [{key: row[key] for key in _OF_A_SCAN} for row in found["scans"]]
    return {"version": version, "measured": measured, "difference": difference} | found | {"scans": scans}


def _stored(production: Bundle, dataset: Dataset) -> dict[str, Any] | None:
    """What the evaluation of production says of today's test scans; None where it is of others."""
    own = production.evaluation
    if not own or not scored_on(own, fingerprints(dataset)):
        return None
    return {
        "unit": own.get("unit", "pixels"),
        "settings": {"surface_tolerance": own["settings"].get("surface_tolerance")},
        "operating_point": asdict(production.decision),
        "scores": own["scores"],
        "scans": own["scans"],
    }


def _difference(project: Project, theirs: Mapping[str, Any], test: SplitScores) -> dict[str, Any]:
    """The gain of the gate's score, with its interval."""
    stored = {row["id"]: row["counts"] for row in theirs["scans"]}
    before = np.array([stored[scan.id] for scan in test.scans], np.int64)
    groups, score = [scan.group for scan in test.scans], project.settings.gate.score
    found = paired_difference(before, test.counts, groups, score, project.settings.evaluate)
    return {"score": score, "difference": found.difference, "low": found.low, "high": found.high}
