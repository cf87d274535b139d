"""Ingest: read scans and masks, normalise, turn masks into bits per class, and store both in Zarr.

What is unchanged is not read again; what changed is replaced whole; a file that cannot be used goes to the quarantine
list and the others go on. How one scan is brought up to date is told in `unetseg.ingest_scan`.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unetseg.batches import file_weight, in_batches
from unetseg.dataset import Dataset
from unetseg.dataset_index import Index, is_complete, save_quarantine
from unetseg.errors import UsageError
from unetseg.formats import plane_count
from unetseg.full_disk import disk_errors_name
from unetseg.ingest_index import index_before, update_index
from unetseg.ingest_outcomes import Outcome, Outcomes
from unetseg.ingest_rules import any_labelled, why_unlabelled
from unetseg.ingest_scan import IngestedScan, ScanUnit, ingest_scan, up_to_date
from unetseg.masks import class_names, guide_names
from unetseg.parallel import Progress, Workers, open_workers, silent
from unetseg.project import Project
from unetseg.readers import BadFile, list_scans, name_of
from unetseg.scan_groups import fixed_splits, groups_of
from unetseg.scan_table import read_scan_table
from unetseg.sources import SourceFile, same_files
from unetseg.storage import is_disk_error, is_remote, locate, locked, modified, refresh
from unetseg.words import counted, in_project
from unetseg.working import working

__all__ = ["IngestBatch", "IngestResult", "ingest", "ingest_batch"]

logger = logging.getLogger(__name__)

_LOOKED_AT = 50  # known scans at once
_BATCH_SCANS = 1000  # that are about a minute of work


@dataclass(frozen=True)
class IngestResult:
    """What one ingest did.

    Attributes:
        done: scans read and stored now.
        skipped: scans that were unchanged.
        unlabelled: scans without any mask, which are left out.
        lost_masks: those of them that had masks at an earlier ingest.
        quarantined: files that cannot be used, with reasons.
        failed: files that failed in a way that nobody foresaw, with reasons.
        vanished: scans whose sources are gone or can no longer be used.
        suspicions: sentences about masks that a person should look at, by scan.
        fingerprint: changes if and only if training would see something else.
        splits: scans per split.
        dataset: the store.
        page: of the project, to look the dataset over.
    """

    done: int
    skipped: int
    unlabelled: tuple[str, ...]
    lost_masks: tuple[str, ...]
    quarantined: tuple[BadFile, ...]
    failed: tuple[BadFile, ...]
    vanished: tuple[str, ...]
    suspicions: dict[str, tuple[str, ...]]
    fingerprint: str
    splits: dict[str, int]
    dataset: Path
    page: Path

    @property
    def aside(self) -> tuple[BadFile, ...]:
        """All files that were set aside."""
        return (*self.quarantined, *self.failed)

    @property
    def sentence(self) -> str:
        """What became of the scans, in numbers."""
        splits = ", ".join(f"{number} {split}" for split, number in self.splits.items())
        lost = f" ({len(self.lost_masks)} had some before)" if self.lost_masks else ""
        return (
            f"ingested {counted(self.done, 'scan')}, {self.skipped} unchanged ({splits}); "
            f"{len(self.unlabelled)} without masks{lost}, {len(self.aside)} quarantined, "
            f"{len(self.vanished)} vanished"
        )


@dataclass(frozen=True)
class IngestBatch:
    """About a minute of work.

    Attributes:
        units: the scans.
        first: number of the first one among all scans, from 1.
        total: how many scans there are in all batches.
        cluster: address of a running Dask scheduler; empty: threads of this process.
    """

    units: tuple[ScanUnit, ...]
    first: int
    total: int
    cluster: str = ""

    @property
    def last(self) -> int:
        """Number of the last one among all scans."""
        return self.first + len(self.units) - 1


BatchRunner = Callable[[Project, IngestBatch], Sequence[Outcome]]
"""Works a batch off: `ingest_batch`, or something around it."""


def ingest(
    project: Project,
    *,
    progress: Progress = silent,
    cluster: str = "",
    run_batch: BatchRunner | None = None,
    only_split: str = "",
) -> IngestResult:
    """Bring the dataset of a project up to date with its scans and masks.

    Args:
        project: whose sources are read and whose ``dataset.zarr`` is written.
        progress: told about every scan.
        cluster: address of a running Dask scheduler; empty: threads of this process.
        run_batch: works each batch off; None: `ingest_batch`, here.
        only_split: the split of every scan, such as ``test`` for scans that are only scored; empty: three splits.

    Raises:
        UsageError: no classes are set, two have one name, the folder of scans is missing or empty, no scan has a
            mask, or the expression for groups fits no scan.
        DataError: too many scans cannot be used, or too few groups remain to split.
        OSError: the disk is full; what is stored stays.
    """
    if not class_names(project.sources.classes):
        again = in_project("unetseg init SCANS MASKS --overwrite", project.folder)
        raise UsageError(f"sources.classes: no class is set; give the folder of masks too: {again}")
    guide_names(project.sources.guides)
    for folder in _folders(project):
        refresh(folder)
    # A second ingest would sweep away what the first is writing, and a training must find all scans that it began with.
    alone = nullcontext() if is_remote(project.folder) else locked(project.folder)
    with disk_errors_name(project.folder), working(project.folder, "ingest"), alone:
        return _ingest_all(project, cluster, run_batch or partial(ingest_batch, progress=progress), only_split)


def ingest_batch(project: Project, batch: IngestBatch, *, progress: Progress = silent) -> list[Outcome]:
    """Bring the scans of one batch up to date.

    Args:
        project: as for `ingest`.
        batch: which scans.
        progress: told about every scan, counted over all batches.

    Returns:
        Each scan with what became of it.

    Raises:
        OSError: the disk is full, which is no scan's fault; what is stored stays.
    """
    outcomes: list[Outcome] = []
    with open_workers(workers=project.settings.ingest.workers, cluster=batch.cluster) as workers:
        for unit, found in _ingested(project, batch.units, workers):
            if is_disk_error(found):
                raise found
            outcomes.append((unit.ref, found))
            progress(batch.first - 1 + len(outcomes), batch.total, unit.ref.id)
    return outcomes


def _ingested(
    project: Project, units: Sequence[ScanUnit], workers: Workers
) -> Iterator[tuple[ScanUnit, IngestedScan | Exception]]:
    """Each scan with what became of it; those that were there before first, since they take next to nothing."""
    known = [unit for unit in units if unit.listed]
    todo = [unit for unit in units if not unit.listed]
    for unit, found in _found_before(project, known, workers):
        if found is None:
            todo.append(unit)
        else:
            yield unit, found
    yield from workers.run(partial(ingest_scan, project), todo)


def _found_before(
    project: Project, units: Sequence[ScanUnit], workers: Workers
) -> Iterator[tuple[ScanUnit, IngestedScan | None]]:
    """What is up to date; many to a unit of work, since handing over takes as long as looking."""
    for group, found in workers.run(partial(up_to_date, project), in_batches(units, lambda _: 1 / _LOOKED_AT)):
        # What is wrong with one of them is told when that one is ingested.
        yield from zip(group, [None] * len(group) if isinstance(found, Exception) else found, strict=True)


def _folders(project: Project) -> list[Path]:
    sources = project.sources
    masks = [item.path for item in (*sources.classes, *sources.guides)]
    return [project.folder, *(locate(path) for path in dict.fromkeys([sources.scans.path, *masks]))]


def _ingest_all(project: Project, cluster: str, run_batch: BatchRunner, only_split: str) -> IngestResult:
    """Look at every scan, then write the index."""
    source = project.sources.scans
    table = read_scan_table(source.table) if source.table else None
    before = index_before(project)
    saved = modified(project.dataset / "index.json")
    refs, unreadable = list_scans(source, partial(_count_planes, _single_images(before)))
    groups = groups_of([ref.id for ref in refs], source.group, table, must_fit=not only_split)
    units = [ScanUnit(ref, groups[ref.id], before.scans.get(ref.id), saved) for ref in refs]
    fixed = fixed_splits(table, groups) if table else {}
    outcomes = Outcomes(unreadable, labelled=any_labelled(project, unreadable))
    for batch in _batches(units, cluster):
        outcomes.take(run_batch(project, batch))
    if outcomes.bad != before.quarantine:  # also where they are too many, and no index is written
        save_quarantine(project.dataset, outcomes.bad)
    without = [ref for ref in refs if ref.id in outcomes.unlabelled]
    outcomes.check(project.settings.ingest.max_failed_fraction, partial(why_unlabelled, project, without))
    index = update_index(project, before, outcomes, fixed, only_split)
    if index != before or not is_complete(project.dataset):
        index.save(project.dataset)
        project.data_check.unlink(missing_ok=True)
    _sweep(project.dataset)
    if not project.data_check.exists():
        _write_page(project, index)
    return _result(project, index, outcomes)


def _batches(units: Sequence[ScanUnit], cluster: str) -> Iterator[IngestBatch]:
    """Cut the scans into batches of about a minute of work."""
    first = 1
    for members in in_batches(units, _weight):
        yield IngestBatch(members, first, len(units), cluster)
        first += len(members)


def _weight(unit: ScanUnit) -> float:
    """The share of a batch that a scan takes; a page of a stack is taken for a small scan."""
    return file_weight(unit.ref.path if unit.ref.page is None and not unit.listed else None, 1 / _BATCH_SCANS)


def _single_images(index: Index) -> dict[str, SourceFile]:
    """The files, by path, that held one image each; pages of stacks have other names than their file."""
    records = [record for record in index.scans.values() if not record.vanished]
    files = [(record.id, record.sources[0]) for record in records]
    return {file.path: file for name, file in files if name_of(Path(file.path).name) == Path(name).name}


def _count_planes(single: Mapping[str, SourceFile], path: Path) -> int:
    """How many planes a file holds; one that is as it was is not opened."""
    known = single.get(str(path))
    with suppress(FileNotFoundError):  # a link to nothing: reading it says so
        if known and same_files([known], [path]):
            return 1
    return plane_count(path)


def _write_page(project: Project, index: Index) -> None:
    """Write the page about the dataset. What fails there must not fail the ingest, whose work is done."""
    from unetseg.data_check import write_data_check  # SciPy, Pillow and Jinja are not needed where nothing changed

    page = project.data_check
    try:
        write_data_check(Dataset(project.dataset, index), page, config=project.settings.loss)
    except Exception:
        logger.warning("%s: could not be written; the dataset is complete", page, exc_info=True)
        with suppress(OSError):
            page.unlink(missing_ok=True)  # it shows an older dataset; the next ingest tries again


def _result(project: Project, index: Index, outcomes: Outcomes) -> IngestResult:
    stored = sum(item.stored for item in outcomes.good.values())
    return IngestResult(
        done=stored,
        skipped=len(outcomes.good) - stored,
        unlabelled=index.unlabelled,
        lost_masks=index.lost_masks,
        quarantined=tuple(outcomes.quarantined),
        failed=tuple(outcomes.failed),
        vanished=index.vanished,
        suspicions=index.suspicions,
        fingerprint=index.fingerprint,
        splits=index.split_sizes(),
        dataset=project.dataset,
        page=project.data_check,
    )


def _sweep(dataset: Path) -> None:
    """Remove what a killed run left half written; object stores have no temporary names."""
    if is_remote(dataset):
        return
    for leftover in (*dataset.glob(".tmp-*"), *dataset.glob("scans/.tmp-*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
