"""How much of the scans each class covers, which classes overlap, and the class weights that follow.

Everything is summed from the bit fields that the dataset counts per scan, so no pixel is read again and every number
of pixels is exact. Scans whose sources have vanished are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.config import LossConfig
from unetseg.errors import UsageError
from unetseg.splits import SPLITS

__all__ = [
    "ClassStatistics",
    "CountedScan",
    "PixelCounts",
    "class_statistics",
    "class_weights",
    "count_pixels",
    "statistics_by_split",
]


class CountedScan(Protocol):
    """What is needed of a scan's record.

    Attributes:
        split: ``train``, ``validation`` or ``test``.
        combinations: pairs (bit field, pixels): bit k is set where class k is, bit K where the pixel is ignored.
        vanished: whether its sources are gone.
    """

    @property
    def split(self) -> str: ...  # noqa: D102 (above)
    @property
    def combinations(self) -> tuple[tuple[int, int], ...]: ...  # noqa: D102 (above)
    @property
    def vanished(self) -> bool: ...  # noqa: D102 (above)


@dataclass(frozen=True, eq=False)
class PixelCounts:
    """Pixels of some scans.

    Attributes:
        counted: pixels of each scan that are not ignored, ``(N,)`` int64.
        ignored: the other ones, ``(N,)`` int64.
        classes: counted pixels of each class, ``(N, K)`` int64.
        overlaps: counted pixels that class i and class j both cover, over all scans, ``(K, K)`` int64.
    """

    counted: NDArray[np.int64]
    ignored: NDArray[np.int64]
    classes: NDArray[np.int64]
    overlaps: NDArray[np.int64]


@dataclass(frozen=True)
class ClassStatistics:
    """How often the classes of some scans are. Where a value is per class, its keys are the names in order.

    Attributes:
        scans: how many scans.
        counted_pixels: pixels of all scans, without the ignored ones.
        ignored_pixels: pixels that count neither in the loss nor in the scores.
        pixels: counted pixels per class; classes may overlap.
        fractions: share of the counted pixels per class, in [0, 1]; 0 where there are none.
        scans_with: scans with at least one counted pixel of a class.
        scans_without: the other ones.
        co_occurrence: row i, column j: share of class i's pixels that class j covers too; 1 on the diagonal,
            None in the whole row where class i is absent. ``(K, K)``.
        weights: weight of a class in the cross-entropy, per rule of ``loss.class_weights`` and class.
    """

    scans: int
    counted_pixels: int
    ignored_pixels: int
    pixels: dict[str, int]
    fractions: dict[str, float]
    scans_with: dict[str, int]
    scans_without: dict[str, int]
    co_occurrence: tuple[tuple[float | None, ...], ...]
    weights: dict[str, dict[str, float]]


def class_statistics(
    records: Iterable[CountedScan], classes: Sequence[str], *, config: LossConfig = LossConfig()
) -> ClassStatistics:
    """Sum up the classes of some scans, whatever their split.

    Args:
        records: the scans; vanished ones are left out.
        classes: names of the K classes, in the order of the bits.
        config: its cap of the class weights.
    """
    counts = count_pixels([record for record in records if not record.vanished], classes)
    total, pixels = int(counts.counted.sum()), counts.classes.sum(axis=0)
    fractions = pixels / max(total, 1)
    present = (counts.classes > 0).sum(axis=0)
    weights = _weights_by_rule(fractions, config.max_class_weight)
    return ClassStatistics(
        scans=len(counts.counted),
        counted_pixels=total,
        ignored_pixels=int(counts.ignored.sum()),
        pixels=_named(classes, pixels),
        fractions=_named(classes, fractions),
        scans_with=_named(classes, present),
        scans_without=_named(classes, len(counts.counted) - present),
        co_occurrence=_shares(counts.overlaps),
        weights={rule: dict(zip(classes, found, strict=True)) for rule, found in weights.items()},
    )


def statistics_by_split(
    records: Iterable[CountedScan], classes: Sequence[str], *, config: LossConfig = LossConfig()
) -> dict[str, ClassStatistics]:
    """`class_statistics` of each split; one without scans is there too, with zeros."""
    scans = list(records)
    return {
        split: class_statistics([scan for scan in scans if scan.split == split], classes, config=config)
        for split in SPLITS
    }


def count_pixels(records: Sequence[CountedScan], classes: Sequence[str]) -> PixelCounts:
    """Count the pixels of N scans, of all those given, by class."""
    kinds = [pair for record in records for pair in record.combinations]
    fields = np.array([field for field, _ in kinds], np.uint64)
    ignored = (fields >> np.uint64(len(classes)) & np.uint64(1)) == 1
    pixels = np.array([number for _, number in kinds], np.int64)
    counted = np.where(ignored, 0, pixels)
    # (M, K) of 0 and 1: which of the M combinations hold which class
    members = (fields[:, np.newaxis] >> np.arange(len(classes), dtype=np.uint64) & np.uint64(1)).astype(np.int64)
    covered = members * counted[:, np.newaxis]
    lengths = [len(record.combinations) for record in records]
    return PixelCounts(
        counted=_sums(counted, lengths),
        ignored=_sums(pixels - counted, lengths),
        classes=_sums(covered, lengths),
        overlaps=covered.T @ members,
    )


def class_weights(fractions: NDArray[np.float64], config: LossConfig) -> list[float]:
    """Weight of each class's foreground in the cross-entropy.

    *Formula*: ``1``, or ``total / class`` pixels, or ``(total - class) / class`` pixels, at least 1 and at most
    ``max_class_weight``. A class that the scans do not hold gets 1. Weights that were given are taken as they are.

    Args:
        fractions: share of the counted pixels that each class covers, ``(K,)``.
        config: the rule and the cap, or the weights.

    Raises:
        UsageError: another number of weights was given than there are classes.
    """
    given = config.given_class_weights
    if not given:
        return _weights_by_rule(fractions, config.max_class_weight)[config.class_weights]
    if len(given) != len(fractions):
        raise UsageError(
            f"loss.given_class_weights: must be one weight for each of {len(fractions)} classes, found {list(given)}"
        )
    return list(given)


def _weights_by_rule(fractions: NDArray[np.float64], cap: float) -> dict[str, list[float]]:
    with np.errstate(divide="ignore"):
        raw = {
            "none": np.ones_like(fractions),
            "total_over_class": 1 / fractions,
            "inverse_frequency": (1 - fractions) / fractions,
        }
    return {rule: np.where(fractions > 0, np.clip(found, 1, cap), 1.0).tolist() for rule, found in raw.items()}


def _sums(values: NDArray[np.int64], lengths: Sequence[int]) -> NDArray[np.int64]:
    """Sums of consecutive runs of rows: ``(M, ...)`` and the N lengths of the runs give ``(N, ...)``."""
    # Differences of running sums, not reduceat: that one gets empty runs wrong.
    running = np.concatenate([np.zeros((1, *values.shape[1:]), np.int64), values.cumsum(axis=0)])
    ends = np.cumsum([0, *lengths])
    sums: NDArray[np.int64] = np.diff(running[ends], axis=0)
    return sums


def _shares(overlaps: NDArray[np.int64]) -> tuple[tuple[float | None, ...], ...]:
    """Each row of pixels, ``(K, K)``, as shares of its diagonal; None where that is 0."""
    return tuple(
        tuple(int(pixels) / int(row[i]) if row[i] else None for pixels in row) for i, row in enumerate(overlaps)
    )


def _named(classes: Sequence[str], values: NDArray[np.generic]) -> dict[str, Any]:
    """Plain numbers by class."""
    return dict(zip(classes, values.tolist(), strict=True))
