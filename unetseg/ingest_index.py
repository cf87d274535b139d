"""The index of a dataset before an ingest, and after it: splits of new groups, scans that vanished, suspicions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from unetseg.dataset_index import Index, empty_index, is_older, known_splits
from unetseg.ingest_outcomes import Outcomes
from unetseg.project import Project
from unetseg.scan_record import ScanRecord
from unetseg.splits import assign_splits, inherited_splits
from unetseg.suspicions import find_suspicions

__all__ = ["index_before", "update_index"]

logger = logging.getLogger(__name__)

_NAMED = 5  # scans that a warning names


def index_before(project: Project) -> Index:
    """What is known of the dataset; where there is no index, or one of an earlier version, only the splits."""
    older = is_older(project.dataset)
    if older:
        logger.warning("%s was left by an earlier version: all scans are stored anew, splits kept", project.dataset)
    elif index := Index.load(project.dataset):
        return index
    return replace(empty_index(project), splits=known_splits(project.dataset))


def update_index(
    project: Project, before: Index, outcomes: Outcomes, fixed: Mapping[str, str], only_split: str
) -> Index:
    """The new index: splits decided for new groups, scans whose sources are gone marked."""
    records = {key: outcomes.good[key].record for key in sorted(outcomes.good)}
    groups = {key: record.group for key, record in records.items()}
    known = inherited_splits({key: record.split for key, record in before.scans.items()}, groups) | before.splits
    splits = dict.fromkeys(groups.values(), only_split) if only_split else {}
    splits = splits or assign_splits(groups.values(), known, project.settings.ingest, fixed)
    scans = {key: replace(record, split=splits[record.group]) for key, record in records.items()}
    _say_moved(before, [record for record in scans.values() if record.group not in fixed])
    gone = {key: replace(record, vanished=True) for key, record in before.scans.items() if key not in scans}
    index = replace(empty_index(project), splits=splits, scans=scans | gone, quarantine=outcomes.bad)
    return replace(index, suspicions=find_suspicions(index.scans.values(), index.classes))


def _say_moved(before: Index, scans: Sequence[ScanRecord]) -> None:
    """Warn of scans whose split is another because their groups are; those that a table moves are told there."""
    moved = [scan for scan in scans if before.scans.get(scan.id, scan).split not in ("", scan.split)]
    if moved:
        named = ", ".join(f"{scan.id} to {scan.split}" for scan in moved[:_NAMED])
        logger.warning(
            "splits: %d scans moved with their new groups: %s; scores of models trained before do not compare",
            *(len(moved), named),
        )
