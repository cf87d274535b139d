"""The scans of a prediction in the order in which to look at them, and those to annotate next.

Both follow from the rows of the table and the intensities that the records of the scans hold: no scan is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetseg.annotate_next import choose_next
from unetseg.intensity_distance import Profile
from unetseg.object_table import ObjectRow
from unetseg.predict_marker import Segmented
from unetseg.tables import write_rows
from unetseg.training_data import TrainingData
from unetseg.trust import ODD, Trust, judge

__all__ = ["Advice", "ScanRow", "advice", "rank_scans", "to_annotate", "write_scans"]

ANNOTATE = 20
"""Scans that are proposed for annotation: an afternoon's work."""

_TOLD = 3  # scans that a terminal names

_FUSION = 60  # the constant of reciprocal rank fusion: with it two middling ranks do not outweigh one at the top


@dataclass(frozen=True)
class ScanRow:
    """One scan and what speaks for looking at it.

    Attributes:
        look_first: its rank, from 1.
        annotate_next: its rank among those to annotate, from 1; None for the others.
        scan: its id.
        reasons: why to look at it, in words; empty where nothing speaks for it.
        near_threshold: the largest of its classes.
        near_threshold_class: which class that is.
        intensity_distance: from the training data, in normalised intensities; None where that is unknown.
        intensity_ratio: to the largest such distance of a training scan.
        intensity_channel: the channel that is furthest.
        area_ratio: above 1 where the area of a class is outside of what training had.
        area_class: the class whose area is furthest.
    """

    look_first: int
    annotate_next: int | None
    scan: str
    reasons: str
    near_threshold: float
    near_threshold_class: str
    intensity_distance: float | None
    intensity_ratio: float | None
    intensity_channel: str | None
    area_ratio: float | None
    area_class: str | None


@dataclass(frozen=True)
class Advice:
    """A scan to look at or to annotate, and what speaks for looking at it.

    Attributes:
        scan: its id.
        reasons: in words; empty where there are none.
    """

    scan: str
    reasons: str


def rank_scans(scans: Iterable[Segmented], known: TrainingData | None) -> tuple[ScanRow, ...]:
    """Judge all scans of a prediction, and order them.

    Args:
        scans: what was found on each; of stacks each page is one.
        known: what the training data of the model looked like; None: unknown.

    Returns:
        Those to look at first on top.
    """
    parts = _parts(scans)
    if not parts:
        return ()
    names = sorted(parts)
    found = [judge(parts[name].rows, parts[name].profiles, known) for name in names]
    proposed = {place: rank for rank, place in enumerate(_next([parts[name] for name in names], found), start=1)}
    return tuple(
        _row(rank, proposed.get(place), names[place], found[place]) for rank, place in enumerate(_order(found), start=1)
    )


def advice(rows: Iterable[ScanRow]) -> tuple[Advice, ...]:
    """The first few rows, in short."""
    return tuple(Advice(row.scan, row.reasons) for row in islice(rows, _TOLD))


def to_annotate(rows: Sequence[ScanRow]) -> list[ScanRow]:
    """The scans that are proposed for annotation, in their order."""
    return sorted((row for row in rows if row.annotate_next), key=lambda row: row.annotate_next or 0)


def write_scans(folder: Path, rows: Sequence[ScanRow]) -> None:
    """Write ``scans.csv`` and ``scans.parquet``, one row per scan."""
    write_rows(folder, "scans", ScanRow, rows)


def _order(found: Sequence[Trust]) -> list[int]:
    """Reciprocal rank fusion of the three measures (doi:10.1145/1571941.1572114).

    *Formula*: ``sum over measures of 1 / (60 + rank)``. Ratios that are no reason count alike, and so do unknown ones;
    equal ones share the last of their ranks. Scans with a reason come before all others; ties go to the one with more
    reasons, then to the more unsure one.
    """
    near = np.array([item.near.share for item in found])
    ratios = ([item.intensity_ratio for item in found], [item.area_ratio for item in found])
    measures = [near, *(np.maximum(np.array(ratio, np.float64), ODD) for ratio in ratios)]
    score = sum(1 / (_FUSION + _ranks(measure)) for measure in measures)
    reasons = np.array([len(item.reasons) for item in found])
    order: list[int] = np.lexsort((-near, -reasons, -np.round(score, 12), reasons == 0)).tolist()
    return order


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many are at least as large: `scipy.stats.rankdata(-values, "max")`, whose import would take a second."""
    ranks: NDArray[np.int64] = len(values) - np.searchsorted(np.sort(values), values)
    return ranks


@dataclass(frozen=True)
class _Part:
    """What was found on one scan, or on one page of a stack."""

    rows: Sequence[ObjectRow]
    profiles: Sequence[Profile]


def _parts(scans: Iterable[Segmented]) -> dict[str, _Part]:
    found: dict[str, _Part] = {}
    for scan in scans:
        for name, rows in groupby(scan.rows, key=lambda row: row.scan):
            found[name] = _Part(list(rows), scan.profiles[name])
    return found


def _next(scans: Sequence[_Part], found: Sequence[Trust]) -> list[int]:
    """Scans to annotate: unsure ones that differ in their intensities, areas, and where the model is unsure."""
    intensities = np.array([np.concatenate(scan.profiles) for scan in scans])
    classes = np.array([[(row.near_threshold, row.fraction) for row in scan.rows] for scan in scans])
    features = [intensities, classes.reshape(len(scans), -1)]
    return choose_next(np.array([item.near.share for item in found]), features, most=ANNOTATE)


def _row(rank: int, proposed: int | None, name: str, found: Trust) -> ScanRow:
    intensity = found.intensity
    return ScanRow(
        look_first=rank,
        annotate_next=proposed,
        scan=name,
        reasons="; ".join(found.reasons),
        near_threshold=found.near.share,
        near_threshold_class=found.near.class_name,
        intensity_distance=intensity.distance if intensity else None,
        intensity_ratio=found.intensity_ratio,
        intensity_channel=intensity.channel if intensity else None,
        area_ratio=found.area_ratio,
        area_class=found.areas[0].class_name if found.areas else None,
    )
