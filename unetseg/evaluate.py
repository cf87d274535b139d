"""Evaluate a bundle: thresholds from the validation split, scores on the test split, one pass over each.

Per class, histograms of the probabilities add up over tiles and scans, so memory does not grow with the data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetseg.against_production import against_production
from unetseg.bundle import Bundle, load_bundle
from unetseg.config import PredictConfig
from unetseg.curve_files import pack_curves
from unetseg.dataset import Dataset, open_dataset
from unetseg.decisions import Decision, Rule, decision_rule
from unetseg.engines import engine_for
from unetseg.errors import MovedError
from unetseg.evaluated_how import inference_record
from unetseg.evaluation_files import write_evaluation_files
from unetseg.evaluation_record import evaluation_record, scan_rows, threshold_rows
from unetseg.full_disk import disk_errors_name
from unetseg.histograms import Histograms
from unetseg.model_card import model_card
from unetseg.parallel import Progress, silent
from unetseg.project import Project
from unetseg.readers import BadFile
from unetseg.registry import model_folder
from unetseg.report import ErrorPicture, ReportPage, report_page
from unetseg.score_words import joined_warnings
from unetseg.scoring import SplitScores, marked_by, model_image, score_split
from unetseg.thresholds import check_criteria, choose_thresholds

__all__ = ["EvaluateResult", "error_pictures", "evaluate", "publish"]

logger = logging.getLogger(__name__)

_MACRO = ("recall", "precision", "f1")  # of a sentence; the table has all


@dataclass(frozen=True)
class EvaluateResult:
    """What one evaluation found.

    Attributes:
        version: of the bundle.
        scores: a row per class, and ``micro``, ``macro``, ``weighted``.
        intervals: per row and score, the bootstrap interval over groups.
        thresholds: per class, the chosen cut and why.
        warnings: what makes the numbers weak.
        report: page to look at.
        quarantined: files that could not be scored, with reasons.
        decision: ``thresholds``, or ``argmax``: the most probable class wins, and thresholds decide nothing.
    """

    version: str
    scores: dict[str, dict[str, Any]]
    intervals: dict[str, Any]
    thresholds: dict[str, Any]
    warnings: tuple[str, ...]
    report: Path
    quarantined: tuple[BadFile, ...] = ()
    decision: Rule = "thresholds"

    @property
    def sentence(self) -> str:
        """What came of it, in numbers; a score that is not measurable is a dash."""
        macro = self.scores.get("macro", {})
        shown = (f"{name} {'–' if macro.get(name) is None else format(macro[name], '.3f')}" for name in _MACRO)
        return f"evaluated {self.version}: macro {', '.join(shown)}"


def evaluate(project: Project, *, model: str = "latest", progress: Progress = silent) -> EvaluateResult:
    """Choose thresholds, score the test split and write scores, curves and report into the bundle.

    Production is scored too where its own evaluation is of other test scans; its thresholds stay as they are.

    Args:
        project: whose dataset and models are used.
        model: version number, ``latest``, ``production`` or ``previous``.
        progress: told about every scan.

    Raises:
        UsageError: no dataset, no such model, or settings that do not fit it.
        DataError: the bundle's classes are not the dataset's.
        BundleError: the bundle is damaged.
        MovedError: another run has ingested meanwhile; evaluate again.
    """
    bundle = load_bundle(model_folder(project.models, model))
    dataset = open_dataset(project.dataset)
    config, run, classes = project.settings.evaluate, project.settings.predict, bundle.info.classes
    rule = decision_rule(config, bundle.info.settings.model)
    check_criteria(classes, config)
    # Decided anyhow: only the histograms count here, and what was decided before may be damaged.
    undecided = Decision(rule, (0.5,) * len(classes))
    validation = score_split(bundle, dataset, "validation", run, decision=undecided, progress=progress)
    chosen = choose_thresholds(validation.histograms, classes, config)
    decision = Decision(rule, tuple(threshold.value for threshold in chosen.values()))
    test = score_split(
        bundle, dataset, "test", run, decision=decision, tolerance=config.surface_tolerance, progress=progress
    )
    _check_unmoved(project, dataset)
    record = evaluation_record(
        bundle,
        dataset,
        config,
        decision=decision,
        thresholds=threshold_rows(chosen),
        test=test,
        validation=validation,
    )
    record["inference"] = inference_record(bundle, run, dataset)
    record["production"] = against_production(project, bundle, dataset, test, progress=progress)
    pictures = error_pictures(bundle, dataset, test, decision, run)
    curves = {"validation": validation.histograms, "test": test.histograms}
    return publish(bundle.folder / "evaluation", bundle, dataset, record, curves, pictures)


def _check_unmoved(project: Project, dataset: Dataset) -> None:
    """Refuse scores of scans that are others by now: an evaluation waits for nobody, and an ingest not for it."""
    now = open_dataset(project.dataset)
    if any(now.scans(split) != dataset.scans(split) for split in ("validation", "test")):
        raise MovedError(f"evaluate: {project.dataset} was ingested anew meanwhile; evaluate again")


def publish(
    path: Path,
    bundle: Bundle,
    dataset: Dataset | None,
    record: dict[str, Any],
    curves: Mapping[str, Histograms],
    pictures: list[ErrorPicture],
    *,
    made_of: Mapping[str, Any] | None = None,
) -> EvaluateResult:
    """Write an evaluation into a folder; it takes the place of the one before at once.

    Args:
        path: the folder.
        bundle: the model.
        dataset: what was scored; None: that is gone, or another by now; the page leaves its statistics out.
        record: the numbers.
        curves: histograms, by split; the page shows those of ``test``.
        pictures: of errors.
        made_of: the evaluation before, where this one is made of its numbers and must replace no other.

    Raises:
        MovedError: another one is there by now.
        OSError: the disk is full.
    """
    for warning in joined_warnings(record["warnings"], bundle.info.classes):
        logger.warning(warning)
    # All is made before anything is written: what fails here leaves the evaluation as it was.
    page = report_page(ReportPage(bundle, dataset, record, curves["test"], pictures))
    pages = {"report.html": page.encode()}
    if record["data"] is None:  # the card tells of the model's own test scans
        pages["MODEL_CARD.md"] = model_card(bundle, record).encode()
    packed = {split: pack_curves(histograms, bundle.info.classes) for split, histograms in curves.items()}
    with disk_errors_name(path):
        write_evaluation_files(path, record, curves=packed, pages=pages, made_of=made_of)
    return EvaluateResult(
        version=bundle.version,
        scores=record["scores"],
        intervals=record["intervals"],
        thresholds=record["thresholds"],
        warnings=tuple(record["warnings"]),
        report=path / "report.html",
        decision=record["decision"],
    )


def error_pictures(
    bundle: Bundle, dataset: Dataset, test: SplitScores, decision: Decision, config: PredictConfig
) -> list[ErrorPicture]:
    """Best, median and worst test scan by mean F1, with what was missed and what was invented."""
    order = [row["id"] for row in scan_rows(test, bundle.info.classes)]
    picked = {order[len(order) // 2]: "median", order[-1]: "best", order[0]: "worst"}  # few scans: each once
    engine = engine_for(bundle.folder, config)
    pictures = []
    for scan_id, title in sorted(picked.items(), key=lambda item: order.index(item[0])):
        scan = dataset.index.scans[scan_id]
        found = marked_by(engine, bundle, dataset, scan, decision, tile=config.tile)
        image = model_image(bundle, dataset, scan)
        pictures.append(ErrorPicture(f"{title}: {scan_id}", image, dataset.masks(scan), found))
    return pictures
