"""One batch of a prediction: what a task run is given, what it does, and what it says of it.

Outputs and commit markers are written as scan after scan is done, so a batch that was cut short, and is begun again,
does only what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from unetseg.batches import file_weight, in_batches
from unetseg.errors import BadFileError
from unetseg.full_disk import disk_errors_name
from unetseg.parallel import Progress, Workers, silent
from unetseg.predict_bands import segment_large_scans
from unetseg.predict_errors import ends_the_run
from unetseg.predict_job import Job
from unetseg.predict_marker import Segmented
from unetseg.predict_scan import LargeScan, segment_scan
from unetseg.predict_stack import segment_stacks
from unetseg.readers import BadFile, ScanRef
from unetseg.stack_output import stacks_of, up_to_date
from unetseg.storage import is_remote

__all__ = ["BatchRecord", "PredictBatch", "segment_batch"]

Outcome = Segmented | Exception

_LOOKED_AT: Final = 64  # scans by one unit
_SEGMENTED: Final = 16  # small scans by one unit: handing over takes a hundredth of them, a killed one loses a second
_SMALL_BYTES: Final = 1e6  # of the files of one unit


@dataclass(frozen=True)
class PredictBatch:
    """Some scans of a prediction.

    Attributes:
        job: what all units share.
        refs: the scans; a large one is in the batch with all its bands.
        name: of the folder of the scans.
        number: of the batch, from 1.
        of: how many batches there are.
        first: number of the first scan among those of all batches, from 1; a stack is one.
        total: scans in all batches.
    """

    job: Job
    refs: tuple[ScanRef, ...]
    name: str
    number: int
    of: int
    first: int
    total: int


@dataclass(frozen=True)
class BatchRecord:
    """What became of the scans of a batch.

    Attributes:
        segmented: scans and what was found on them, sorted by their ids.
        quarantined: files that cannot be used, with reasons.
        failed: files that failed in a way that nobody foresaw, with reasons.
    """

    segmented: Mapping[str, Segmented]
    quarantined: tuple[BadFile, ...]
    failed: tuple[BadFile, ...]


def segment_batch(batch: PredictBatch, workers: Workers, *, progress: Progress = silent) -> BatchRecord:
    """Segment the scans of a batch whose outputs are missing or out of date.

    Args:
        batch: the scans.
        workers: that segment them.
        progress: told about every scan, counted over all batches.

    Raises:
        BundleError: the model is damaged.
        UsageError: a setting does not fit the model.
        ClusterError: the cluster is lost; what is finished stays.
        OSError: the disk is full; what is done stays.
    """
    outcomes: dict[ScanRef, Outcome] = {}
    with disk_errors_name(batch.job.out):
        for ref, outcome in _outcomes(batch, workers):
            if ends_the_run(outcome):  # what is done stays
                raise outcome
            outcomes[ref] = outcome
            progress(batch.first - 1 + len(outcomes), batch.total, ref.id)
    return _record(outcomes)


def _outcomes(batch: PredictBatch, workers: Workers) -> Iterator[tuple[ScanRef, Outcome]]:
    """Each scan with what became of it: many small ones at a time, then large ones and stacks, each by all."""
    large: list[LargeScan] = []
    scans, stacks = stacks_of(batch.refs)
    todo: list[ScanRef] = []
    for ref, found in _found_before(batch.job, scans, workers):
        if found is None:
            todo.append(ref)
        else:
            yield ref, found
    for ref, outcome in workers.run_together(partial(segment_scan, batch.job), todo, _weight):
        if isinstance(outcome, LargeScan):
            large.append(outcome)
        else:
            yield ref, outcome
    yield from segment_large_scans(batch.job, large, workers)
    yield from segment_stacks(batch.job, stacks, workers)


def _found_before(job: Job, scans: Sequence[ScanRef], workers: Workers) -> Iterator[tuple[ScanRef, Segmented | None]]:
    """What was found on scans that are up to date; many to a unit, since handing over takes as long as looking."""
    for refs, found in workers.run(partial(up_to_date, job), in_batches(scans, lambda _: 1 / _LOOKED_AT)):
        # What is wrong with one of them is told when that one is segmented.
        yield from zip(refs, [None] * len(refs) if isinstance(found, Exception) else found, strict=True)


def _weight(ref: ScanRef) -> float:
    """Of a unit; those that come from a store wait for it, rather than for who hands them over."""
    return 1 if is_remote(ref.path) else file_weight(ref.path, 1 / _SEGMENTED, _SMALL_BYTES)


def _record(outcomes: Mapping[ScanRef, Outcome]) -> BatchRecord:
    """Sort scans that were segmented from files that cannot be used, and from those that nobody foresaw."""
    segmented: dict[str, Segmented] = {}
    quarantined: list[BadFile] = []
    failed: list[BadFile] = []
    for ref in sorted(outcomes):
        outcome = outcomes[ref]
        if isinstance(outcome, Segmented):
            segmented[ref.id] = outcome
        elif isinstance(outcome, BadFileError):
            quarantined.append(BadFile(str(ref.path), str(outcome)))
        else:
            failed.append(BadFile(str(ref.path), f"{type(outcome).__name__}: {outcome}"))
    return BatchRecord(segmented, tuple(quarantined), tuple(failed))
