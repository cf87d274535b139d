"""Which scans belong together, so that one never trains while another tests: by the table, else by a pattern."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from unetseg.errors import UsageError
from unetseg.scan_table import ScanTable
from unetseg.words import counted

__all__ = ["fixed_splits", "group_of", "groups_of"]

logger = logging.getLogger(__name__)

_NAMED = 5  # rows that a warning names


def group_of(scan_id: str, pattern: str, table: ScanTable | None = None) -> str:
    """The group of a scan: what the table says, else what the pattern finds in its id, else the id itself.

    Args:
        scan_id: such as ``ann/left``.
        pattern: a regular expression; its first bracket is the group, or all that it matches. Empty: none.
        table: of the user's, whose word goes first.

    >>> group_of("ann/left", "^([^/]+)/"), group_of("ann/left", "")
    ('ann', 'ann/left')
    """
    return (table.group(scan_id) if table else None) or _found(pattern, scan_id) or scan_id


def groups_of(
    scan_ids: Sequence[str], pattern: str, table: ScanTable | None = None, *, must_fit: bool = True
) -> dict[str, str]:
    """The group of every scan, by id, as `group_of` tells it; scans that the pattern does not fit are told.

    Args:
        scan_ids: of all scans.
        pattern: as for `group_of`.
        table: likewise.
        must_fit: whether a pattern that fits none is an error, since patients would be torn between splits.

    Raises:
        UsageError: the pattern fits no scan, and the table leaves the group of some open.
    """
    if pattern:
        _check_fits(scan_ids, pattern, table, must_fit=must_fit)
    return {scan_id: group_of(scan_id, pattern, table) for scan_id in scan_ids}


def _found(pattern: str, scan_id: str) -> str:
    """What the pattern finds in an id; empty where it finds nothing."""
    found = re.search(pattern, scan_id) if pattern else None
    return (found.group(1 if found.re.groups else 0) if found else "") or ""


def _check_fits(scan_ids: Sequence[str], pattern: str, table: ScanTable | None, *, must_fit: bool) -> None:
    """Refuse a pattern that fits no scan, and tell of scans that it does not fit; what the table says needs none."""
    unfit = [scan_id for scan_id in scan_ids if not _found(pattern, scan_id)]
    alone = [scan_id for scan_id in unfit if not (table and table.group(scan_id))]
    if alone and must_fit and len(unfit) == len(scan_ids):
        raise UsageError(
            f"sources.scans.group: {pattern!r} must be found in the ids of scans, found in none of "
            f"{counted(len(unfit), 'scan')}, such as {alone[0]!r}, so that scans of one patient would come into "
            "several splits; correct the expression, or leave it empty if every scan is its own group"
        )
    if alone:
        logger.warning(
            "sources.scans.group: %r is not found in %d of %s, such as %r: each of these is a group of its own",
            *(pattern, len(alone), counted(len(scan_ids), "scan"), alone[0]),
        )


def fixed_splits(table: ScanTable, groups: Mapping[str, str]) -> Mapping[str, str]:
    """The splits that the table decides; rows that no scan has are told."""
    if unknown := table.unknown(groups):
        fit = "fits" if len(unknown) == 1 else "fit"
        named = ", ".join(unknown[:_NAMED])
        logger.warning("%s: %s %s no scan: %s", table.path, counted(len(unknown), "row"), fit, named)
    return table.group_splits(groups)
