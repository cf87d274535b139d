"""What stacks cost besides the segmentation of their pages: a few are put together, each of one page that comes again.

What is put together is gone then, as in a prediction.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from unetseg.predict_job import Job
from unetseg.predict_pieces import Piece
from unetseg.readers import ScanRef
from unetseg.stack_output import Stack, finish_stack

__all__ = ["StackRates", "measure_stacks"]

_PAGES: Final = 3  # of a stack that is put together
_LEAST: Final = 4  # stacks: so that no single one counts
_SECONDS: Final = 2.0  # no further one is begun later


@dataclass(frozen=True)
class StackRates:
    """What things cost.

    Attributes:
        page_seconds: of a worker, to put a page into its stack.
        pixel_seconds: the same, per pixel of the page.
    """

    page_seconds: float
    pixel_seconds: float


@dataclass(frozen=True)
class _Built:
    """What a stack of one page, ``pages`` times, took."""

    pixels: int
    pages: int
    seconds: float


def measure_stacks(job: Job, tiny: Piece, pieces: Sequence[Piece]) -> StackRates:
    """Put stacks together.

    Args:
        job: of the trial, with the format of the outputs.
        tiny: a piece that is segmented and has almost no pixels.
        pieces: others that are segmented.
    """
    page_seconds = _put_together(job, tiny, _PAGES).seconds / _PAGES
    found = list(_some(job, pieces))
    pixels = max(sum(item.pages * item.pixels for item in found), 1)
    seconds = sum(item.seconds - item.pages * page_seconds for item in found)
    return StackRates(page_seconds=page_seconds, pixel_seconds=max(seconds, 0.0) / pixels)


def _some(job: Job, pieces: Sequence[Piece]) -> Iterator[_Built]:
    """Stacks of pieces, until the time is up."""
    until = time.monotonic() + _SECONDS
    for number, piece in enumerate(pieces):
        if number < _LEAST or time.monotonic() < until:
            yield _put_together(job, piece, _PAGES)


def _put_together(job: Job, piece: Piece, pages: int) -> _Built:
    stack = Stack(ScanRef(piece.ref.id, piece.ref.path), (piece.ref,) * pages)
    started = time.monotonic()
    finish_stack(job, stack)
    seconds = time.monotonic() - started
    return _Built(piece.pixels, pages, seconds)
