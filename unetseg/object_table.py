"""The table of a prediction: what was found of each class on each scan, as CSV and as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetseg.ome import PixelSize
from unetseg.tables import write_rows

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
        near_threshold: share of the marked and nearly marked pixels whose probability is near the threshold, as
            `unetseg.near_threshold` defines it: 0 is sure, 1 is guessing.
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
    near_threshold: float
    height: int
    width: int


def object_rows(
    scan: str,
    areas: Sequence[NDArray[np.int64]],
    shape: tuple[int, int],
    classes: Sequence[str],
    near_threshold: NDArray[np.float64],
    pixel_size: PixelSize,
) -> list[ObjectRow]:
    """Measure each class of one scan.

    Args:
        scan: its id.
        areas: of the objects of each class, in pixels.
        shape: height and width of the scan in pixels.
        classes: K names.
        near_threshold: per class, ``(K,)``.
        pixel_size: ``(y, x)`` in micrometres, or None.
    """
    rows = []
    for name, found, near in zip(classes, areas, near_threshold.tolist(), strict=True):
        pixels = int(found.sum())
        rows.append(
            ObjectRow(
                scan=scan,
                class_name=name,
                pixels=pixels,
                fraction=pixels / (shape[0] * shape[1]),
                area_um2=pixels * pixel_size[0] * pixel_size[1] if pixel_size else None,
                objects=len(found),
                object_pixels_median=_median(found) if len(found) else None,
                object_pixels_max=int(found.max()) if len(found) else None,
                near_threshold=near,
                height=shape[0],
                width=shape[1],
            )
        )
    return rows


def _median(values: NDArray[np.int64]) -> float:
    """NumPy's own takes several times as long for some tens of objects."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def write_table(folder: Path, rows: Sequence[ObjectRow]) -> None:
    """Write ``table.csv`` and ``table.parquet``, one row per scan and class."""
    write_rows(folder, "table", ObjectRow, rows)
