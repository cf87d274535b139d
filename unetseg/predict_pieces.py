"""Pieces of what is to be segmented, by which its cost is estimated: whole scans, or cut-outs of large ones."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetseg.blending import overlapping
from unetseg.bundle import BundleInfo
from unetseg.config import GuideSource
from unetseg.output_kinds import Kind
from unetseg.planes import ScanHeader
from unetseg.predict_job import Job
from unetseg.predict_scan import output_kinds, output_name, wanted_bands
from unetseg.readers import ScanRef
from unetseg.scan_rows import open_rows
from unetseg.stack_output import page_job
from unetseg.tiling import padded_size, spans

__all__ = ["Cutter", "Piece", "Work", "spread", "tile_sides"]

Size = tuple[int, int]

_MOST_BYTES: Final = 32_000_000  # of the pixels of a cut-out, so that it is segmented at once


@dataclass(frozen=True)
class Work:
    """A scan that is to be done.

    Attributes:
        ref: the scan.
        header: what its file says of it.
        streamed: whether it is read, and segmented, in bands; others are held whole.
    """

    ref: ScanRef
    header: ScanHeader
    streamed: bool = False

    @property
    def shape(self) -> Size:
        """Height and width in pixels."""
        return self.header.height, self.header.width


@dataclass(frozen=True)
class Piece:
    """What is segmented.

    Attributes:
        job: that does it.
        ref: a scan, or a file with a cut-out of one.
        pixels: that it has.
        computed: pixels that the network computes.
        cut: whether it is a cut-out.
    """

    job: Job
    ref: ScanRef
    pixels: int
    computed: int
    cut: bool

    @property
    def outputs(self) -> dict[Kind, str]:
        """What is made of it, relative to the folder of the outputs."""
        config = self.job.config
        return {kind: output_name(config, self.ref, kind) for kind in output_kinds(config)}


class Cutter:
    """Makes pieces in a folder, and knows how long scans took to read.

    Args:
        job: of the prediction.
        folder: for cut-outs and outputs.
        tile: side of a tile in pixels.
        stacked: whether the scans are pages, whose outputs become those of stacks.
    """

    def __init__(self, job: Job, folder: Path, tile: int, *, stacked: bool = False) -> None:
        self._folder, self._tile, self._number, self._stacked = folder, tile, 0, stacked
        self.job = replace(job, out=folder / "out", scratch=folder / "out" / ".unfinished", renewal="")
        self._seconds, self._pixels = 0.0, 0
        self._size: Size | None = None

    @property
    def read_seconds(self) -> float:
        """Per pixel of a scan of which something was cut out."""
        return self._seconds / max(self._pixels, 1)

    def is_cut(self, work: Work) -> bool:
        """Whether a scan is more than one piece: the network sees it in tiles, or it is not read at once."""
        return max(work.shape) > self._tile or work.streamed

    def computed(self, shape: Size) -> int:
        """Pixels that the network computes for a scan: halos are computed twice, and where tiles are blended all is."""
        rows, columns = tile_sides(self.job.info, self._tile, shape)
        return sum(rows) * sum(columns)

    def piece(self, work: Work, place: tuple[float, float]) -> Piece:
        """A scan, or of a large one as much as a tile takes.

        Args:
            work: the scan.
            place: of the cut-out, as shares of what is left of height and width.

        Raises:
            BadFileError: the scan cannot be used.
        """
        if not self.is_cut(work):
            pixels = work.shape[0] * work.shape[1]
            return Piece(self._own(self.job, work.ref), work.ref, pixels, self.computed(work.shape), cut=False)
        if not self._size:  # one for all, for which the engine is compiled once
            rows, columns = tile_sides(self.job.info, self._tile, work.shape)
            most = _MOST_BYTES * work.shape[0] // (work.header.nbytes * columns[0] // work.shape[1])
            self._size = min(rows[0], most, self._tile), min(columns[0], self._tile)
        return self.cut_out(work, place, self._size)

    def cut_out(self, work: Work, place: tuple[float, float], size: Size) -> Piece:
        """A file with a part of a scan.

        Raises:
            BadFileError: the scan cannot be used.
        """
        self._number += 1
        name = f"piece{self._number}"
        sides = [min(side, whole) for side, whole in zip(size, work.shape, strict=True)]
        top, left = (int(at * (whole - side)) for at, side, whole in zip(place, sides, work.shape, strict=True))
        with open_rows(self.job, work.ref) as rows:
            started = time.monotonic()
            pixels = rows.plane.rows(top, top + sides[0])
            fields = None if rows.guides is None else rows.guides.rows(top, top + sides[0])
            self._seconds += time.monotonic() - started
            self._pixels += sides[0] * work.shape[1] if rows.plane.streamed else work.shape[0] * work.shape[1]
        path = self._folder / f"{name}.ome.tif"
        columns = slice(left, left + sides[1])
        _write_scan(path, pixels[:, columns], work.header)
        job = self.job if fields is None else self._with_guides(fields[:, columns], name)
        ref, computed = ScanRef(name, path), self.computed((sides[0], sides[1]))
        return Piece(self._own(job, ref), ref, sides[0] * sides[1], computed, cut=True)

    def _own(self, job: Job, ref: ScanRef) -> Job:
        """The job that segments a scan, or a page: into the folder of a stack that has no other pages."""
        return page_job(job, ref.id) if self._stacked else job

    def _with_guides(self, fields: NDArray[Any], name: str) -> Job:
        """The job with the guides of a cut-out, which are files of their own."""
        folder = self._folder / "guides"
        for bit, guide in enumerate(self.job.guides):
            path = folder / guide.name / f"{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, np.uint8(255) * (fields >> bit & 1).astype(np.uint8))
        guides = (GuideSource(name=guide.name, path=str(folder / guide.name)) for guide in self.job.guides)
        return replace(self.job, guides=tuple(guides))


def tile_sides(info: BundleInfo, tile: int, shape: Size) -> tuple[list[int], list[int]]:
    """Heights and widths of the tiles of a scan as the network sees them: of all bands, and of any one.

    Args:
        info: of the bundle.
        tile: side of a tile in pixels.
        shape: of the scan.
    """
    bands = [span.outer for span in wanted_bands(info, tile, shape[0])]
    cut = {"tile": tile, "halo": info.halo, "stride": info.stride}
    if info.exact:
        across = [span.outer for span in spans(shape[1], **cut)]
    else:
        bands = [window for band in bands for window in overlapping(band, **cut)]
        across = overlapping((0, padded_size(shape[1], info.stride)), **cut)
    rows, columns = ([stop - start for start, stop in found] for found in (bands, across))
    return rows, columns


def _write_scan(path: Path, pixels: NDArray[Any], header: ScanHeader) -> None:
    """A TIFF with the channels, type and pixel size of a scan."""
    metadata: dict[str, Any] = {}
    if header.pixel_size:
        metadata |= dict(zip(("PhysicalSizeY", "PhysicalSizeX"), header.pixel_size, strict=True))
    kind: dict[str, Any] = {"photometric": "minisblack"}
    if pixels.shape[-1] == 1:
        pixels, metadata["axes"] = pixels[..., 0], "YX"
    elif pixels.shape[-1] in (3, 4):
        kind, metadata["axes"] = {"photometric": "rgb"}, "YXS"
    else:
        pixels, metadata["axes"] = np.moveaxis(pixels, -1, 0), "CYX"
    tifffile.imwrite(path, pixels, ome=True, metadata=metadata, **kind)


def spread(count: int, draws: int) -> list[tuple[int, tuple[float, float]]]:
    """Numbers below ``count`` with places in the unit square, of which each beginning is spread evenly.

    From the Halton sequence (doi:10.1007/BF01386213); numbers come again.
    """
    from scipy.stats.qmc import Halton  # takes long to import

    points = Halton(d=3, scramble=False).random(draws + 1)[1:]  # the first one is the corner
    return [(int(point[0] * count), (float(point[1]), float(point[2]))) for point in points]
