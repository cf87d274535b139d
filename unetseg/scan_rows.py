"""The rows of a scan as the network takes them, from files of any size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bit_fields import unpack_guides
from unetseg.formats import OpenPlane
from unetseg.inference import Intensities, Window
from unetseg.masks import MaskRows, open_guides
from unetseg.predict_job import Job
from unetseg.readers import ScanRef, open_scan
from unetseg.survey import Preparation, survey

__all__ = ["ScanRows", "open_in_bands", "open_rows", "prepare", "surveyed_rows"]

_WHOLE = 64e6  # bytes of decoded pixels: larger scans are read, and segmented, in bands where their format allows it
_BAND = 1 << 24  # pixels looked at once


@dataclass(frozen=True, eq=False)
class _Normalised:
    """Rows of a large scan, normalised where a tile needs them: as 32-bit numbers all take four times as much."""

    pixels: NDArray[Any]
    preparation: Preparation

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.pixels.shape[:2], len(self.preparation.numbers))

    def __getitem__(self, window: Window) -> NDArray[np.floating]:
        return self.preparation(self.pixels[window])


@dataclass(frozen=True, eq=False)
class ScanRows:
    """A scan and its guides, open to be read in rows.

    Attributes:
        plane: the scan.
        guides: of the same size; None where the model has none.
        guide_count: how many there are.
    """

    plane: OpenPlane
    guides: MaskRows | None
    guide_count: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.plane.header.height, self.plane.header.width

    def read(
        self, start: int, stop: int, preparation: Preparation
    ) -> tuple[NDArray[np.floating], NDArray[np.uint8] | None]:
        """Normalised intensities ``(h, W, C)`` and guides ``(h, W, G)`` of some rows."""
        return preparation(self.plane.rows(start, stop)), self._guides(start, stop)

    def band(self, start: int, stop: int, preparation: Preparation) -> tuple[Intensities, NDArray[np.uint8] | None]:
        """The same of rows that take much memory: intensities are normalised window by window."""
        return _Normalised(self.plane.rows(start, stop), preparation), self._guides(start, stop)

    def _guides(self, start: int, stop: int) -> NDArray[np.uint8] | None:
        return unpack_guides(self.guides.rows(start, stop), self.guide_count) if self.guides is not None else None


def open_in_bands(ref: ScanRef, *, max_gigabytes: float) -> AbstractContextManager[OpenPlane]:
    """Open a scan as it is segmented: a large one is streamed where its format allows it, and held whole otherwise.

    Args:
        ref: the scan.
        max_gigabytes: what needs more memory at once is refused.

    Raises:
        BadFileError: it cannot be used.
    """
    return open_scan(ref, max_gigabytes=max_gigabytes, whole=_WHOLE)


@contextmanager
def open_rows(job: Job, ref: ScanRef) -> Iterator[ScanRows]:
    """Open a scan, and its guides where the model has any.

    Raises:
        BadFileError: one of them cannot be used.
    """
    with open_in_bands(ref, max_gigabytes=job.config.max_scan_gigabytes) as plane:
        if not job.guides:
            yield ScanRows(plane, None, 0)
            return
        with open_guides(ref, job.guides, (plane.header.height, plane.header.width)) as guides:
            yield ScanRows(plane, guides, len(job.guides))


def surveyed_rows(width: int) -> int:
    """Rows of a streamed scan of that width that are looked at at once."""
    return max(_BAND // width, 1)


def prepare(job: Job, ref: ScanRef, rows: ScanRows) -> Preparation:
    """Look at all rows of a scan, to know how each is normalised.

    Raises:
        BadFileError: it has other channels than the model.
    """
    height, width = rows.shape
    step = surveyed_rows(width) if rows.plane.streamed else height
    bands = ((start, min(start + step, height)) for start in range(0, height, step))
    return survey(rows.plane, len(job.info.channels), job.info.settings.ingest, ref.path, bands=bands).preparation
