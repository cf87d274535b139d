"""Score a model on today's test split for a comparison: its thresholds and its own evaluation stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unetseg.bundle import Bundle
from unetseg.config import PredictConfig
from unetseg.dataset import Dataset, open_dataset
from unetseg.evaluated_how import inference_record
from unetseg.evaluation_record import scan_rows, split_table
from unetseg.parallel import Progress, silent
from unetseg.project import Project
from unetseg.same_scans import as_scored, evaluated, fingerprints, scans_today, scored_on
from unetseg.scoring import score_split

__all__ = ["measured_scores", "measured_today"]


def measured_scores(
    bundle: Bundle,
    dataset: Dataset,
    config: PredictConfig,
    *,
    tolerance: float | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What a model scores on the test split, in the form that its evaluation would have.

    Args:
        bundle: the model.
        dataset: whose test split is scored.
        config: engine, precision, flips and tile.
        tolerance: of surface Dice, in pixels; None: outlines are not compared, which saves time.
        progress: told about every scan.

    Returns:
        ``scores`` and ``scans``; ``unit``, ``settings`` (the tolerance), ``operating_point`` and ``inference``,
        which they depend on.

    Raises:
        DataError: the bundle's classes, channels or guides are not the dataset's.
        BundleError: the bundle is damaged.
    """

    def tell(done: int, total: int, what: str) -> None:
        progress(done, total, f"model {bundle.version}, {what}")

    found = score_split(bundle, dataset, "test", config, tolerance=tolerance, progress=tell)
    classes, decision = bundle.info.classes, bundle.decision
    scores = split_table(found, classes, decision, outlines=tolerance is not None)
    return as_scored(
        decision,
        unit=found.unit,
        tolerance=tolerance,
        scores=scores,
        scans=scan_rows(found, classes),
        inference=inference_record(bundle, config),
    )


def measured_today(
    project: Project, bundles: Sequence[Bundle], *, progress: Progress = silent
) -> dict[str, dict[str, Any]]:
    """Score those models on today's test split whose own evaluation has no counts of its scans, as they run today.

    Args:
        project: whose dataset is scored.
        bundles: the models.
        progress: told about every scan.

    Returns:
        By version, what `measured_scores` finds and the fingerprints of the scans.

    Raises:
        UsageError: no dataset, or one of the models was not evaluated.
        DataError: the bundle's classes, channels or guides are not the dataset's.
        BundleError: a bundle is damaged.
    """
    dataset, run = open_dataset(project.dataset), project.settings.predict
    tolerance, prints = project.settings.evaluate.surface_tolerance, fingerprints(dataset)
    outdated = [
        bundle for bundle in bundles if not scored_on(evaluated(bundle), scans_today(dataset, bundle.info, run))
    ]
    return {
        bundle.version: prints | measured_scores(bundle, dataset, run, tolerance=tolerance, progress=progress)
        for bundle in outdated
    }
