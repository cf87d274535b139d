"""What an evaluation leaves: one JSON record of scores, thresholds and scans, and the curves beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bootstrap import bootstrap_intervals
from unetseg.bundle import EVALUATION_SCHEMA, Bundle
from unetseg.config import EvaluateConfig, to_plain
from unetseg.dataset import Dataset
from unetseg.decisions import Decision
from unetseg.score_table import score_table
from unetseg.scores import FN, TP, dice, f_beta
from unetseg.scoring import SplitScores
from unetseg.thresholds import Threshold

__all__ = ["evaluation_record", "scan_rows", "threshold_rows"]

_FEW_SCANS = 5  # fewer scans with a class cannot carry a threshold or an interval
_FEW_GROUPS = 5  # fewer groups leave an interval to chance


def evaluation_record(
    bundle: Bundle,
    dataset: Dataset,
    config: EvaluateConfig,
    *,
    decision: Decision,
    thresholds: Mapping[str, Mapping[str, Any]],
    test: SplitScores,
    validation: SplitScores | None,
) -> dict[str, Any]:
    """All numbers of an evaluation, as JSON holds them.

    Args:
        bundle: the model.
        dataset: what was scored.
        config: what was asked for.
        decision: what made a pixel a class.
        thresholds: of each class, its value and how it was chosen.
        test: the scans that were scored.
        validation: the scans that the thresholds were chosen on; None: they were given.
    """
    classes, groups = bundle.info.classes, [scan.group for scan in test.scans]
    shown = decision.thresholds if decision.rule == "thresholds" else [np.nan] * len(classes)
    return {
        "schema_version": EVALUATION_SCHEMA,
        "model": bundle.version,
        "dataset_fingerprint": dataset.index.fingerprint,
        "settings": to_plain(config),
        "decision": decision.rule,
        "unit": test.unit,
        "thresholds": dict(thresholds),
        "scores": score_table(test.counts, classes, shown, test.histograms, surfaces=test.surfaces),
        "intervals": bootstrap_intervals(test.counts, classes, groups, config, surfaces=test.surfaces),
        "warnings": [*_weak(bundle, thresholds, test, validation), *_few_groups(groups)],
        "scans": scan_rows(test, classes),
        "data": None,
        "production": None,
    }


def threshold_rows(chosen: Mapping[str, Threshold]) -> dict[str, dict[str, Any]]:
    """Thresholds as the record holds them."""
    return {name: asdict(threshold) for name, threshold in chosen.items()}


def scan_rows(test: SplitScores, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Per scan: group, counts, F1, Dice and distances per class, worst first."""
    rows = [
        {
            "id": scan.id,
            "group": scan.group,
            "counts": counts.tolist(),
            "f1": _by_class(classes, f_beta(counts)),
            "dice": _by_class(classes, dice(counts)),
            "hausdorff95": _by_class(classes, surfaces[:, 0]),
            "surface_dice": _by_class(classes, surfaces[:, 1]),
            "mean_f1": _mean(f_beta(counts)),
        }
        for scan, counts, surfaces in zip(test.scans, test.counts, test.surfaces, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["mean_f1"], row["id"]))


def _by_class(classes: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(classes, values.tolist(), strict=True))


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what can be measured; a scan without any class, left empty, is perfect."""
    measured = values[np.isfinite(values)]
    return float(measured.mean()) if measured.size else 1.0


def _weak(
    bundle: Bundle, thresholds: Mapping[str, Mapping[str, Any]], test: SplitScores, validation: SplitScores | None
) -> Iterator[str]:
    """Classes that too few scans hold, and thresholds that do not reach what was asked for."""
    splits = {"test": test} | ({"validation": validation} if validation else {})
    for k, name in enumerate(bundle.info.classes):
        for split, found in splits.items():
            holding = int((found.counts[:, k, TP] + found.counts[:, k, FN] > 0).sum())
            if holding < _FEW_SCANS:
                what = "its threshold" if split == "validation" else "its scores and intervals"
                yield f"{name}: only {holding} {split} scans hold it, too few to support {what}"
        if not thresholds[name]["reached"]:
            yield f"{name}: {thresholds[name]['reason']}"


def _few_groups(groups: Sequence[str]) -> Iterator[str]:
    number = len(set(groups))
    if number < _FEW_GROUPS:
        yield f"the test scans come from only {number} groups, too few to support intervals: they are rough"
