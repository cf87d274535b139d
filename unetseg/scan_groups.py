"""Which scans belong together, so that one never trains while another tests: by the table, else by a pattern."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from unetseg.scan_table import ScanTable

__all__ = ["fixed_splits", "group_of"]

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
    found = re.search(pattern, scan_id) if pattern else None
    matched = found.group(1 if found.re.groups else 0) if found else ""
    return (table.group(scan_id) if table else None) or matched or scan_id


def fixed_splits(table: ScanTable, groups: Mapping[str, str]) -> Mapping[str, str]:
    """The splits that the table decides; rows that no scan has are told."""
    if unknown := table.unknown(groups):
        logger.warning("%s: %d rows fit no scan: %s", table.path, len(unknown), ", ".join(unknown[:_NAMED]))
    return table.group_splits(groups)
