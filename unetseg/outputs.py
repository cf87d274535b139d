"""Outputs of prediction: one file per scan, in a format that other tools open; and the table of what was found.

A new format is one class here: a suffix, ``write`` and ``read``, and one line in `FORMATS`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from unetseg.ome import image_metadata, write_array, write_group
from unetseg.storage import write_bytes, write_folder

__all__ = ["FORMATS", "Format", "ObjectRow", "describe_masks", "write_table"]

_CHUNK = 512  # pixels: masks compress to almost nothing, so larger chunks than for training
_TILE = 256  # pixels: TIFF tiles that viewers load one by one
_FULL = 255  # foreground in TIFF: visible without adjusting contrast


class Format(Protocol):
    """How the planes of one scan are written and read back."""

    suffix: str

    def write(
        self, path: Path, planes: NDArray[np.uint8], names: Sequence[str], pixel_size: PixelSize, *, white: int = 1
    ) -> None:
        """Write a file, which appears complete.

        Args:
            path: of the file, with this format's suffix.
            planes: ``(K, H, W)``: masks of 0 and 1, or probabilities of 0 to 255.
            names: of the classes.
            pixel_size: ``(y, x)`` in micrometres, or None.
            white: the value that stands for full: 1 for masks, 255 for probabilities.
        """
        ...

    def read(self, path: Path) -> NDArray[np.uint8]:
        """The masks ``(K, H, W)`` of 0 and 1, as they were given to `write`."""
        ...


PixelSize = tuple[float, float] | None


class OmeZarr:
    """An OME-Zarr 0.5 image ``(c, y, x)``, one plane per class, 0 and 1."""

    suffix = ".ome.zarr"

    def write(
        self, path: Path, planes: NDArray[np.uint8], names: Sequence[str], pixel_size: PixelSize, *, white: int = 1
    ) -> None:
        """See `Format`."""
        with write_folder(path) as folder:
            ome = image_metadata(path.name.removesuffix(self.suffix), names, pixel_size, window=(0.0, float(white)))
            write_array(write_group(folder, {"ome": ome}) / "0", planes, chunk=_CHUNK)

    def read(self, path: Path) -> NDArray[np.uint8]:
        """See `Format`."""
        return np.asarray(zarr.open_array(path / "0", mode="r"), dtype=np.uint8)


class Tiff:
    """A multi-page OME-TIFF, one page per class; masks are 0 and 255."""

    suffix = ".ome.tif"

    def write(
        self, path: Path, planes: NDArray[np.uint8], names: Sequence[str], pixel_size: PixelSize, *, white: int = 1
    ) -> None:
        """See `Format`."""
        stream = io.BytesIO()
        metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": list(names)}}
        if pixel_size:
            metadata |= {"PhysicalSizeY": pixel_size[0], "PhysicalSizeX": pixel_size[1]}
            metadata |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
        shown = planes * np.uint8(_FULL // white)
        tifffile.imwrite(
            stream,
            shown,
            ome=True,
            metadata=metadata,
            compression="zlib",
            tile=(_TILE, _TILE),
            photometric="minisblack",
        )
        write_bytes(path, stream.getvalue())

    def read(self, path: Path) -> NDArray[np.uint8]:
        """See `Format`."""
        planes = np.asarray(tifffile.imread(path), dtype=np.uint8)
        return (planes if planes.ndim == 3 else planes[None]) // np.uint8(_FULL)


FORMATS: Mapping[str, Format] = {"ome-zarr": OmeZarr(), "tiff": Tiff()}


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


def describe_masks(
    scan: str,
    masks: NDArray[np.uint8],
    classes: Sequence[str],
    uncertainty: NDArray[np.float64],
    pixel_size: PixelSize,
) -> list[ObjectRow]:
    """Measure each class of one scan.

    Args:
        scan: its id.
        masks: 0 and 1, ``(K, H, W)``.
        classes: K names.
        uncertainty: per class, ``(K,)``.
        pixel_size: ``(y, x)`` in micrometres, or None.
    """
    rows = []
    for k, name in enumerate(classes):
        areas = _object_areas(masks[k])
        pixels = int(areas.sum())
        rows.append(
            ObjectRow(
                scan=scan,
                class_name=name,
                pixels=pixels,
                fraction=pixels / masks[k].size,
                area_um2=pixels * pixel_size[0] * pixel_size[1] if pixel_size else None,
                objects=len(areas),
                object_pixels_median=float(np.median(areas)) if len(areas) else None,
                object_pixels_max=int(areas.max()) if len(areas) else None,
                uncertainty=float(uncertainty[k]),
                height=masks.shape[1],
                width=masks.shape[2],
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


def _object_areas(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Areas of the connected components, in pixels."""
    from scipy import ndimage

    labels, number = ndimage.label(mask, structure=np.ones((3, 3), int))
    return np.bincount(labels.ravel(), minlength=number + 1)[1:]
