"""Text and tables that people write: UTF-8, with commas, tabs or semicolons."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from unetseg.errors import UsageError
from unetseg.storage import locate

__all__ = ["read_cells", "read_text"]

_DELIMITERS = ",\t;"  # the semicolon is what spreadsheets write where the comma is the decimal sign


def read_text(path: str | Path, *, what: str, check: str) -> str:
    """The text of a file.

    Args:
        path: the file, local or in an object store.
        what: it is, for messages.
        check: the setting that names it, for messages.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    try:
        return locate(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: must be UTF-8 ({error}); save it again as CSV UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: {what} cannot be read ({error.strerror or error}); check {check}") from error


def read_cells(path: str | Path, text: str) -> list[tuple[int, list[str]]]:
    """The rows of a table that hold something, each with the number of its (last) line.

    Args:
        path: for messages.
        text: of the table; the separator is the one that is most frequent in its first line.

    Raises:
        UsageError: quotes are wrong.
    """
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=header.count), strict=True)
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {reader.line_num}: not valid CSV ({error}); close or remove the quotes, or save it again"
        ) from None
