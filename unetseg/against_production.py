"""How a model compares with the one in production on the same test scans."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np

from unetseg.bootstrap import paired_difference
from unetseg.bundle import Bundle, load_bundle, read_evaluation
from unetseg.dataset import Dataset
from unetseg.errors import BundleError, DataError
from unetseg.measured_now import measured_scores
from unetseg.parallel import Progress, silent
from unetseg.project import Project
from unetseg.registry import model_folder, read_aliases, versions
from unetseg.same_scans import as_scored, beside, inference_of, scans_today, scored_on
from unetseg.scoring import SplitScores

__all__ = ["against_production"]

logger = logging.getLogger(__name__)

_OF_A_SCAN: Final = ("id", "group", "counts", "mean_f1")  # of production's scans, what the gate and comparisons need
_ASKED: Final = 5  # newest versions whose evaluations are read: last night's is among them


def against_production(
    project: Project, bundle: Bundle, dataset: Dataset, test: SplitScores, *, progress: Progress = silent
) -> dict[str, Any] | None:
    """Scores of production and the difference to it, as an evaluation keeps them.

    Where production's own evaluation has no counts of today's test scans, or none with today's flips and tiles, those
    that were kept beside one of the newest versions do; else it is scored here, with its thresholds as they are and
    without outlines. The gate then takes these counts.

    Args:
        project: whose production is compared with.
        bundle: the model.
        dataset: it was scored on.
        test: its scores on the test split.
        progress: told about every scan on which production is scored.

    Returns:
        ``version``; ``measured``: whether it was scored apart from its own evaluation; ``difference``; ``scores``,
        ``scans`` and what they depend on, as `as_scored` has them. None where there is no other model in production, or
        where it cannot be scored, which the log tells.

    Raises:
        UsageError: what the aliases name as production is not there.
    """
    version = read_aliases(project.models).production
    if version is None or version == bundle.version:
        return None
    try:
        production = load_bundle(model_folder(project.models, version))
        run = project.settings.predict
        today = scans_today(dataset, production.info, run)
        own = _own(production, today)
        found = own or _beside_others(project, production, today)
        found = found or measured_scores(production, dataset, run, progress=progress)
        difference = _difference(project, found, test)
    except (BundleError, DataError) as error:  # the evaluation holds all the same
        logger.warning("not compared with %s: %s", version, error)
        return None
    scans = [{key: row[key] for key in _OF_A_SCAN} for row in found["scans"]]
    return {"version": version, "measured": own is None, "difference": difference} | found | {"scans": scans}


def _own(production: Bundle, today: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the evaluation of production says of today's test scans; None where it has no counts of them."""
    own = production.evaluation
    return _taken(production, own) if own and scored_on(own, today) else None


def _beside_others(project: Project, production: Bundle, today: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was scored of production when another version was evaluated on these scans; None where it was not."""
    for evaluation in _newest(project, production.version):
        found = beside(evaluation, production)
        if found and scored_on(found, today):
            return _taken(production, found)
    return None


def _taken(production: Bundle, found: Mapping[str, Any]) -> dict[str, Any]:
    """The part that is compared of what an evaluation says of production."""
    return as_scored(
        production.decision,
        unit=found.get("unit", "pixels"),
        tolerance=found["settings"].get("surface_tolerance"),
        scores=found["scores"],
        scans=found["scans"],
        inference=inference_of(found),
    )


def _newest(project: Project, but: str) -> Iterator[dict[str, Any] | None]:
    """Evaluations of a few versions, the newest first; a damaged one is told of when somebody needs it."""
    for version in [name for name in reversed(versions(project.models)) if name != but][:_ASKED]:
        with suppress(BundleError):
            yield read_evaluation(project.models / version)


def _difference(project: Project, theirs: Mapping[str, Any], test: SplitScores) -> dict[str, Any]:
    """The gain of the gate's score, with its interval."""
    stored = {row["id"]: row["counts"] for row in theirs["scans"]}
    before = np.array([stored[scan.id] for scan in test.scans], np.int64)
    groups, score = [scan.group for scan in test.scans], project.settings.gate.score
    found = paired_difference(before, test.counts, groups, score, project.settings.evaluate)
    return {"score": score, "difference": found.difference, "low": found.low, "high": found.high}
