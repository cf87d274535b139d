"""Tables of small records, as CSV for people and as Parquet for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetseg.storage import write_bytes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["write_rows"]


def write_rows(folder: Path, name: str, kind: type[DataclassInstance], rows: Sequence[DataclassInstance]) -> None:
    """Write ``<name>.csv`` and ``<name>.parquet``, one line per row.

    Args:
        folder: that gets both.
        name: of both files.
        kind: class of the rows; its fields are int, float or str, or None where nothing is known.
        rows: in the order of the lines.
    """
    plain = [vars(row) for row in rows]  # `asdict` copies each value, which takes longer than all else here
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(field.name for field in fields(kind))
    writer.writerows(row.values() for row in plain)
    write_bytes(folder / f"{name}.parquet", _parquet(kind, plain))
    write_bytes(folder / f"{name}.csv", text.getvalue().encode())


def _parquet(kind: type[DataclassInstance], rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows with the types of their class, also where a column holds nothing."""
    import pyarrow
    import pyarrow.parquet

    types = {"int": pyarrow.int64(), "float": pyarrow.float64(), "str": pyarrow.string()}
    schema = pyarrow.schema([(field.name, types[str(field.type).split(" ")[0]]) for field in fields(kind)])
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), stream)
    return stream.getvalue()
