"""How much memory a prediction takes on this machine: what its estimate says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from unetseg.bundle import BundleInfo
from unetseg.engines import engine_for
from unetseg.predict_capacity import Capacity
from unetseg.predict_job import Job
from unetseg.predict_pieces import Work, tile_sides
from unetseg.predict_scan import wanted_bands
from unetseg.scan_rows import is_large

__all__ = ["memory_bytes"]

_PROCESS: Final = 350e6  # bytes: the interpreter, NumPy and OpenVINO with a network
_NORMALISED: Final = 8  # bytes per pixel and channel: 32-bit intensities, twice
_FOUND: Final = 2  # bytes per pixel and class: masks, and probabilities, which are counted where they are not kept too


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
    largest = max(_unit_bytes(info, tile, work) for work in works)
    return _PROCESS * (1 + capacity.processes) + capacity.calls(call) * call + capacity.at_once * largest


def _call_pixels(info: BundleInfo, tile: int, shape: tuple[int, int]) -> float:
    rows, columns = tile_sides(info, tile, shape)
    return float(max(rows) * max(columns))


def _unit_bytes(info: BundleInfo, tile: int, work: Work) -> float:
    """Of a scan, or of the highest band of a large one: pixels as they are read and normalised, and what is found."""
    height, width = work.shape
    read = found = height
    if is_large(work.header):
        bands = wanted_bands(info, tile, height)
        read = max(min(band.outer[1], height) - band.outer[0] for band in bands)
        found = max(band.inner[1] - band.inner[0] for band in bands)
    normalised = read * width * _NORMALISED * (len(info.channels) + len(info.guides))
    return work.header.nbytes * read / height + normalised + found * width * _FOUND * len(info.classes)
