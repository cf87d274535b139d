"""Write one scan of the dataset: its arrays in bands of rows, then what they mean."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from unetseg.dataset import GUIDES, IMAGE, MASKS
from unetseg.dataset_index import Index
from unetseg.ome import fields_metadata, image_metadata
from unetseg.scan_record import ScanRecord
from unetseg.storage import local_copy
from unetseg.zarr_arrays import ArrayWriter, write_group

__all__ = ["PART_FOLDERS", "HashedArray", "carry_part", "describe_scan", "is_stored", "members_of"]

PART_FOLDERS = {"image": IMAGE, "masks": "labels", "guides": GUIDES}
"""What of a scan's folder holds its image, masks and guides."""


class HashedArray:
    """An array that is written in bands, and the hash of its values.

    Args:
        path: the array's folder.
        shape: ``(H, W)`` or ``(H, W, C)``.
        dtype: of its values.
        chunk: side of a chunk in pixels.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, chunk: int) -> None:
        self._array = ArrayWriter(path, (*shape[2:], *shape[:2]), dtype, chunk=chunk)
        self._hash = sha256(repr((shape, np.dtype(dtype).str)).encode())

    def write(self, start: int, rows: NDArray[Any]) -> None:
        """Write the next rows, ``(h, W)`` or ``(h, W, C)``, which begin at ``start``."""
        self._hash.update(np.ascontiguousarray(rows).data)
        self._array.write(start, np.moveaxis(rows, -1, 0) if rows.ndim == 3 else rows)

    @property
    def content(self) -> str:
        """SHA-256 of shape, type and all values, whatever the bands and chunks."""
        return self._hash.hexdigest()


def is_stored(folder: Path, part: str, record: ScanRecord) -> bool:
    """Whether what a scan's record tells of a part is there; somebody may have removed it."""
    return not getattr(record, part).content or (folder / PART_FOLDERS[part]).exists()


def carry_part(old: Path, new: Path, part: str) -> None:
    """Take a part over from the scan as it is stored: by links, where there are any, since files never change."""
    source = old / PART_FOLDERS[part]
    if source.exists():
        with local_copy(source) as local:
            shutil.copytree(local, new / PART_FOLDERS[part], copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def describe_scan(folder: Path, record: ScanRecord, index: Index) -> None:
    """Write the metadata that makes a scan of its arrays; the record comes last.

    Args:
        folder: with all arrays.
        record: stored as the group's attributes.
        index: names of classes and channels.
    """
    name = MASKS.split("/")[1]
    meanings = {value: members_of(value, len(index.classes)) for value, _ in record.combinations if value}
    write_group(folder / "labels", {"ome": {"version": "0.5", "labels": [name]}})
    write_group(folder / "labels" / name, {"ome": fields_metadata(name, meanings, index.classes, record.pixel_size)})
    ome = image_metadata(record.id, index.channels, record.pixel_size, window=(0.0, 1.0))
    # Splits are decided when all scans are known, and stand in the index.
    told = {name: value for name, value in asdict(record).items() if name not in ("split", "vanished")}
    write_group(folder, {"ome": ome, "unetseg": told})


def members_of(field: int, classes: int) -> Sequence[int]:
    """The numbers of the classes of a bit field; none where it says "ignore"."""
    return [k for k in range(classes) if field >> k & 1]
