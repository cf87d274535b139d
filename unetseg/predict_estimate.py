"""What a prediction would do and cost, from headers and a short trial (`unetseg.predict_trial`).

Scans that are up to date cost nothing. What a cluster takes is not measured but reckoned from this machine's time,
which the estimate says (`unetseg.predict_capacity`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from unetseg.config import PredictConfig
from unetseg.disk_usage import Disk, disk_at
from unetseg.errors import BadFileError
from unetseg.gallery_trial import PageRates, page_bytes
from unetseg.output_trial import Amount
from unetseg.predict_capacity import Capacity, capacity_of
from unetseg.predict_memory import memory_bytes
from unetseg.predict_open import Prediction, open_prediction
from unetseg.predict_pieces import Work
from unetseg.predict_trial import Rates, measure, starting_seconds
from unetseg.readers import BadFile, ScanRef
from unetseg.scan_rows import open_in_bands
from unetseg.stack_output import Stack, marker_of, stacks_of

__all__ = ["PredictEstimate", "estimate"]

_BLIND: Final = (
    "nothing was found on the pieces of scans that were tried; what is found elsewhere takes more of the disk"
)
_FOLDERS: Final = 3  # of the outputs, of the records, and of what is unfinished
_TABLES: Final = 4  # files


@dataclass(frozen=True)
class PredictEstimate:
    """What a prediction would do and cost.

    Attributes:
        scans: that can be read, as far as headers and the trial tell; a stack is one.
        stacks: how many of them are stacks.
        pages: of all stacks.
        pixels: of all of them.
        up_to_date: of the scans, those whose outputs are.
        seconds: expected time for the others.
        by: who takes that time, and what was taken for granted, as the end of a sentence.
        disk_bytes: that their outputs take, in whole blocks of the disk.
        free_bytes: of that disk; None where nobody knows, as of object stores.
        memory_bytes: of the process, or of all of them on this machine; where a cluster segments, of this process
            alone, which only hands out the work.
        quarantined: files that will fail, with reasons; damage behind a header is seen on those that were tried.
        warnings: that the disk is too small, that none of the scans that were tried can be segmented, or that nothing
            was found on them.
        disk_range: bytes of the disk, at least and at most, 19 times in 20: as far as the pieces tell that were tried.
    """

    scans: int
    stacks: int
    pages: int
    pixels: int
    up_to_date: int
    seconds: float
    by: str
    disk_bytes: int
    free_bytes: int | None
    memory_bytes: int
    quarantined: tuple[BadFile, ...]
    warnings: tuple[str, ...] = ()
    disk_range: tuple[int, int] = (0, 0)


def estimate(
    folder: Path,
    out: Path,
    *,
    bundle: Path,
    config: PredictConfig,
    cluster: str = "",
    project: Path | None = None,
    overwrite: bool = False,
) -> PredictEstimate:
    """Say what `predict` would do; nothing is written but into a temporary folder.

    Args:
        folder: of scans.
        out: where the outputs would go.
        bundle: folder of the model.
        config: the settings.
        cluster: address of a running Dask scheduler; empty: this machine does it.
        project: folder of the project whose masks and guides are no scans; None: every image is one.
        overwrite: whether scans would be done again that are up to date.

    Raises:
        UsageError: as `unetseg.predict.predict`.
    """
    prediction = open_prediction(folder, out, bundle=bundle, config=config, project=project)
    capacity = capacity_of(prediction.job.config, cluster)
    works, unreadable = _works(prediction)
    done = set() if overwrite else _up_to_date(prediction)
    todo = [work for work in works if work.ref not in done]
    disk = disk_at(prediction.job.out)
    tried: dict[str, BadFile] = {}
    seconds, needed, warnings = _cost(prediction, todo, disk, capacity, tried)
    works, todo = _without(works, tried), _without(todo, tried)
    stacks = {work.ref.stack for work in works if work.ref.page is not None}
    return PredictEstimate(
        scans=_count(works),
        stacks=len(stacks),
        pages=sum(work.ref.page is not None for work in works),
        pixels=sum(work.shape[0] * work.shape[1] for work in works),
        up_to_date=_count(works) - _count(todo),
        seconds=seconds,
        by=capacity.by,
        disk_bytes=round(needed.expected),
        disk_range=_range(needed),
        free_bytes=disk.free,
        memory_bytes=round(memory_bytes(prediction.job, todo, capacity)) if todo else 0,
        quarantined=(*unreadable, *tried.values()),
        warnings=(*warnings, *_too_small(out, needed.expected, disk.free)),
    )


def _count(works: Sequence[Work]) -> int:
    """Scans; the pages of a stack are one."""
    return len({work.ref.stack for work in works})


def _without(works: Sequence[Work], bad: Mapping[str, BadFile]) -> list[Work]:
    """The scans that will not fail; a stack fails as a whole."""
    return [work for work in works if work.ref.stack not in bad]


def _cost(
    prediction: Prediction, todo: Sequence[Work], disk: Disk, capacity: Capacity, bad: dict[str, BadFile]
) -> tuple[float, Amount, tuple[str, ...]]:
    """Seconds and bytes of the disk, and why they cannot be told where that is so; ``bad`` gets the scans that fail."""
    job = replace(prediction.job, config=replace(prediction.job.config, workers=capacity.here))
    seconds = starting_seconds(job, capacity.processes) if todo and capacity.processes else 0.0
    amounts, pages, warnings = list[Amount](), list[PageRates](), list[str]()
    for stacked, works in enumerate(_scans_and_pages(todo)):
        if not works:
            continue
        try:
            rates = measure(job, works, disk, stacked=bool(stacked), tell=partial(_note, bad))
        except BadFileError as error:
            return 0.0, Amount(0.0, 0.0, 0.0), (f"time and disk are not known: {error}",)
        if not (sound := _without(works, bad)):
            continue
        seconds += _seconds(rates, sound, capacity)
        amounts.append(rates.all_bytes(sound))
        pages.append(rates.page)
        if rates.outputs.blind(sound):
            warnings.append(_BLIND)
    once = _once(prediction, disk, pages) if todo else 0.0
    return seconds, _together([Amount(once, 0.0, once), *amounts]), tuple(dict.fromkeys(warnings))


def _note(bad: dict[str, BadFile], ref: ScanRef, error: Exception) -> None:
    """One scan that fails, in the words of the prediction; of a stack the first page that does."""
    reason = str(error) if isinstance(error, BadFileError) else f"{type(error).__name__}: {error}"
    bad.setdefault(ref.stack, BadFile(str(ref.path), reason))


def _together(amounts: Sequence[Amount]) -> Amount:
    margin = math.hypot(*(amount.margin for amount in amounts))
    return Amount(sum(one.expected for one in amounts), margin, sum(one.least for one in amounts))


def _range(needed: Amount) -> tuple[int, int]:
    least = min(needed.least, needed.expected)
    return round(max(needed.expected - needed.margin, least)), round(needed.expected + needed.margin)


def _once(prediction: Prediction, disk: Disk, pages: Sequence[PageRates]) -> float:
    """Bytes of what is there once: folders, the page of overlays, ``.files.json``, and ``run.json``, which is small."""
    files = disk.whole(round(page_bytes(pages))) + disk.whole(prediction.counts.size) + disk.block
    return _FOLDERS * disk.folder + files + _TABLES * disk.block / 2  # of each table, half of the last block is free


def _scans_and_pages(works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
    """What has outputs of its own, as pages have that differ in size from others of their stack; and other pages."""
    shapes = defaultdict[str, set[tuple[int, int]]](set)
    for work in works:
        shapes[work.ref.stack].add(work.shape)
    pages = [work for work in works if work.ref.page is not None and len(shapes[work.ref.stack]) == 1]
    together = {work.ref for work in pages}
    return [work for work in works if work.ref not in together], pages


def _up_to_date(prediction: Prediction) -> set[ScanRef]:
    """Scans that need not be done, and pages of such stacks."""
    scans, stacks = stacks_of(prediction.refs)
    done: set[ScanRef] = set()
    found: list[ScanRef | Stack] = [*scans, *stacks]
    for scan in found:
        with suppress(BadFileError):  # a guide is missing, which the prediction will say
            if marker_of(prediction.job, scan).done():
                done |= set(scan.pages if isinstance(scan, Stack) else [scan])
    return done


def _works(prediction: Prediction) -> tuple[list[Work], tuple[BadFile, ...]]:
    """The scans that can be opened, and the files that cannot be used: a stack as a whole, as of its pages."""
    works, unreadable, most = list[Work](), list(prediction.bad), prediction.config.max_scan_gigabytes
    broken: set[str] = set()
    for ref in prediction.refs:
        try:
            with open_in_bands(ref, max_gigabytes=most) as plane:
                works.append(Work(ref, plane.header, plane.streamed))
        except BadFileError as error:
            if ref.stack not in broken:
                unreadable.append(BadFile(str(ref.path), str(error)))
            broken.add(ref.stack)
    return [work for work in works if work.ref.stack not in broken], tuple(unreadable)


def _seconds(rates: Rates, todo: Sequence[Work], capacity: Capacity) -> float:
    """Scans in bands keep all workers busy, others as many as there are scans; each stack is put together by one."""
    workers = capacity.at_once
    busy = workers if any(work.streamed for work in todo) else min(workers, len(todo))
    stacking = sum(rates.stacking_seconds(work) for work in todo) / min(workers, _count(todo))
    return rates.start + sum(rates.seconds(work) for work in todo) / busy + stacking


def _too_small(out: Path, needed: float, free: int | None) -> tuple[str, ...]:
    if free is None or needed <= free:
        return ()
    return (
        f"{out}: about {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; make room, or choose another "
        "folder",
    )
