"""Evaluate a bundle on other scans with masks: its operating point is taken as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from unetseg.bundle import Bundle, load_bundle
from unetseg.config import Sources
from unetseg.dataset import Dataset, open_dataset
from unetseg.errors import UsageError
from unetseg.evaluate import EvaluateResult, error_pictures, publish
from unetseg.evaluated_how import inference_record
from unetseg.evaluation_record import evaluation_record
from unetseg.ingest import ingest
from unetseg.leakage import seen_in_training
from unetseg.other_scans import sources_of
from unetseg.parallel import Progress, silent
from unetseg.pixel_size import check_pixel_sizes
from unetseg.project import Project
from unetseg.registry import model_folder
from unetseg.scoring import score_split
from unetseg.storage import locate, text_hash
from unetseg.words import counted, first_of, in_project

__all__ = ["evaluate_on"]

_NAMED = 5  # scans that a warning names


def evaluate_on(
    project: Project,
    scans: str | Path,
    masks: str | Path,
    *,
    model: str = "production",
    guides: str | Path = "",
    name: str = "",
    progress: Progress = silent,
) -> EvaluateResult:
    """Score a model on scans and masks that are not the project's; its thresholds stay as they are.

    The scans are ingested as those the model was trained on, into ``evaluations/NAME/`` of the project, where a second
    run only reads what has changed. What is found is written beside them, under the model's version. Scans of another
    pixel size are scored as they are, never rescaled, and told of; ``predict.pixel_size`` may ignore or refuse them.

    Args:
        project: whose model is scored, and whose rules read the masks.
        scans: folder of scans, or one multi-page file.
        masks: folder of masks, laid out as the project's or in any way that ``unetseg init`` knows.
        model: version number, ``latest``, ``production`` or ``previous``.
        guides: folder with one sub-folder per guide, where the model has guides; empty: none.
        name: of this set of scans; empty: the name of its folder, and a few digits that tell it from others.
        progress: told about every scan.

    Raises:
        UsageError: the model has not been evaluated yet, a folder is empty, or nothing pairs.
        DataError: too many scans cannot be used, or ``predict.pixel_size`` refuses some.
        BundleError: the bundle is damaged.
    """
    bundle = load_bundle(model_folder(project.models, model))
    if bundle.evaluation is None:
        first = in_project(f"unetseg evaluate --model {bundle.version}", project.folder)
        raise UsageError(f"evaluate: model {bundle.version} has no thresholds yet; first, without --on: {first}")
    if not (str(scans) and str(masks)):
        raise UsageError(f"evaluate: scans need masks to be scored, got {str(scans)!r} and {str(masks)!r}; give both")
    resize, where_guides = project.settings.ingest.resize_masks, locate(guides) if str(guides) else None
    sources = sources_of(project.sources, locate(scans), locate(masks), where_guides, resize_masks=resize)
    other = _project_of(project, bundle, sources, _folder_name(name, locate(scans)))
    ingested = ingest(other, progress=progress, only_split="test")
    dataset, config, run = open_dataset(other.dataset), project.settings.evaluate, project.settings.predict
    pixels = {scan.id: scan.pixel_size for scan in dataset.scans("test")}
    unlike = check_pixel_sizes(bundle.info.pixel_size, pixels, run)  # refuses before anything is scored
    test = score_split(bundle, dataset, "test", run, tolerance=config.surface_tolerance, progress=progress)
    record = evaluation_record(
        bundle,
        dataset,
        config,
        decision=bundle.decision,
        thresholds=bundle.evaluation["thresholds"],
        test=test,
        validation=None,
    )
    record["inference"] = inference_record(bundle, run)
    record["data"] = {"scans": str(scans), "masks": str(masks)}
    record["warnings"] += [unlike] if unlike else []
    record["warnings"] += [*_seen_in_training(bundle, dataset), *_without_masks(ingested.unlabelled)]
    pictures = error_pictures(bundle, dataset, test, bundle.decision, run)
    result = publish(other.folder / bundle.version, bundle, dataset, record, {"test": test.histograms}, pictures)
    return replace(result, quarantined=ingested.aside)


def _project_of(project: Project, bundle: Bundle, sources: Sources, name: str) -> Project:
    """A project beside the models, whose scans are prepared as those that the model was trained on."""
    trained, here = bundle.info.settings.ingest, project.settings.ingest
    ours = {name: getattr(here, name) for name in ("workers", "max_failed_fraction", "resize_masks")}
    rules = replace(trained, **ours)
    return Project(project.evaluations / name, sources, replace(project.settings, ingest=rules))


def _folder_name(name: str, scans: Path) -> str:
    """The given name; else the end of the path, since most folders are called ``images``, and a hash of all of it."""
    given = name or f"{'-'.join(scans.parts[-2:])}-{text_hash(str(scans))[:6]}"
    return re.sub(r"[^\w.-]+", "_", given).strip("._-") or "scans"


def _without_masks(scans: Sequence[str]) -> Iterator[str]:
    if scans:
        yield f"{counted(len(scans), 'scan')} without a mask, left out: {first_of(scans, _NAMED)}"


def _seen_in_training(bundle: Bundle, dataset: Dataset) -> Iterator[str]:
    """Scans that the model was trained on: their scores say nothing."""
    if not bundle.info.training_scans:
        yield "whether some of these scans trained the model is not known: its bundle is older than that list"
    if seen := seen_in_training(bundle.info, dataset.scans("test")):
        yield (
            f"{len(seen)} of these scans trained the model or chose its weights, so their scores are too good: "
            f"{first_of(seen, _NAMED)}"
        )
