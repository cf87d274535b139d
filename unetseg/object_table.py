"""The table of a prediction: what was found of each class on each scan, as CSV and as Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.ome import PixelSize
from unetseg.storage import write_bytes

__all__ = ["ObjectRow", "object_rows", "write_table"]


@dataclass(frozen=True)
class ObjectRow:
    """One line of the table: one class on one scan.

    Attributes:
        scan: the scan's id.
        class_name: the class.
        pixels: area in pixels.
        fraction: of the scan's pixels.
        area_um2: area in square micrometres, where the pixel size is known.
        objects: connected components (8 neighbours).
        object_pixels_median: of their areas; None without objects.
        object_pixels_max: largest area; None without objects.
        uncertainty: mean of ``2 min(p, 1 - p)`` over the pixels with p > 0.05: 0 is sure, 1 is guessing.
        height: of the scan, in pixels.
        width: of the scan, in pixels.
    """

    scan: str
    class_name: str
    pixels: int
    fraction: float
    area_um2: float | None
    objects: int
    object_pixels_median: float | None
    object_pixels_max: int | None
    uncertainty: float
    height: int
    width: int


def object_rows(
    scan: str,
    areas: Sequence[NDArray[np.int64]],
    shape: tuple[int, int],
    classes: Sequence[str],
    uncertainty: NDArray[np.float64],
    pixel_size: PixelSize,
) -> list[ObjectRow]:
    """Measure each class of one scan.

    Args:
        scan: its id.
        areas: of the objects of each class, in pixels.
        shape: height and width of the scan in pixels.
        classes: K names.
        uncertainty: per class, ``(K,)``.
        pixel_size: ``(y, x)`` in micrometres, or None.
    """
    rows = []
    for name, found, doubt in zip(classes, areas, uncertainty.tolist(), strict=True):
        pixels = int(found.sum())
        rows.append(
            ObjectRow(
                scan=scan,
                class_name=name,
                pixels=pixels,
                fraction=pixels / (shape[0] * shape[1]),
                area_um2=pixels * pixel_size[0] * pixel_size[1] if pixel_size else None,
                objects=len(found),
                object_pixels_median=float(np.median(found)) if len(found) else None,
                object_pixels_max=int(found.max()) if len(found) else None,
                uncertainty=doubt,
                height=shape[0],
                width=shape[1],
            )
        )
    return rows


def write_table(folder: Path, rows: Sequence[ObjectRow]) -> bool:
    """Write ``table.csv`` and ``table.parquet``, one row per scan and class.

    Returns:
        Whether anything is new; a table that is as it was is left alone.
    """
    plain = [asdict(row) for row in rows]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(ObjectRow.__dataclass_fields__))
    writer.writeheader()
    writer.writerows(plain)
    table, parquet = text.getvalue().encode(), folder / "table.parquet"
    path = folder / "table.csv"
    if parquet.exists() and path.exists() and path.read_bytes() == table:
        return False
    write_bytes(parquet, _parquet(plain))
    write_bytes(path, table)
    return True


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows with the types of `ObjectRow`, also where a column holds nothing."""
    import pyarrow
    import pyarrow.parquet

    types = {"int": pyarrow.int64(), "float": pyarrow.float64(), "str": pyarrow.string()}
    columns = ObjectRow.__dataclass_fields__.items()
    schema = pyarrow.schema([(name, types[str(item.type).split(" ")[0]]) for name, item in columns])
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), stream)
    return stream.getvalue()
