"""The dataset: the Zarr store that ingest leaves and that train and evaluate read.

::

    dataset.zarr/
      zarr.json            schema version; names of classes, guides and channels; ingest settings
      splits.json          the split of every group ever seen
      index.json           one record per scan: sources and their hashes, split, group, pixel counts; suspicions
      quarantine.json      files that could not be used, with reasons
      scans/<key>/         an OME-Zarr 0.5 image, normalised, (c, y, x)
        labels/classes/    one OME-Zarr label image, (y, x): bit k is class k, the bit after the last means "ignore"
        guides             (g, y, x), 0 or 1

A scan is 7 files, 9 with guides, however many classes there are (docs/adr/0009). Schema version 2.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bit_fields import unpack
from unetseg.dataset_index import Index, is_torn
from unetseg.errors import DataError, UsageError
from unetseg.scan_record import ScanRecord
from unetseg.words import in_project
from unetseg.zarr_arrays import read_window

__all__ = ["GUIDES", "IMAGE", "MASKS", "Dataset", "Planes", "check_dataset", "open_dataset"]

IMAGE, MASKS, GUIDES = "0", "labels/classes/0", "guides"
"""Arrays of a scan, below its folder."""


@dataclass(frozen=True)
class Planes:
    """The pixels of a scan, or of a window of it.

    Attributes:
        image: normalised intensities, ``(H, W, C)``.
        guides: guide masks, ``(H, W, G)`` uint8; G may be 0.
        masks: classes, ``(H, W, K)`` int8: 1, 0, -1 to ignore.
    """

    image: NDArray[np.floating]
    guides: NDArray[np.uint8]
    masks: NDArray[np.int8]


@dataclass(frozen=True)
class Dataset:
    """An ingested dataset, opened for reading."""

    folder: Path
    index: Index

    def scans(self, split: str) -> list[ScanRecord]:
        """The scans of one split whose sources still exist, by id."""
        found = [scan for scan in self.index.scans.values() if scan.split == split and not scan.vanished]
        return sorted(found, key=lambda scan: scan.id)

    def image(self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))) -> NDArray[np.floating]:
        """Normalised intensities of a window, ``(H, W, C)`` in the stored dtype."""
        planes = self._read(scan, IMAGE, (slice(None), *window))
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))

    def masks(self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))) -> NDArray[np.int8]:
        """Classes of a window, ``(H, W, K)`` int8: 1, 0, and -1 where pixels are ignored."""
        return unpack(self.fields(scan, window), len(self.index.classes))

    def fields(
        self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))
    ) -> NDArray[np.unsignedinteger[Any]]:
        """Classes of a window as stored, ``(H, W)``: bit k is class k, the bit after the last one means "ignore"."""
        return self._read(scan, MASKS, window)

    def guides(self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))) -> NDArray[np.uint8]:
        """Guide masks of a window, ``(H, W, G)`` uint8; G may be 0."""
        if not self.index.guides:
            rows, columns = (range(*part.indices(size)) for part, size in zip(window, scan.shape, strict=True))
            return np.zeros((len(rows), len(columns), 0), np.uint8)
        planes = self._read(scan, GUIDES, (slice(None), *window))
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))

    def read(self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))) -> Planes:
        """Image, guides and masks of a window."""
        return Planes(self.image(scan, window), self.guides(scan, window), self.masks(scan, window))

    def class_fractions(self, split: str = "train") -> NDArray[np.float64]:
        """Share of the counted pixels that each class covers, ``(K,)``."""
        total: Counter[str] = Counter()
        pixels = 0
        for scan in self.scans(split):
            total.update(scan.class_pixels)
            pixels += scan.shape[0] * scan.shape[1] - scan.ignored_pixels
        return np.array([total[name] / max(pixels, 1) for name in self.index.classes])

    def _read(self, scan: ScanRecord, name: str, window: tuple[slice, ...]) -> NDArray[Any]:
        return read_window(self.folder / "scans" / scan.key / name, window)


def open_dataset(folder: Path) -> Dataset:
    """Open the dataset that ingest left.

    Raises:
        UsageError: there is none.
        DataError: it is damaged, or the last ingest was cut short while it replaced scans.
    """
    index = Index.load(folder)
    if index is None:
        raise _missing(folder)
    if is_torn(folder):
        raise DataError(f"{folder}: an ingest that replaced scans did not end; run it again: {_ingest(folder)}")
    return Dataset(folder, index)


def check_dataset(folder: Path) -> None:
    """Refuse where no ingest has begun; one that is at work just now does not matter yet.

    Raises:
        UsageError: there is no dataset.
    """
    if not folder.exists():
        raise _missing(folder)


def _missing(folder: Path) -> UsageError:
    return UsageError(f"{folder}: no dataset yet; run ingest first: {_ingest(folder)}")


def _ingest(folder: Path) -> str:
    return in_project("unetseg ingest", folder.parent)
