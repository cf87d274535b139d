"""What an evaluation leaves: one JSON record of scores, thresholds and scans, and the curves beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bootstrap import bootstrap_intervals
from unetseg.bundle import Bundle
from unetseg.class_settings import by_class, parse_criterion
from unetseg.config import EvaluateConfig, to_plain
from unetseg.dataset import Dataset
from unetseg.decisions import Decision
from unetseg.evaluation_files import EVALUATION_SCHEMA
from unetseg.same_scans import fingerprints
from unetseg.score_table import Row, score_table
from unetseg.scores import FN, TP, dice, f_beta
from unetseg.scoring import LARGEST_OUTLINED, SplitScores
from unetseg.thresholds import Threshold
from unetseg.words import counted, first_of

__all__ = ["NOT_OUTLINED", "evaluation_record", "few_scans", "scan_rows", "split_table", "threshold_rows"]

NOT_OUTLINED = "Hausdorff-95 and surface Dice are without"
"""How the warning of scans without distances begins."""
_FEW_SCANS = 5  # fewer scans with a class cannot carry a threshold or an interval
_FEW_GROUPS = 5  # fewer groups leave an interval to chance
_NAMED = 5  # scans that a warning names


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
    return {
        "schema_version": EVALUATION_SCHEMA,
        "model": bundle.version,
        **fingerprints(dataset),
        "settings": to_plain(config),
        "evaluated_with": None,
        "decision": decision.rule,
        "unit": test.unit,
        "thresholds": dict(thresholds),
        "scores": split_table(test, classes, decision),
        "intervals": bootstrap_intervals(test.counts, classes, groups, config, surfaces=test.surfaces),
        "validation_support": _support(classes, validation) if validation else None,
        "warnings": [
            *_weak(classes, test),
            *(_weak_thresholds(classes, config, thresholds, validation) if decision.rule == "thresholds" else ()),
            *_few_groups(groups),
            *_not_outlined(test),
        ],
        "scans": scan_rows(test, classes),
        "data": None,
        "production": None,
        "inference": None,
    }


def split_table(
    test: SplitScores, classes: Sequence[str], decision: Decision, *, outlines: bool = True
) -> dict[str, Row]:
    """The table of scores of a split; without thresholds where none decide, and without distances where not measured.

    Args:
        test: the scans that were scored.
        classes: K names.
        decision: what made a pixel a class.
        outlines: whether distances of outlines were measured.
    """
    shown = decision.thresholds if decision.rule == "thresholds" else [np.nan] * len(classes)
    surfaces = test.surfaces if outlines else None
    return score_table(test.counts, classes, shown, test.histograms, surfaces=surfaces)


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


def few_scans(name: str, config: EvaluateConfig, holding: int | None) -> Iterator[str]:
    """Says that too few scans stand behind the threshold of a class, unless it was given and not chosen.

    Args:
        name: of the class.
        config: by which its threshold was chosen.
        holding: the validation scans that hold it; None: not known.
    """
    own = by_class(config.class_criteria).get(name)
    criterion = parse_criterion(own)["criterion"] if own else config.criterion
    if criterion != "fixed" and holding is not None and holding < _FEW_SCANS:
        yield f"{name}: only in {counted(holding, 'validation scan')}, too few to support a threshold"


def _weak(classes: Sequence[str], test: SplitScores) -> Iterator[str]:
    """Classes that too few test scans hold."""
    for name, holding in _support(classes, test).items():
        if holding < _FEW_SCANS:
            yield f"{name}: only in {counted(holding, 'test scan')}, too few to support scores and intervals"


def _weak_thresholds(
    classes: Sequence[str],
    config: EvaluateConfig,
    thresholds: Mapping[str, Mapping[str, Any]],
    validation: SplitScores | None,
) -> Iterator[str]:
    """Thresholds that too few validation scans stand behind, and those that do not reach what was asked for."""
    holding = _support(classes, validation) if validation else {}
    for name in classes:
        yield from few_scans(name, config, holding.get(name))
        if not thresholds[name]["reached"]:
            yield f"{name}: {thresholds[name]['reason']}"


def _support(classes: Sequence[str], found: SplitScores) -> dict[str, int]:
    """How many scans of a split hold each class."""
    holding = (found.counts[..., TP] + found.counts[..., FN] > 0).sum(axis=0)
    return dict(zip(classes, holding.tolist(), strict=True))


def _not_outlined(test: SplitScores) -> Iterator[str]:
    """Scans that have no distances, since their outlines would not fit into memory."""
    if test.not_outlined:
        yield (
            f"{NOT_OUTLINED} {len(test.not_outlined)} of {len(test.scans)} test scans, "
            f"which are larger than {LARGEST_OUTLINED / 1e6:.0f} megapixels: {first_of(test.not_outlined, _NAMED)}"
        )


def _few_groups(groups: Sequence[str]) -> Iterator[str]:
    number = len(set(groups))
    if number < _FEW_GROUPS:
        yield f"the test scans come from only {counted(number, 'group')}, too few to support intervals: they are rough"
