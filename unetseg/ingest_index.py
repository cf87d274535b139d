"""The index of a dataset before an ingest, and after it: splits of new groups, scans that are left out, suspicions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from unetseg.dataset_index import Index, empty_index, is_older, known_splits
from unetseg.ingest_outcomes import Outcomes
from unetseg.project import Project
from unetseg.scan_record import ScanRecord
from unetseg.splits import Move, assign_splits, inherited_splits
from unetseg.suspicions import find_suspicions
from unetseg.words import counted, first_of

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
    moves = _moves(before, groups, known, fixed)
    _say_left_out(before, outcomes)
    splits = dict.fromkeys(groups.values(), only_split) if only_split else {}
    splits = splits or assign_splits(groups.values(), known, project.settings.ingest, fixed, moves)
    _say_moved(moves)  # not before: where a split would be left empty, none has
    scans = {key: replace(record, split=splits[record.group]) for key, record in records.items()}
    gone = {key: replace(record, vanished=True) for key, record in before.scans.items() if key not in scans}
    index = replace(empty_index(project), splits=splits, scans=scans | gone, quarantine=outcomes.bad)
    index = replace(index, unlabelled=tuple(sorted(outcomes.unlabelled)))
    return replace(index, suspicions=find_suspicions(index.scans.values(), index.classes))


def _moves(before: Index, groups: Mapping[str, str], known: Mapping[str, str], fixed: Mapping[str, str]) -> list[Move]:
    """Scans whose split is another because their groups are; those that a table moves are told there."""
    decided = {key: before.scans[key].split for key in groups if key in before.scans}
    return [
        Move(key, groups[key], split, known[groups[key]])
        for key, split in decided.items()
        if split and groups[key] not in fixed and known[groups[key]] != split
    ]


def _say_moved(moves: Sequence[Move]) -> None:
    if moves:
        named = first_of((f"{move.scan} to {move.split}" for move in moves), _NAMED)
        logger.warning(
            "splits: %s moved with their new groups: %s; scores of models trained before do not compare",
            *(counted(len(moves), "scan"), named),
        )


def _say_left_out(before: Index, outcomes: Outcomes) -> None:
    """Warn of scans that are no longer used: all that lost their masks, and those that went from validation or test."""
    unlabelled = set(outcomes.unlabelled)
    left = [scan for key, scan in sorted(before.scans.items()) if key not in outcomes.good and not scan.vanished]
    lost = [scan for scan in left if scan.id in unlabelled]
    gone = [scan for scan in left if scan.id not in unlabelled and scan.split != "train"]
    if lost:
        logger.warning(
            "ingest: since the last ingest all masks of %s are gone: %s; scans without masks are left out",
            *(counted(len(lost), "scan"), _with_splits(lost)),
        )
    if gone:
        logger.warning(
            "ingest: since the last ingest %s of validation or test is gone or cannot be used: %s; scores are those of "
            "the other scans",
            *(counted(len(gone), "scan"), _with_splits(gone)),
        )


def _with_splits(scans: Sequence[ScanRecord]) -> str:
    return first_of((f"{scan.id} ({scan.split})" for scan in scans), _NAMED)
