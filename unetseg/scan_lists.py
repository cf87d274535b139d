"""Lists of scans: a text file with one path per line, or a table (CSV, TSV) with a column ``scan``.

::

    # plates of the first week
    plate1/a.tif
    /data/plate2/b.tif
    s3://bucket/c.ome.zarr

Relative paths are relative to the list's folder. Names, and so outputs, are the paths below the deepest folder that
holds all scans; in a text file, lines that begin with '#' are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from unetseg.csv_cells import read_cells, read_text
from unetseg.errors import UsageError
from unetseg.storage import is_remote, locate, stands_alone

__all__ = ["is_scan_list", "listed_scans"]

_TEXT, _TABLES = ".txt", (".csv", ".tsv")
_COLUMN, _COMMENT = "scan", "#"
_WHAT, _CHECK = "list of scans", "the path"


def is_scan_list(path: Path) -> bool:
    """Whether a path is a file that lists scans, by its suffix."""
    return path.name.lower().endswith((_TEXT, *_TABLES)) and path.is_file()


def listed_scans(path: Path) -> list[tuple[Path, str]]:
    """The scans that a list names, each once, with their paths below their common folder; whether they exist is open.

    Args:
        path: of the list, local or in an object store.

    Raises:
        UsageError: the list is empty, is no UTF-8, has no column ``scan``, or an address that nobody knows.
    """
    text = read_text(path, what=_WHAT, check=_CHECK)
    written = _column(path, text) if path.name.lower().endswith(_TABLES) else _lines(text)
    found = list(dict.fromkeys(_located(path, line, name) for line, name in written))
    if not found:
        raise UsageError(f"{path}: list of scans is empty; write one path per line")
    parts = [_parts(scan) for scan in found]
    together = zip(*(item[:-1] for item in parts), strict=False)
    common = len(list(takewhile(lambda names: len(set(names)) == 1, together)))
    return [(scan, "/".join(item[common:])) for scan, item in zip(found, parts, strict=True)]


def _lines(text: str) -> Iterable[tuple[int, str]]:
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line and not line.startswith(_COMMENT)]


def _column(path: Path, text: str) -> Iterable[tuple[int, str]]:
    table = read_cells(path, text)
    header = [name.strip().lower() for name in table[0][1]] if table else []
    if header.count(_COLUMN) != 1:
        raise UsageError(
            f"{path}, line 1: needs one column {_COLUMN!r}, found {', '.join(header) or 'an empty file'}; name the "
            "column with the paths so, or give a text file (.txt) with one path per line"
        )
    at = header.index(_COLUMN)
    cells = ((line, row[at].strip() if at < len(row) else "") for line, row in table[1:])
    return [(line, cell) for line, cell in cells if cell]


def _located(path: Path, line: int, name: str) -> Path:
    """The absolute path of what a line names; without '..', which must not get into the names of outputs."""
    try:
        found = locate(name if stands_alone(name) else f"{path.parent}/{name}")
    except UsageError as error:
        raise UsageError(f"{path}, line {line}: {error}") from error
    return found if is_remote(found) else Path(os.path.normpath(found))


def _parts(path: Path) -> list[str]:
    """Folders and name; of an address from its bucket on."""
    return [part for part in str(path).rpartition("://")[2].split("/") if part]
