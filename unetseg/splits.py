"""Decide once which groups train, validate and test, and never move one.

Each new group goes, in the order of the hash of its name, to a split that is empty, else to the one that lacks
most. So a small set fills every split, and tonight's new scans cannot push yesterday's test scan into training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from unetseg.config import IngestConfig
from unetseg.errors import DataError
from unetseg.storage import text_hash

__all__ = ["SPLITS", "assign_splits"]

SPLITS = ("train", "validation", "test")


def assign_splits(groups: Iterable[str], known: Mapping[str, str], config: IngestConfig) -> dict[str, str]:
    """Give every group a split; groups that have one keep it.

    Args:
        groups: names of the groups that hold scans now.
        known: splits decided before, also of groups that have vanished since.
        config: the shares of validation and test.

    Returns:
        Split of every group, old and new.

    Raises:
        DataError: fewer than three groups, so that a split would be empty.
    """
    present = set(groups)
    if len(present) < len(SPLITS):
        raise DataError(
            f"splits: at least {len(SPLITS)} groups of scans are needed to train, validate and test apart, found "
            f"{len(present)} ({', '.join(sorted(present)) or 'none'}); add scans, or change sources.scans.group"
        )
    result = dict(known)
    counts = Counter(result[name] for name in present if name in result)
    wanted = _wanted(len(present), config)
    for name in sorted(present - set(result), key=lambda name: text_hash("split", name)):
        result[name] = max(SPLITS, key=lambda split: (not counts[split], wanted[split] - counts[split]))
        counts[result[name]] += 1
    _check_filled(counts)
    return result


def _wanted(total: int, config: IngestConfig) -> dict[str, float]:
    """How many groups each split should hold: its share, but at least one."""
    validation = max(1.0, config.validation_fraction * total)
    test = max(1.0, config.test_fraction * total)
    return {"train": total - validation - test, "validation": validation, "test": test}


def _check_filled(counts: Counter[str]) -> None:
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        raise DataError(
            f"splits: no group is left in {' and '.join(empty)}, because its scans vanished or cannot be read; "
            "bring them back, or delete dataset.zarr to decide the splits anew"
        )
