"""Ingest: read scans and masks, normalise, turn masks into one plane per class, and store both in Zarr.

What is unchanged is not read again; what changed is replaced whole; a file that cannot be used goes to the quarantine
list and the others go on.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from unetseg.config import to_plain
from unetseg.dataset import Index, Planes, ScanRecord, is_torn, mark_torn, write_scan
from unetseg.errors import BadFileError, DataError, MissingMaskError, UsageError
from unetseg.formats import plane_count
from unetseg.masks import class_names, find_mask, mask_files, read_guides, read_masks
from unetseg.normalise import fit_scales, normalise
from unetseg.parallel import Progress, run_units, silent
from unetseg.project import Project
from unetseg.readers import BadFile, ScanRef, list_scans, name_of, read_scan, to_channels
from unetseg.sources import SourceFile, describe_file, hashes, same_files
from unetseg.splits import assign_splits
from unetseg.storage import is_disk_error, locked, read_json, text_hash, write_folder, write_json

__all__ = ["IngestResult", "group_of", "ingest"]

logger = logging.getLogger(__name__)

_PIXEL_SETTINGS = ("normalisation", "dtype", "chunk")
_METHOD_SETTINGS = {"percentile": ("low_percentile", "high_percentile"), "fixed": ("fixed_low", "fixed_high")}
_LONGEST_KEY = 200  # bytes: file systems allow 255, and temporary names are longer than the final ones


@dataclass(frozen=True)
class IngestResult:
    """What one ingest did.

    Attributes:
        done: scans read and stored now.
        skipped: scans that were unchanged.
        unlabelled: scans without any mask, which are left out.
        quarantined: files that cannot be used, with reasons.
        failed: files that failed in a way that nobody foresaw, with reasons.
        vanished: scans whose sources are gone.
        fingerprint: changes if and only if training would see something else.
        splits: scans per split.
        dataset: the store.
    """

    done: int
    skipped: int
    unlabelled: tuple[str, ...]
    quarantined: tuple[BadFile, ...]
    failed: tuple[BadFile, ...]
    vanished: tuple[str, ...]
    fingerprint: str
    splits: dict[str, int]
    dataset: Path


@dataclass(frozen=True)
class _Unit:
    """One scan to look at, with what the index lists of it and when the index was saved (nanoseconds)."""

    ref: ScanRef
    listed: ScanRecord | None
    saved: int


@dataclass(frozen=True)
class _Ingested:
    """One scan that is in the dataset, and whether it was stored now."""

    record: ScanRecord
    stored: bool


def ingest(project: Project, *, progress: Progress = silent, cluster: str = "") -> IngestResult:
    """Bring the dataset of a project up to date with its scans and masks.

    Args:
        project: whose sources are read and whose ``dataset.zarr`` is written.
        progress: told about every scan.
        cluster: address of a running Dask scheduler; empty: threads of this process.

    Raises:
        UsageError: no classes are set, or the folder of scans is missing or empty.
        DataError: too many scans cannot be used, or too few groups remain to split.
    """
    if not class_names(project.sources.classes):
        raise UsageError("sources.classes: no class is set; run unetseg init SCANS MASKS, with the folder of masks")
    with locked(project.folder):  # a second ingest would sweep away what the first is writing
        return _ingest_all(project, progress, cluster)


def _ingest_all(project: Project, progress: Progress, cluster: str) -> IngestResult:
    """Look at every scan, then write the index."""
    before = Index.load(project.dataset) or _empty_index(project)
    refs, unreadable = list_scans(project.sources.scans, partial(_count_planes, _single_images(before)))
    saved = _modified(project.dataset / "index.json")
    units = [_Unit(ref, before.scans.get(ref.id), saved) for ref in refs]
    sorted_out = _Outcomes(project, unreadable)
    work = partial(_ingest_one, project)
    workers = project.settings.ingest.workers
    for done, (unit, outcome) in enumerate(run_units(work, units, workers=workers, cluster=cluster), start=1):
        sorted_out.take(unit.ref, outcome)
        progress(done, len(units), unit.ref.id)
    sorted_out.check()
    index = _update_index(project, before, sorted_out)
    if index != before or not saved or is_torn(project.dataset):
        index.save(project.dataset)
    _sweep(project.dataset)
    return sorted_out.result(index)


def _single_images(index: Index) -> dict[str, SourceFile]:
    """The files, by path, that held one image each; pages of stacks have other names than their file."""
    records = [record for record in index.scans.values() if not record.vanished]
    files = [(record.id, record.sources[0]) for record in records]
    return {file.path: file for name, file in files if name_of(Path(file.path).name) == Path(name).name}


def _count_planes(single: Mapping[str, SourceFile], path: Path) -> int:
    """How many planes a file holds; one that is as it was is not opened."""
    known = single.get(str(path))
    return 1 if known and same_files([known], [path]) else plane_count(path)


class _Outcomes:
    """Sorts what became of each scan."""

    def __init__(self, project: Project, unreadable: Iterable[BadFile]) -> None:
        self._project = project
        self.good: dict[str, _Ingested] = {}
        self.quarantined = list(unreadable)
        self.failed: list[BadFile] = []
        self.unlabelled: list[str] = []

    def take(self, ref: ScanRef, outcome: _Ingested | Exception) -> None:
        """File one outcome; a full disk is not one scan's fault and ends the run (what is stored stays)."""
        match outcome:
            case _Ingested():
                self.good[ref.id] = outcome
            case _UnlabelledError():
                self.unlabelled.append(ref.id)
            case BadFileError():
                self.quarantined.append(BadFile(str(ref.path), str(outcome)))
            case OSError() if is_disk_error(outcome):
                raise outcome
            case _:
                self.failed.append(BadFile(str(ref.path), f"{type(outcome).__name__}: {outcome}"))

    @property
    def bad(self) -> tuple[BadFile, ...]:
        """All files that were set aside, in a stable order."""
        return tuple(sorted(self.quarantined + self.failed, key=lambda item: item.path))

    def check(self) -> None:
        """Raise DataError when more scans were set aside than the settings allow."""
        limit, total = self._project.settings.ingest.max_failed_fraction, len(self.good) + len(self.bad)
        for item in self.bad:
            logger.warning("quarantined %s: %s", item.path, item.reason)
        if not self.good or len(self.bad) > limit * total:
            first = "; ".join(f"{Path(item.path).name}: {item.reason}" for item in self.bad[:3])
            raise DataError(
                f"ingest: {len(self.bad)} of {total} scans cannot be used, more than "
                f"ingest.max_failed_fraction = {limit} allows; {first or 'no scan has a mask'}"
            )

    def result(self, index: Index) -> IngestResult:
        """The record of the run."""
        stored = sum(item.stored for item in self.good.values())
        return IngestResult(
            done=stored,
            skipped=len(self.good) - stored,
            unlabelled=tuple(sorted(self.unlabelled)),
            quarantined=tuple(self.quarantined),
            failed=tuple(self.failed),
            vanished=tuple(sorted(key for key, record in index.scans.items() if record.vanished)),
            fingerprint=index.fingerprint,
            splits=index.split_sizes(),
            dataset=self._project.dataset,
        )


def group_of(scan_id: str, pattern: str) -> str:
    """The group of a scan: what the pattern finds in its id (first bracket or whole match), else the id itself."""
    found = re.search(pattern, scan_id) if pattern else None
    return (found.group(1 if found.re.groups else 0) if found else "") or scan_id


class _UnlabelledError(BadFileError):
    """No class has a mask for this scan: not an error of the user's, only nothing to learn from."""


def _ingest_one(project: Project, unit: _Unit) -> _Ingested:
    """Bring one scan up to date; what is known and unchanged is not read again."""
    masks = _mask_files(project, unit.ref)
    paths = list(dict.fromkeys([unit.ref.path, *masks]))
    signature = _signature(project, unit.ref, [paths.index(path) for path in masks])
    known = _known(project, unit)
    if known and known.signature != signature:
        known = None
    if known and same_files(known.sources, paths):
        return _Ingested(replace(known, vanished=False), stored=False)
    sources = tuple(describe_file(path) for path in paths)
    if known and hashes(known.sources) == hashes(sources):
        return _Ingested(replace(known, sources=sources, vanished=False), stored=False)
    if unit.listed:
        mark_torn(project.dataset)
    return _Ingested(_store(project, unit.ref, sources, signature), stored=True)


def _known(project: Project, unit: _Unit) -> ScanRecord | None:
    """What is stored of a scan; the index, where it tells of the same pixels, knows better when files were touched.

    The store decides, because a run that was killed before it wrote the index leaves newer scans than are listed;
    it is only asked where it is newer, since that costs most of what a run on unchanged files costs.
    """
    listed = unit.listed
    if listed and 0 < _modified(_record_file(project, unit.ref)) <= unit.saved:
        return listed
    stored = _stored_record(project, unit.ref)
    if stored is None or listed is None or stored.signature != listed.signature:
        return stored
    return listed if hashes(stored.sources) == hashes(listed.sources) else stored


def _stored_record(project: Project, ref: ScanRef) -> ScanRecord | None:
    """The record that stands beside a scan's pixels; None where there is none that can be read."""
    try:
        return ScanRecord.from_plain(read_json(_record_file(project, ref))["attributes"]["unetseg"])
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
        return None


def _record_file(project: Project, ref: ScanRef) -> Path:
    return project.dataset / "scans" / _key(ref.id) / "zarr.json"


def _modified(path: Path) -> int:
    """When a file was changed last, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _store(project: Project, ref: ScanRef, sources: tuple[SourceFile, ...], signature: str) -> ScanRecord:
    """Read, normalise and write one scan; its folder appears when it is complete."""
    config, channels = project.settings.ingest, project.sources.scans.channels
    scan = read_scan(ref, max_gigabytes=config.max_scan_gigabytes)
    pixels = to_channels(scan.pixels, len(channels), ref.path)
    shape = pixels.shape[:2]
    masks = read_masks(ref, project.sources.classes, shape)
    guides = read_guides(ref, project.sources.guides, shape)
    scales = fit_scales(pixels, config)
    classes = class_names(project.sources.classes)
    record = ScanRecord(
        id=ref.id,
        key=_key(ref.id),
        group=group_of(ref.id, project.sources.scans.group),
        shape=(int(shape[0]), int(shape[1])),
        sources=sources,
        signature=signature,
        scales=scales,
        class_pixels={name: int(np.count_nonzero(masks[..., k] == 1)) for k, name in enumerate(classes)},
        ignored_pixels=int(np.count_nonzero(masks[..., 0] < 0)),  # what is ignored is so for all classes
        pixel_size=scan.header.pixel_size,
    )
    planes = Planes(normalise(pixels, scales, dtype=config.dtype), guides, masks)
    with write_folder(project.dataset / "scans" / record.key) as folder:
        write_scan(folder, record, planes, _empty_index(project))
    return record


def _mask_files(project: Project, ref: ScanRef) -> list[Path]:
    """The files of each class and guide of a scan, in the order of the sources; one file may come several times."""
    found: list[Path] = []
    missing: list[MissingMaskError] = []
    names, labelled = class_names(project.sources.classes), False
    for source in project.sources.classes:
        try:
            files = mask_files(source, ref.id)
            # The first again where there are several: else one moved to the next class would leave the same list.
            found += files if source.encoding != "objects" else [*files, files[0]]
            labelled |= source.name in names  # what to ignore says nothing of classes
        except MissingMaskError as error:
            missing.append(error)
    if missing:
        raise missing[0] if labelled else _UnlabelledError(str(missing[0]))
    return found + [find_mask(source, ref.id)[0] for source in project.sources.guides]


def _signature(project: Project, ref: ScanRef, files: Sequence[int]) -> str:
    """Hash of all settings that the stored arrays of a scan depend on, and of which file serves which source."""
    config = to_plain(project.settings.ingest)
    names = (*_PIXEL_SETTINGS, *_METHOD_SETTINGS.get(config["normalisation"], ()))
    sources = to_plain(project.sources)
    # Not where files are found: their content is compared.
    rules = [
        [{k: v for k, v in item.items() if k not in ("path", "pattern")} for item in sources[kind]]
        for kind in ("classes", "guides")
    ]
    scans = [sources["scans"]["channels"], group_of(ref.id, project.sources.scans.group), ref.page]
    return text_hash({name: config[name] for name in names}, rules, list(files), scans)


def _key(scan_id: str) -> str:
    """A scan's folder name: flat, so that no id can be a part of another scan's group; no two ids have the same."""
    key = scan_id.replace("/", "__")
    if key.replace("__", "/") == scan_id and len(key.encode()) <= _LONGEST_KEY and key != "zarr.json":
        return key
    short = key.encode()[: _LONGEST_KEY - 13].decode(errors="ignore")
    return f"{short}-{text_hash(scan_id)[:12]}"


def _empty_index(project: Project) -> Index:
    return Index(
        classes=class_names(project.sources.classes),
        guides=tuple(guide.name for guide in project.sources.guides),
        channels=project.sources.scans.channels,
        ingest=project.settings.ingest,
    )


def _update_index(project: Project, before: Index, outcomes: _Outcomes) -> Index:
    """The new index: splits decided for new groups, scans whose sources are gone marked."""
    records = {key: outcomes.good[key].record for key in sorted(outcomes.good)}
    groups = {record.group for record in records.values()}
    # Scans whose index was lost bring their splits with them.
    stored = {record.group: record.split for record in records.values() if record.split}
    splits = assign_splits(groups, stored | before.splits, project.settings.ingest)
    scans = {key: replace(record, split=splits[record.group]) for key, record in records.items()}
    for key, record in scans.items():
        if record.split != records[key].split:
            _write_split(project.dataset / "scans" / record.key, record)
    gone = {key: replace(record, vanished=True) for key, record in before.scans.items() if key not in scans}
    return replace(_empty_index(project), splits=splits, scans=scans | gone, quarantine=outcomes.bad)


def _write_split(folder: Path, record: ScanRecord) -> None:
    """Note the split in the scan's own attributes, for people who open the store with other tools."""
    content = read_json(folder / "zarr.json")
    content["attributes"]["unetseg"] = asdict(record)
    write_json(folder / "zarr.json", content)


def _sweep(dataset: Path) -> None:
    """Remove what a killed run left half written."""
    for leftover in (*dataset.glob(".tmp-*"), *dataset.glob("scans/.tmp-*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
