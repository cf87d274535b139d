"""The history of a training: one row of numbers per epoch, kept as ``history.csv``.

A row has ``epoch`` (from 1), ``loss``, ``validation_score``, ``learning_rate``, ``seconds``, and for each class
``train_dice_<class>`` and ``validation_dice_<class>``, in [0, 1]. A class that the patches of a split do not hold has
no Dice there: None or not-a-number, an empty cell in the file.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unetseg.storage import read_bytes, write_bytes

__all__ = ["Row", "best_row", "class_names", "dice_column", "read_history", "series", "write_history"]

Row: TypeAlias = Mapping[str, float | None]

_VALIDATION_DICE: Final = "validation_dice_"


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Replace the CSV file; its columns are those of all rows, in the order in which they first come."""
    columns = list(dict.fromkeys(column for row in rows for column in row)) or ["epoch"]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=columns, restval="")
    writer.writeheader()
    writer.writerows({name: value if _is_measured(value) else "" for name, value in row.items()} for row in rows)
    write_bytes(path, stream.getvalue().encode())


def read_history(path: Path) -> list[dict[str, float | None]]:
    """The rows of a CSV file that :func:`write_history` wrote; None where nothing was measured.

    Raises:
        FileNotFoundError: there is none.
    """
    stream = io.StringIO(read_bytes(path).decode(), newline="")
    return [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(stream)]


def class_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """The classes that the rows tell of, in their order."""
    columns = dict.fromkeys(column for row in rows for column in row if column.startswith(_VALIDATION_DICE))
    return tuple(column.removeprefix(_VALIDATION_DICE) for column in columns)


def dice_column(split: Literal["train", "validation"], name: str) -> str:
    """The column of a class's Dice."""
    return f"{split}_dice_{name}"


def series(rows: Sequence[Row], column: str) -> NDArray[np.float64]:
    """One column, ``(epochs,)``; not-a-number where nothing was measured."""
    values = [row.get(column) for row in rows]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def best_row(rows: Sequence[Row]) -> Row | None:
    """The first row with the highest validation score, whose weights are kept; None where no row has a score."""
    scores = series(rows, "validation_score")
    return None if np.isnan(scores).all() else rows[int(np.nanargmax(scores))]


def _is_measured(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _number(text: str) -> float | None:
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)
