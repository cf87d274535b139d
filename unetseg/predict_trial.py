"""What a prediction costs per scan and per pixel: a few pieces are segmented end to end, into a temporary folder.

As many at once as the prediction would have in flight, in an order that is not left to chance, until the time is up. A
scan costs ``a + b pixels``; ``a`` is what a tiny cut-out costs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from unetseg.disk_usage import Disk
from unetseg.errors import BadFileError, BundleError, UsageError
from unetseg.gallery import Tell
from unetseg.gallery_trial import PageRates, measure_page
from unetseg.object_table import write_table
from unetseg.output_trial import Amount, OutputRates, measure_outputs
from unetseg.parallel import open_workers, run_units
from unetseg.places import commit_marker
from unetseg.predict_job import Job
from unetseg.predict_marker import Segmented
from unetseg.predict_pieces import Cutter, Piece, Work, spread
from unetseg.predict_scan import LargeScan, segment_scan
from unetseg.readers import ScanRef
from unetseg.scan_ranks import rank_scans, write_scans
from unetseg.share import cores
from unetseg.stack_trial import StackRates, measure_stacks

__all__ = ["Rates", "measure", "starting_seconds"]

_SECONDS: Final = 4.0  # no piece is begun later
_WARMING: Final = 3.0  # no size is compiled for later
_PIECES: Final = 48  # at most
_PER_WORKER: Final = 2  # cut-outs of large scans, at least
_CUTTING: Final = 2.0  # no further cut-out is made later
_SIZES: Final = 4  # that the engine keeps compiled
_TINY: Final = 32  # pixels: the side of the cut-out that tells what a scan costs without its pixels
_TINIES: Final = 4  # such cut-outs, two of a scan
_ROWS: Final = 2000  # scans of which tables are written, at most


@dataclass(frozen=True)
class _Cost:
    """What a piece took: seconds of its worker; and what was found on it."""

    piece: Piece
    seconds: float
    found: Segmented


@dataclass(frozen=True)
class Rates:
    """What things cost.

    Attributes:
        start: seconds until the first scan: the engine is opened and compiled.
        scan_seconds: of a worker, per scan.
        pixel_seconds: of a worker, per pixel that the network computes.
        read_seconds: per pixel of a scan that is cut.
        outputs: what outputs take of the disk.
        row_bytes: in the tables, per scan or page.
        page: what the page of overlays takes.
        cutter: that knows how scans are cut.
        stack: of those that are put together of pages; None: the scans are no pages.
    """

    start: float
    scan_seconds: float
    pixel_seconds: float
    read_seconds: float
    outputs: OutputRates
    row_bytes: float
    page: PageRates
    cutter: Cutter
    stack: StackRates | None = None

    def seconds(self, work: Work) -> float:
        """Of a worker, for a scan; a large one is read to know its intensities, to segment it, and for its picture.

        One that is held whole is read once for the first two.
        """
        passes = (3 if work.streamed else 2) if self.cutter.is_cut(work) else 0
        read = passes * work.shape[0] * work.shape[1] * self.read_seconds
        return self.scan_seconds + self.pixel_seconds * self.cutter.computed(work.shape) + read

    def stacking_seconds(self, work: Work) -> float:
        """Of a worker, to put a page into its stack."""
        return self.stack.page_seconds + work.shape[0] * work.shape[1] * self.stack.pixel_seconds if self.stack else 0.0

    def all_bytes(self, works: Sequence[Work]) -> Amount:
        """Of the outputs of scans or stacks, and of their rows in the tables."""
        files = self.outputs.stacks(works) if self.stack else self.outputs.scans(works)
        rows = len(works) * self.row_bytes
        return Amount(files.expected + rows, files.margin, files.least + rows)


def _pass_over(_: ScanRef, __: Exception) -> None: ...


def measure(job: Job, works: Sequence[Work], disk: Disk, *, stacked: bool = False, tell: Tell = _pass_over) -> Rates:
    """Segment a few pieces.

    Args:
        job: of the prediction; nothing is written into its folder.
        works: what is to be done, at least one.
        disk: on which the outputs will be.
        stacked: whether they are pages that become stacks.
        tell: told of each scan that was tried and cannot be segmented, and why: the prediction will set it aside.

    Raises:
        BadFileError: none of the scans that were tried can be segmented.
    """
    with TemporaryDirectory(prefix="unetseg-") as folder:
        started = time.monotonic()
        cutter = Cutter(job, Path(folder), job.segmenter().tile, stacked=stacked)
        opened = time.monotonic() - started
        pieces, tiny = _pieces(cutter, sorted(works, key=lambda work: (work.shape, work.ref)), tell)
        started = time.monotonic()
        _warm([*tiny, *pieces], Counter(cutter.computed(work.shape) for work in works))
        start = opened + time.monotonic() - started
        fixed, costs = list(_costs(tiny, tell)), list(_costs(pieces, tell))
        if not (fixed and costs):
            raise BadFileError("none of the scans that were tried can be segmented")
        segmented = [cost.piece for cost in costs]
        outputs = measure_outputs(Path(folder), job, segmented, works, disk)
        found = [(cost.piece, cost.found) for cost in costs]
        page = measure_page(Path(folder), job, works, found, read_seconds=cutter.read_seconds, tell=tell)
        scan_seconds = min(cost.seconds for cost in fixed)
        return Rates(
            start=start,
            scan_seconds=scan_seconds,
            pixel_seconds=_rate((cost.seconds - scan_seconds, cost.piece.computed) for cost in costs),
            read_seconds=cutter.read_seconds,
            outputs=outputs,
            row_bytes=_row_bytes(job, Path(folder) / "tables", works, costs),
            page=page,
            cutter=cutter,
            # Last: the pages are gone then.
            stack=measure_stacks(cutter.job, fixed[0].piece, segmented) if stacked else None,
        )


def starting_seconds(job: Job, processes: int) -> float:
    """Seconds that processes of this machine take to start, to open the model, and to end.

    Args:
        job: of the prediction.
        processes: how many.
    """
    started = time.monotonic()
    with open_workers(processes=processes) as workers:
        for _, found in workers.run(partial(_opened, job), range(processes)):
            if isinstance(found, Exception):
                raise found
    return time.monotonic() - started


def _opened(job: Job, _: int) -> None:
    job.segmenter()


def _pieces(cutter: Cutter, works: Sequence[Work], tell: Tell) -> tuple[list[Piece], list[Piece]]:
    """Pieces of scans of all sizes, and tiny ones; scans that cannot be used are told of."""
    workers = cutter.job.config.workers or cores()
    pieces: list[Piece] = []
    tiny: list[Piece] = []
    seen: set[int] = set()
    until = time.monotonic() + _CUTTING
    for number, place in spread(len(works), _PIECES):
        work, cuts = works[number], sum(piece.cut for piece in pieces)
        known = number in seen and not cutter.is_cut(work)
        seen.add(number)
        enough = cuts >= _PER_WORKER * workers and time.monotonic() > until
        if known or (cutter.is_cut(work) and enough):
            continue
        try:
            piece = cutter.piece(work, place)
            if len(tiny) < _TINIES:
                tiny += [cutter.cut_out(work, place, (_TINY, _TINY)) for _ in range(2)]
        except (BadFileError, OSError) as error:  # the prediction will set it aside
            tell(work.ref, error)
            continue
        pieces.append(piece)
    return pieces, tiny


def _warm(pieces: Iterable[Piece], sizes: Counter[int]) -> None:
    """Let the engine compile for the sizes that come often, as it would with the first scans."""
    until, done = time.monotonic() + _WARMING, set[int]()
    for piece in pieces:
        often = piece.cut or sizes[piece.computed] > 1
        if piece.computed in done or not often or len(done) > _SIZES or time.monotonic() > until:
            continue
        done.add(piece.computed)
        for _ in range(1 if piece.cut else 2):  # large sizes are compiled for with the first call
            with suppress(BadFileError):  # the prediction will set it aside
                segment_scan(piece.job, piece.ref)
            _forget(piece)


def _costs(pieces: Sequence[Piece], tell: Tell) -> Iterator[_Cost]:
    """Segment pieces until the time is up."""
    if not pieces:
        return
    until, workers = time.monotonic() + _SECONDS, pieces[0].job.config.workers or cores()
    due = (piece for k, piece in enumerate(pieces) if k < workers or time.monotonic() < until)
    for piece, found in run_units(_segmented, due, workers=min(workers, len(pieces))):
        if isinstance(found, BundleError | UsageError):
            raise found
        if isinstance(found, Exception):  # the prediction will set the scan aside
            if not piece.cut:
                tell(piece.ref, found)
            continue
        seconds, done = found
        if isinstance(done, Segmented):  # others are too large to be segmented at once
            yield _Cost(piece, seconds, done)


def _segmented(piece: Piece) -> tuple[float, Segmented | LargeScan]:
    """The seconds that it takes, and what is found."""
    started = time.monotonic()
    done = segment_scan(piece.job, piece.ref)
    return time.monotonic() - started, done


def _forget(piece: Piece) -> None:
    commit_marker(piece.job.out, piece.ref.id).unlink(missing_ok=True)


def _rate(found: Iterable[tuple[float, int]]) -> float:
    """Cost per pixel, of some ``(cost, pixels)`` together."""
    pairs = list(found)
    return max(sum(cost for cost, _ in pairs), 0.0) / max(sum(pixels for _, pixels in pairs), 1)


def _row_bytes(job: Job, folder: Path, works: Sequence[Work], costs: Sequence[_Cost]) -> float:
    """Of all tables, per scan; as if on each had been found what was on a piece."""
    some = works[:_ROWS]
    found = [costs[k % len(costs)].found.named(work.ref.id) for k, work in enumerate(some)]
    write_table(folder, [row for item in found for row in item.rows])
    write_scans(folder, rank_scans(found, job.info.training_data))
    return sum(path.stat().st_size for path in folder.iterdir()) / len(some)
