"""Windows of a dataset's scans, read from disk or held in memory, padded where they stick out."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.bit_fields import field_dtype
from unetseg.dataset import Dataset
from unetseg.devices import machine_memory
from unetseg.patch import Patch
from unetseg.scan_record import ScanRecord
from unetseg.words import size_in_words

__all__ = ["PatchReader"]

logger = logging.getLogger(__name__)

_MEMORY_SHARE: Final = 0.3  # of the machine's memory that scans held may take: the network needs the rest
_WHOLE: Final = (slice(None), slice(None))


class PatchReader:
    """Windows of scans: beyond a scan the image is 0 and the masks say "ignore". Threads may read at once.

    Scans that are held stay as they are stored, classes as one bit each (about 3 bytes a pixel for grey scans with
    seven classes), and are read when first asked for. Otherwise every window is read by itself.

    Args:
        dataset: that holds the scans.
        scans: those to read.
        held: whether scans stay in memory once read; None: if all of them fit into a part of it.
    """

    def __init__(self, dataset: Dataset, scans: Sequence[ScanRecord], *, held: bool | None = None) -> None:
        self.dataset = dataset
        self.scans = list(scans)
        self.held = self._decide() if held is None else held
        self._scans_held: dict[str, Patch] = {}
        self._loading: defaultdict[str, Lock] = defaultdict(Lock)

    def read(self, scan: ScanRecord, top: int, left: int, shape: tuple[int, int]) -> Patch:
        """The window of a scan whose first pixel is at ``(top, left)``; it may lie partly or wholly outside.

        Returns:
            The window, intensities in the stored dtype. It may be what is held: read only.
        """
        rows, columns = _inside(top, shape[0], scan.shape[0]), _inside(left, shape[1], scan.shape[1])
        patch = self._whole(scan).part(rows, columns) if self.held else self._load(scan, (rows, columns))
        if patch.shape == shape:
            return patch
        ignore = 1 << len(self.dataset.index.classes)
        return patch.padded(max(rows.start - top, 0), max(columns.start - left, 0), shape, ignore=ignore)

    def fields(self, scan: ScanRecord, rows: slice) -> NDArray[np.unsignedinteger[Any]]:
        """Classes of some rows as bit fields, ``(H, W)``: bit k is class k."""
        window = (rows, slice(None))
        return self._whole(scan).fields[window] if self.held else self.dataset.fields(scan, window)

    def release(self) -> None:
        """Let go of what is held in memory."""
        self._scans_held.clear()

    def _whole(self, scan: ScanRecord) -> Patch:
        found = self._scans_held.get(scan.id)
        if found is None:
            with self._loading[scan.id]:  # of several threads that miss it, one reads
                found = self._scans_held.get(scan.id) or self._load(scan, _WHOLE)
                self._scans_held[scan.id] = found
        return found

    def _load(self, scan: ScanRecord, window: tuple[slice, slice]) -> Patch:
        dataset = self.dataset
        patch = Patch(dataset.image(scan, window), dataset.guides(scan, window), dataset.fields(scan, window))
        for array in (patch.image, patch.guides, patch.fields):
            array.setflags(write=False)  # a patch that was changed in place would change the scan for good
        return patch

    def _decide(self) -> bool:
        size, memory = _bytes(self.dataset, self.scans), machine_memory()
        held = size < _MEMORY_SHARE * memory
        what = "held in memory" if held else f"read patch by patch: over {_MEMORY_SHARE:.0%} of {size_in_words(memory)}"
        logger.info("%d scans of %s together are %s", len(self.scans), size_in_words(size), what)
        return held


def _inside(start: int, length: int, size: int) -> slice:
    return slice(min(max(start, 0), size), min(max(start + length, 0), size))


def _bytes(dataset: Dataset, scans: Sequence[ScanRecord]) -> int:
    index = dataset.index
    intensities = len(index.channels) * np.dtype(index.ingest.dtype).itemsize
    per_pixel = intensities + len(index.guides) + field_dtype(len(index.classes)).itemsize
    return sum(scan.shape[0] * scan.shape[1] for scan in scans) * per_pixel
