"""Decide once which groups train, validate and test, and never move one.

Each new group goes, in the order of the hash of its name, to a split that is empty, else to the one that lacks
most. So a small set fills every split, and tonight's new scans cannot push yesterday's test scan into training.
Only a table of the user's moves a group, and that is said.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from unetseg.config import IngestConfig
from unetseg.errors import DataError
from unetseg.storage import text_hash
from unetseg.words import first_of

__all__ = ["SPLITS", "Move", "assign_splits", "inherited_splits"]

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
_NAMED = 5  # moved groups or scans that a message names
_NOTHING_FIXED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Move:
    """A scan that leaves its split, since its group was defined anew and most of that one's scans are in another.

    Attributes:
        scan: its id.
        group: that it is in now.
        before: the split that it leaves.
        split: the split of its group.
    """

    scan: str
    group: str
    before: str
    split: str


def assign_splits(
    groups: Iterable[str],
    known: Mapping[str, str],
    config: IngestConfig,
    fixed: Mapping[str, str] = _NOTHING_FIXED,
    moves: Sequence[Move] = (),
) -> dict[str, str]:
    """Give every group a split; groups that have one keep it, unless the user's table says another.

    Args:
        groups: names of the groups that hold scans now.
        known: splits decided before, also of groups that have vanished since.
        config: the shares of validation and test.
        fixed: splits that the table gives to groups, also to some that hold no scans; the others fill up around them.
        moves: scans that leave their split with their groups, to say why a split is empty.

    Returns:
        Split of every group, old and new.

    Raises:
        DataError: fewer than three groups, or a split that no group is free to fill.
    """
    present = set(groups)
    _check_enough(present)
    told = {name: split for name, split in fixed.items() if name in present or name in known}
    _say_moved(known, told)
    result = {**known, **told}
    counts = Counter(result[name] for name in present if name in result)
    wanted = _wanted(len(present), config)
    for name in sorted(present - set(result), key=lambda name: text_hash("split", name)):
        result[name] = max(SPLITS, key=lambda split: (not counts[split], wanted[split] - counts[split]))
        counts[result[name]] += 1
    _check_filled(counts, told, moves)
    return result


def inherited_splits(decided: Mapping[str, str], groups: Mapping[str, str]) -> dict[str, str]:
    """Splits of groups that were defined anew: those that most of their scans have been in.

    Args:
        decided: the split of each scan that has one, by id.
        groups: the group that each scan is in now, by id.

    Returns:
        A split for each group of which some scan has been in one.
    """
    counts: dict[str, Counter[str]] = {}
    for scan_id, group in groups.items():
        if split := decided.get(scan_id):
            counts.setdefault(group, Counter())[split] += 1
    # Of splits with as many scans, train comes first: what was trained on must not become a test.
    return {group: max(SPLITS, key=lambda split: found[split]) for group, found in counts.items()}


def _check_enough(present: set[str]) -> None:
    if len(present) < len(SPLITS):
        raise DataError(
            f"splits: at least {len(SPLITS)} groups of scans are needed to train, validate and test apart, found "
            f"{len(present)} ({', '.join(sorted(present)) or 'none'}); add scans, or change sources.scans.group"
        )


def _say_moved(known: Mapping[str, str], told: Mapping[str, str]) -> None:
    """Warn once of all groups that leave their split: scores of models before and after do not compare."""
    moved = sorted(name for name, split in told.items() if known.get(name, split) != split)
    if moved:
        named = first_of((f"{name} from {known[name]} to {told[name]}" for name in moved), _NAMED, rest=", and {} more")
        logger.warning(
            "splits: the table moves %d group%s: %s; scores of models trained before do not compare with new ones",
            *(len(moved), "s" if len(moved) > 1 else "", named),
        )


def _wanted(total: int, config: IngestConfig) -> dict[str, float]:
    """How many groups each split should hold: its share, but at least one."""
    validation = max(1.0, config.validation_fraction * total)
    test = max(1.0, config.test_fraction * total)
    return {"train": total - validation - test, "validation": validation, "test": test}


def _check_filled(counts: Mapping[str, int], told: Mapping[str, str], moves: Sequence[Move]) -> None:
    """Refuse a split without groups; the way out depends on whether a table had a say."""
    empty = [split for split in SPLITS if not counts.get(split)]
    names = " and ".join(empty)
    if empty and told:
        raise DataError(
            f"splits: no group is in {names}, and none is free to fill it: the table sources.scans.table puts "
            f"{len(told)} groups elsewhere, and groups decided before do not move by themselves; give groups of the "
            f"table the split {names}, or leave the split of some new groups empty"
        )
    if empty:
        reasons = "; ".join(_why_left(split, [move for move in moves if move.before == split]) for split in empty)
        raise DataError(f"splits: {reasons}, or delete dataset.zarr to decide the splits anew")


def _why_left(split: str, moves: Sequence[Move]) -> str:
    """Why a split has lost its last group, and what brings one back."""
    if not moves:
        why, way_out = "its scans vanished, lost their masks or cannot be read", "bring them back"
    else:
        named = first_of((f"{move.scan} with {move.group!r} to {move.split}" for move in moves), _NAMED)
        why = f"its scans would move: sources.scans.group, or the table, defines groups anew: {named}"
        way_out = "define the groups as they were"
    return f"no group is left in {split}, because {why}; {way_out}"
