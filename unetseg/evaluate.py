"""Evaluate a bundle: thresholds from the validation split, scores on the test split, one pass over each.

Per class, histograms of the probabilities add up over tiles and scans, so memory does not grow with the data.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle, load_bundle
from unetseg.config import EvaluateConfig, PredictConfig, to_plain
from unetseg.curves import Histograms, Threshold, choose_threshold, save_curves
from unetseg.dataset import Dataset, open_dataset
from unetseg.engines import Engine, open_engine
from unetseg.errors import DataError
from unetseg.inference import predict_tiles
from unetseg.normalise import denormalise, fit_scales, normalisation_rule, normalise
from unetseg.parallel import Progress, run_units, silent
from unetseg.project import Project
from unetseg.registry import model_folder
from unetseg.report import ErrorPicture, ReportPage, write_report
from unetseg.scan_record import ScanRecord
from unetseg.scores import bootstrap_intervals, count, f_beta, score_table
from unetseg.storage import write_folder, write_json

__all__ = ["EvaluateResult", "SplitScores", "evaluate", "score_split"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_FEW_SCANS = 5  # fewer scans with a class cannot carry a threshold or an interval


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
    """

    version: str
    scores: dict[str, dict[str, Any]]
    intervals: dict[str, Any]
    thresholds: dict[str, Any]
    warnings: tuple[str, ...]
    report: Path


@dataclass(frozen=True)
class SplitScores:
    """Counts and histograms of one bundle on one split.

    Attributes:
        scans: the scans, in order.
        counts: true and false positives and negatives, ``(S, K, 4)``.
        histograms: of the probabilities.
    """

    scans: tuple[ScanRecord, ...]
    counts: NDArray[np.int64]
    histograms: Histograms


def evaluate(project: Project, *, model: str = "latest", progress: Progress = silent) -> EvaluateResult:
    """Choose thresholds, score the test split and write scores, curves and report into the bundle.

    Args:
        project: whose dataset and models are used.
        model: version number, ``latest``, ``production`` or ``previous``.
        progress: told about every scan.

    Raises:
        UsageError: no dataset, or no such model.
        DataError: the bundle's classes are not the dataset's.
        BundleError: the bundle is damaged.
    """
    bundle = load_bundle(model_folder(project.models, model))
    dataset = open_dataset(project.dataset)
    config, run = project.settings.evaluate, project.settings.predict
    validation = score_split(bundle, dataset, "validation", run, progress=progress)
    chosen = {
        name: choose_threshold(validation.histograms.curve(k), config) for k, name in enumerate(bundle.info.classes)
    }
    cuts = np.array([threshold.value for threshold in chosen.values()], np.float32)
    test = score_split(bundle, dataset, "test", run, thresholds=cuts, progress=progress)
    pictures = _pictures(bundle, dataset, test, chosen, run)
    return _publish(bundle, dataset, config, chosen, (validation, test), pictures)


def score_split(
    bundle: Bundle,
    dataset: Dataset,
    split: str,
    config: PredictConfig,
    *,
    thresholds: NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> SplitScores:
    """Run a bundle over one split.

    Args:
        bundle: to score; its thresholds are used where none are given.
        dataset: whose scans are scored.
        split: ``train``, ``validation`` or ``test``.
        config: engine and tile.
        thresholds: per class, ``(K,)``.
        progress: told about every scan.

    Raises:
        DataError: the bundle's classes, channels or guides are not the dataset's.
    """
    _check_match(bundle, dataset)
    engine = open_engine(bundle.folder, config.engine)
    cuts = bundle.thresholds if thresholds is None else thresholds
    scans = dataset.scans(split)
    total = Histograms.empty(len(bundle.info.classes))
    counts: dict[str, NDArray[np.int64]] = {}

    adding = threading.Lock()

    def score(scan: ScanRecord) -> NDArray[np.int64]:
        found = np.zeros((len(cuts), 4), np.int64)
        for masks, probabilities in _truth_and_probabilities(engine, bundle, dataset, scan, config.tile):
            found += count(masks, probabilities >= cuts)
            with adding:
                total.add(masks, probabilities)
        return found

    for done, (scan, outcome) in enumerate(run_units(score, scans), start=1):
        if isinstance(outcome, Exception):
            raise outcome
        counts[scan.id] = outcome
        progress(done, len(scans), f"{split} {scan.id}")
    return SplitScores(tuple(scans), np.stack([counts[scan.id] for scan in scans]), total)


def _check_match(bundle: Bundle, dataset: Dataset) -> None:
    for what in ("classes", "channels", "guides"):
        have, want = getattr(dataset.index, what), getattr(bundle.info, what)
        if have != want:
            raise DataError(
                f"evaluate: {what} of model {bundle.version} are {list(want)}, the dataset's are {list(have)}; "
                "train again, or ingest as the model was trained"
            )


def _truth_and_probabilities(
    engine: Engine, bundle: Bundle, dataset: Dataset, scan: ScanRecord, tile: int
) -> Iterator[tuple[NDArray[np.int8], NDArray[np.float32]]]:
    image, masks = _image_for(bundle, dataset, scan), dataset.masks(scan)
    for window, probabilities in predict_tiles(engine, bundle.info, image, dataset.guides(scan), tile=tile):
        yield masks[window], probabilities


def _image_for(bundle: Bundle, dataset: Dataset, scan: ScanRecord) -> NDArray[np.floating]:
    """A scan as the bundle was trained to see it, also where the dataset is normalised in another way by now."""
    image, rule = dataset.image(scan), bundle.info.settings.ingest
    if normalisation_rule(rule) == normalisation_rule(dataset.index.ingest):
        return image
    raw = denormalise(image, scan.scales)
    return normalise(raw, fit_scales(raw, rule))


def _publish(
    bundle: Bundle,
    dataset: Dataset,
    config: EvaluateConfig,
    chosen: dict[str, Threshold],
    splits: tuple[SplitScores, SplitScores],
    pictures: list[ErrorPicture],
) -> EvaluateResult:
    """Write the evaluation into the bundle, all of it at once."""
    validation, test = splits
    classes = bundle.info.classes
    groups = [scan.group for scan in test.scans]
    scores = score_table(test.counts, classes, [item.value for item in chosen.values()], test.histograms)
    intervals = bootstrap_intervals(test.counts, classes, groups, config)
    warnings = tuple(_warnings(chosen, classes, validation, test))
    for warning in warnings:
        logger.warning(warning)
    thresholds = {name: asdict(threshold) for name, threshold in chosen.items()}
    plain = {
        "schema_version": SCHEMA_VERSION,
        "model": bundle.version,
        "dataset_fingerprint": dataset.index.fingerprint,
        "settings": to_plain(config),
        "thresholds": thresholds,
        "scores": scores,
        "intervals": intervals,
        "warnings": warnings,
        "scans": _scan_rows(test, classes),
    }
    with write_folder(bundle.folder / "evaluation") as folder:
        write_json(folder / "evaluation.json", plain)
        save_curves(folder / "validation_curves.npz", validation.histograms, classes)
        save_curves(folder / "test_curves.npz", test.histograms, classes)
        page = ReportPage(bundle, dataset, plain, test.histograms, pictures)
        write_report(folder / "report.html", page)
    report = bundle.folder / "evaluation" / "report.html"
    return EvaluateResult(bundle.version, scores, intervals, thresholds, warnings, report)


def _scan_rows(test: SplitScores, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Per scan: group, counts and F1 per class, worst first."""
    rows = [
        {
            "id": scan.id,
            "group": scan.group,
            "counts": counts.tolist(),
            "f1": dict(zip(classes, f_beta(counts).tolist(), strict=True)),
            "mean_f1": _mean(f_beta(counts)),
        }
        for scan, counts in zip(test.scans, test.counts, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["mean_f1"], row["id"]))


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what can be measured; a scan without any class, left empty, is perfect."""
    measured = values[np.isfinite(values)]
    return float(measured.mean()) if measured.size else 1.0


def _warnings(
    chosen: dict[str, Threshold], classes: Sequence[str], validation: SplitScores, test: SplitScores
) -> Iterator[str]:
    for k, name in enumerate(classes):
        for split, found in (("validation", validation), ("test", test)):
            holding = int((found.counts[:, k, 0] + found.counts[:, k, 2] > 0).sum())
            if holding < _FEW_SCANS:
                yield f"{name}: only {holding} {split} scans hold it; its numbers are weak"
        if not chosen[name].reached:
            yield f"{name}: {chosen[name].reason}"


def _pictures(
    bundle: Bundle, dataset: Dataset, test: SplitScores, chosen: dict[str, Threshold], config: PredictConfig
) -> list[ErrorPicture]:
    """Best, median and worst test scan by mean F1, with what was missed and what was invented."""
    order = [row["id"] for row in _scan_rows(test, bundle.info.classes)]
    picked = dict.fromkeys([("worst", order[0]), ("median", order[len(order) // 2]), ("best", order[-1])])
    engine = open_engine(bundle.folder, config.engine)
    cuts = np.array([threshold.value for threshold in chosen.values()], np.float32)
    pictures = []
    for title, scan_id in picked:
        scan = dataset.index.scans[scan_id]
        image = _image_for(bundle, dataset, scan)
        found = np.zeros((*scan.shape, len(cuts)), bool)
        for window, probabilities in predict_tiles(engine, bundle.info, image, dataset.guides(scan), tile=config.tile):
            found[window] = probabilities >= cuts
        pictures.append(ErrorPicture(f"{title}: {scan_id}", image, dataset.masks(scan), found))
    return pictures
