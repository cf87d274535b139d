"""What stacks cost besides the segmentation of their pages: a few are put together, each of one page that comes again.

What is put together is gone then, as in a prediction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from unetseg.disk_usage import Disk
from unetseg.predict_job import Job
from unetseg.predict_marker import Marker
from unetseg.predict_pieces import Piece
from unetseg.predict_scan import output_kinds, output_name
from unetseg.readers import ScanRef
from unetseg.stack_output import Stack, finish_stack

__all__ = ["StackRates", "measure_stacks"]

_PAGES: Final = 3  # of a stack that is put together
_LEAST: Final = 4  # stacks: as many as are drawn to know what pictures take
_SECONDS: Final = 2.0  # no further one is begun later


@dataclass(frozen=True)
class StackRates:
    """What things cost.

    Attributes:
        page_seconds: of a worker, to put a page into its stack.
        pixel_seconds: the same, per pixel of the page.
        stack_bytes: of the disk, per stack.
        page_bytes: of the disk, per page.
        pixel_bytes: of the disk, per pixel of a page.
    """

    page_seconds: float
    pixel_seconds: float
    stack_bytes: float
    page_bytes: float
    pixel_bytes: float


@dataclass(frozen=True)
class _Built:
    """What a stack of one page, ``pages`` times, took."""

    pixels: int
    pages: int
    seconds: float
    taken: float


def measure_stacks(job: Job, tiny: Sequence[Piece], pieces: Sequence[Piece], disk: Disk) -> StackRates:
    """Put stacks together.

    Args:
        job: of the trial, with the format of the outputs.
        tiny: pieces that are segmented and have almost no pixels, at least one.
        pieces: others that are segmented.
        disk: on which the outputs will be.
    """
    noted = _noted(tiny[0])
    several = _put_together(job, tiny[0], _PAGES, disk)
    one = _put_together(job, tiny[1], 1, disk) if len(tiny) > 1 else several
    page = max(several.taken - one.taken, 0.0) / (_PAGES - 1)
    page_seconds, stack = several.seconds / _PAGES, one.taken - page  # of pages with almost no pixels
    found = list(_some(job, pieces, disk))
    pixels = max(sum(item.pages * item.pixels for item in found), 1)
    seconds = sum(item.seconds - item.pages * page_seconds for item in found)
    taken = sum(item.taken - stack - item.pages * page for item in found)
    return StackRates(
        page_seconds=page_seconds,
        pixel_seconds=max(seconds, 0.0) / pixels,
        stack_bytes=stack + disk.block,  # the marker's last block
        page_bytes=page + noted,
        pixel_bytes=max(taken, 0.0) / pixels,
    )


def _some(job: Job, pieces: Sequence[Piece], disk: Disk) -> Iterator[_Built]:
    """Stacks of pieces, until the time is up."""
    until = time.monotonic() + _SECONDS
    for number, piece in enumerate(pieces):
        if number < _LEAST or time.monotonic() < until:
            yield _put_together(job, piece, _PAGES, disk)


def _put_together(job: Job, piece: Piece, pages: int, disk: Disk) -> _Built:
    stack = Stack(ScanRef(piece.ref.id, piece.ref.path), (piece.ref,) * pages)
    started = time.monotonic()
    finish_stack(job, stack)
    seconds = time.monotonic() - started
    outputs = [job.out / output_name(job.config, stack.ref, kind) for kind in output_kinds(job.config)]
    # In one file, pages share its blocks; in a folder, each has files of its own.
    taken = sum(disk.taken(path) if path.is_dir() else path.stat().st_size for path in outputs)
    return _Built(piece.pixels, pages, seconds, taken)


def _noted(piece: Piece) -> int:
    """Bytes that the marker of a stack takes for a page."""
    record = Marker(piece.job, piece.ref).record
    return len(json.dumps([record["rows"], record["profiles"]]))
