"""How much memory a prediction takes on this machine: what its estimate says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nlargest
from typing import Final

from unetseg.bundle import BundleInfo
from unetseg.engines import engine_for
from unetseg.output_zarr import CHUNK
from unetseg.predict_capacity import Capacity
from unetseg.predict_job import Job
from unetseg.predict_pieces import Work, tile_sides
from unetseg.predict_scan import wanted_bands
from unetseg.scan_rows import surveyed_rows
from unetseg.tiling import Span
from unetseg.zarr_arrays import band_rows

__all__ = ["memory_bytes"]

_PROCESS: Final = 350e6  # bytes: the interpreter, NumPy and OpenVINO with a network, and what encodes outputs
_INTENSITY: Final = 4  # bytes of a normalised one, and of a probability before it is counted
_DECODED: Final = 2  # times the pixels: they, and the parts of the file of which they are put together
_RUNS: Final = 0.5  # bytes per pixel of usual masks: objects of a class are found (`unetseg.mask_runs`)
_NUMBER: Final = 4  # bytes per pixel and class: which object it is


def memory_bytes(job: Job, works: Sequence[Work], capacity: Capacity) -> float:
    """Of the processes, of the calls of the network that run at once, and of the largest scans or bands in flight.

    Args:
        job: of the prediction.
        works: what is to be done, at least one.
        capacity: who does it; where that is a cluster, only this process counts.
    """
    if capacity.elsewhere:
        return _PROCESS
    info, tile = job.info, job.config.tile
    call = max(_call_pixels(info, tile, shape) for shape in {work.shape for work in works})
    call *= engine_for(job.bundle, job.config).pixel_bytes
    in_flight = sum(nlargest(capacity.at_once, _units(job, works)))
    return _PROCESS * (1 + capacity.processes) + capacity.calls(call) * call + in_flight


def _call_pixels(info: BundleInfo, tile: int, shape: tuple[int, int]) -> float:
    rows, columns = tile_sides(info, tile, shape)
    return float(max(rows) * max(columns))


def _units(job: Job, works: Sequence[Work]) -> Iterator[float]:
    """Bytes of each scan, and of each band of those that are streamed."""
    for work in works:
        bands = wanted_bands(job.info, job.config.tile, work.shape[0])
        if work.streamed:
            yield from [_band_bytes(job, work, bands)] * len(bands)
        else:
            yield _whole_bytes(job, work, bands)


def _band_bytes(job: Job, work: Work, bands: Sequence[Span]) -> float:
    """Of the highest band: pixels as they are read, normalised tile by tile; what is found, strip by strip; and runs.

    What was only needed to decode pixels counts to the end: it is not given back at once. Before that, rows are looked
    at, which may be more.
    """
    (height, width), info = work.shape, job.info
    row, kept = work.header.nbytes / height, max(band.inner[1] - band.inner[0] for band in bands)
    read, strip = _read_rows(work, bands), kept * min(band_rows(CHUNK), width)
    band = _DECODED * row * read + strip * _planes(job) + kept * width * _RUNS + read * width * len(info.guides)
    if not info.exact:  # sums of overlapping tiles, and those of them that are done
        band += 2 * kept * min(job.config.tile, width) * _INTENSITY * len(info.classes)
    return max(band, _DECODED * row * min(surveyed_rows(width), height))


def _whole_bytes(job: Job, work: Work, bands: Sequence[Span]) -> float:
    """Of a scan in memory: it, with what is decoded, or found in one band after another, or written, at a time."""
    (height, width), config, classes = work.shape, job.config, len(job.info.classes)
    pixels, read = height * width, _read_rows(work, bands) * width
    planes = pixels * _planes(job)
    normalised = read * (_INTENSITY * len(job.info.channels) + len(job.info.guides))
    segmented = normalised + planes * min(len(bands), 2)  # bands are put together
    painted = 2 if config.objects or config.min_object > 1 or config.fill_holes else 1  # class by class, and all
    written = planes + pixels * (painted * classes * (_NUMBER if config.objects else 1) + _RUNS)
    return work.header.nbytes + max((_DECODED - 1) * work.header.nbytes, segmented, written)


def _read_rows(work: Work, bands: Sequence[Span]) -> int:
    """Of the highest band."""
    return max(min(band.outer[1], work.shape[0]) - band.outer[0] for band in bands)


def _planes(job: Job) -> int:
    """Bytes per pixel of what is found: masks, and probabilities where they are kept."""
    return len(job.info.classes) * (2 if job.config.probabilities else 1)
