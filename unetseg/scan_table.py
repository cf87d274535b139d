"""A table that says to which group and split scans belong, as papers publish them.

::

    scan,group,split
    p01/left.png,p01,train
    p02/left,p02,test

``scan`` is a scan's id, its path below the folder of scans, or its file name alone where only one scan has that name;
a row for a stack means all its pages. ``group`` or ``split`` may be missing, and so may single values: they are then
decided as without a table. Other columns are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unetseg.csv_cells import read_cells, read_text
from unetseg.errors import UsageError
from unetseg.readers import name_of

__all__ = ["ScanTable", "TableRow", "read_scan_table"]

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
    "testing": "test",
    "holdout": "test",
}
_PAGE = re.compile(r"\.p\d{4,}$")
_NAMED = 3  # scans that a message names


@dataclass(frozen=True)
class TableRow:
    """What the table says of one scan or stack.

    Attributes:
        scan: as it is written there, with '/' between folders.
        group: None where the table leaves it open.
        split: ``train``, ``validation`` or ``test``; None where the table leaves it open.
        line: where it is written, from 1.
    """

    scan: str
    group: str | None
    split: str | None
    line: int


@dataclass(frozen=True)
class ScanTable:
    """The rows of a table, found by the ids of scans.

    Attributes:
        path: the file, for messages.
        rows: rows by the scan as written, and by that without the suffix of an image.
    """

    path: str
    rows: Mapping[str, TableRow]

    def group(self, scan_id: str) -> str | None:
        """The group of a scan; None where the table leaves it open."""
        return next((row.group for row in self._rows_of(scan_id) if row.group), None)

    def split(self, scan_id: str) -> str | None:
        """The split of a scan; None where its own row leaves it open (`group_splits` also looks at its group)."""
        return next((row.split for row in self._rows_of(scan_id) if row.split), None)

    def group_splits(self, groups: Mapping[str, str]) -> dict[str, str]:
        """The splits that the table gives to groups: what `assign_splits` takes as fixed.

        Args:
            groups: the group of every scan, by id, wherever it comes from.

        Raises:
            UsageError: the table puts scans of one group into two splits.
        """
        told = self.rows.values()
        found = {row.group: (row.split, row.scan) for row in told if row.group and row.split}
        for scan_id in sorted(groups):
            if split := self.split(scan_id):
                first, other = found.setdefault(groups[scan_id], (split, scan_id))
                if first != split:
                    raise self._torn(groups[scan_id], (other, first), (scan_id, split))
        return {group: split for group, (split, _) in found.items()}

    def unknown(self, scan_ids: Iterable[str]) -> tuple[str, ...]:
        """What the table calls scans and no scan is, in the order of the table.

        Args:
            scan_ids: the ids of all scans.

        Raises:
            UsageError: a file name alone fits several scans.
        """
        used: dict[int, set[str]] = {}
        for scan_id in scan_ids:
            for row in self._rows_of(scan_id):
                used.setdefault(row.line, set()).add(_stack_of(scan_id))
        rows = {row.line: row for row in self.rows.values()}
        for line in sorted(used):
            self._check_one_scan(rows[line], sorted(used[line]))
        return tuple(rows[line].scan for line in sorted(rows.keys() - used.keys()))

    def _rows_of(self, scan_id: str) -> list[TableRow]:
        """The scan's row, then that of its stack; rows with a file name alone only where there are no others."""
        names = list(dict.fromkeys((scan_id, _stack_of(scan_id))))
        for keys in (names, [name.rpartition("/")[2] for name in names]):
            if found := [self.rows[key] for key in keys if key in self.rows]:
                return found
        return []

    def _check_one_scan(self, row: TableRow, scans: Sequence[str]) -> None:
        if len(scans) > 1:
            raise UsageError(
                f"{self.path}, line {row.line}: {row.scan!r} must mean one scan or stack, fits {len(scans)} "
                f"({', '.join(scans[:_NAMED])}); give each its own row, with its path below the folder of scans"
            )

    def _torn(self, group: str, *scans: tuple[str, str]) -> UsageError:
        found = " and ".join(f"{scan_id} in {split}" for scan_id, split in scans)
        return UsageError(
            f"{self.path}: group {group!r} must lie in one split, found {found}; correct their splits, or give them "
            "different groups"
        )


def read_scan_table(path: str | Path) -> ScanTable:
    """Read a table of scans: CSV, TSV or semicolons, in UTF-8, with a header.

    Args:
        path: the file; a column ``scan``, and ``group``, ``split`` or both.

    Raises:
        UsageError: no such file or not UTF-8; a column is missing; a row does not fit the header, gives a scan other
            values than before, or an unknown split; a group lies in two splits.
    """
    table = read_cells(path, read_text(path, what="table of scans", check="sources.scans.table"))
    header = [name.strip().lower() for name in table[0][1]] if table else []
    _check_header(path, header)
    rows: dict[str, TableRow] = {}
    splits: dict[str, TableRow] = {}
    for line, cells in table[1:]:
        row = _row(path, line, header, cells)
        _check_group(path, row, splits)
        keys = (row.scan, name_of(row.scan) or row.scan)
        first = next((rows[key] for key in keys if key in rows), row)
        _check_same(path, row, first)
        rows.update(dict.fromkeys(keys, first))
    return ScanTable(str(path), rows)


def _check_header(path: str | Path, header: Sequence[str]) -> None:
    found = ", ".join(header) or "an empty file"
    if "scan" not in header or not {"group", "split"} & set(header):
        raise UsageError(
            f"{path}, line 1: needs a column 'scan' and a column 'group' or 'split', found {found}; "
            "name the columns so in the first line"
        )
    twice = [name for name in ("scan", "group", "split") if header.count(name) > 1]
    if twice:
        raise UsageError(f"{path}, line 1: column {twice[0]!r} must be there once, found {found}; rename one of them")


def _row(path: str | Path, line: int, header: Sequence[str], cells: Sequence[str]) -> TableRow:
    if len(cells) > len(header):
        raise UsageError(
            f"{path}, line {line}: needs at most {len(header)} cells, one per column, found {len(cells)} "
            f"({', '.join(cells)}); quote a value that holds the separator"
        )
    values = dict(zip(header, (cell.strip() for cell in cells), strict=False))
    scan = values.get("scan", "").replace("\\", "/").removeprefix("./")
    if not scan:
        raise UsageError(f"{path}, line {line}: needs a value in column 'scan', found none; add it or remove the row")
    return TableRow(scan, values.get("group") or None, _split_name(path, line, values.get("split", "")), line)


def _split_name(path: str | Path, line: int, value: str) -> str | None:
    if value and value.lower() not in _SPLIT_NAMES:
        raise UsageError(
            f"{path}, line {line}: split must be one of {', '.join(_SPLIT_NAMES)}, found {value!r}; correct it, or "
            "leave it empty to have it decided"
        )
    return _SPLIT_NAMES[value.lower()] if value else None


def _check_group(path: str | Path, row: TableRow, seen: dict[str, TableRow]) -> None:
    """Refuse a group in two splits; ``seen`` holds the first row with a split per group."""
    if row.group and row.split and seen.setdefault(row.group, row).split != row.split:
        first = seen[row.group]
        raise UsageError(
            f"{path}, line {row.line}: group {row.group!r} must lie in one split, found {row.split} and in line "
            f"{first.line} {first.split}; correct one of them, or give the scans different groups"
        )


def _check_same(path: str | Path, row: TableRow, first: TableRow) -> None:
    if (row.group, row.split) != (first.group, first.split):
        raise UsageError(
            f"{path}, line {row.line}: scan {row.scan!r} must have the same values everywhere, found group "
            f"{row.group or '(empty)'}, split {row.split or '(empty)'}, and in line {first.line} group "
            f"{first.group or '(empty)'}, split {first.split or '(empty)'}; remove one of the rows"
        )


def _stack_of(scan_id: str) -> str:
    """The id without the number of a page."""
    return _PAGE.sub("", scan_id)
