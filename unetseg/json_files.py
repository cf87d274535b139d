"""JSON files, strict and replaced at once, wherever they are."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from unetseg.errors import DamagedFileError
from unetseg.storage import read_bytes, write_bytes

__all__ = ["as_json", "parse_json", "read_json", "write_json"]


def read_json(path: Path) -> Any:  # noqa: ANN401 (JSON)
    """The JSON value in a file.

    Raises:
        DamagedFileError: it cannot be read as such.
    """
    return parse_json(path, read_bytes(path))


def write_json(path: Path, value: Any, *, one_of_many: bool = False) -> None:  # noqa: ANN401 (JSON)
    """Replace a JSON file at once; not-a-number becomes ``null`` (strict JSON).

    Args:
        path: of the file.
        value: what it is to hold.
        one_of_many: it is written in one line and not flushed (see `write_bytes`), since there are very many such
            files, and each can be made again.
    """
    write_bytes(path, as_json(value, indent=None if one_of_many else 1), flush=not one_of_many)


def parse_json(path: Path, data: bytes) -> Any:  # noqa: ANN401 (JSON)
    """The JSON value in what was read from a file.

    Raises:
        DamagedFileError: it cannot be read as such.
    """
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(
            f"{path}: damaged, not valid JSON ({error}); restore it from a copy, or remove it"
        ) from error


def as_json(value: Any, *, indent: int | None = 1) -> bytes:  # noqa: ANN401 (JSON)
    """What `write_json` writes."""
    write = partial(json.dumps, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text = write(value)
    except ValueError:  # one of the numbers is none, which is rare, and to look for takes as long as to write
        text = write(_finite(value))
    # File names may hold bytes that are no text: as escapes they come back as they were.
    return text.encode(errors="backslashreplace")


def _finite(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not (abs(value) < float("inf")):
        return None
    return value
