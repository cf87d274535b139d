"""Ingest one scan: find what of it changed, and read, normalise and store exactly that.

A scan has three parts: its image, its masks and its guides. Each is made from files by rules (settings); while both are
as they were, the part is taken over as it is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unetseg.bit_fields import count_fields, unpack_guides
from unetseg.config import IngestConfig
from unetseg.dataset import GUIDES, IMAGE, MASKS
from unetseg.dataset_index import empty_index, mark_torn
from unetseg.formats import orientation
from unetseg.ingest_rules import WantedPart, wanted_parts
from unetseg.json_files import read_json
from unetseg.masks import class_names, open_guides, open_masks
from unetseg.project import Project
from unetseg.readers import ScanRef, open_scan
from unetseg.scan_record import Part, ScanRecord
from unetseg.scan_writer import HashedArray, carry_part, describe_scan, is_stored, members_of
from unetseg.sources import describe_file, hashes
from unetseg.storage import local_copy, modified, text_hash, write_folder
from unetseg.survey import survey
from unetseg.zarr_arrays import band_rows

__all__ = ["IngestedScan", "ScanUnit", "ingest_scan", "scan_key", "up_to_date"]

_LONGEST_KEY = 200  # bytes: file systems allow 255, and temporary names are longer than the final ones


@dataclass(frozen=True)
class ScanUnit:
    """One scan to look at.

    Attributes:
        ref: the scan.
        group: what must not be torn between splits.
        listed: what the index says of it.
        saved: when the index was saved, in nanoseconds; 0: never.
    """

    ref: ScanRef
    group: str
    listed: ScanRecord | None = None
    saved: int = 0


@dataclass(frozen=True)
class IngestedScan:
    """One scan that is in the dataset, and whether any of it was stored now."""

    record: ScanRecord
    stored: bool


def ingest_scan(project: Project, unit: ScanUnit) -> IngestedScan:
    """Bring one scan of the dataset up to date.

    Raises:
        UnlabelledError: it has no mask of any class.
        BadFileError: it, a mask or a guide cannot be used.
    """
    wanted = wanted_parts(project, unit.ref)
    known = _known(project, unit)
    if found := _unchanged(project, unit, known, wanted):
        return found
    with ExitStack() as nearby:
        for path in {path for want in wanted.values() for path in want.paths}:
            nearby.enter_context(local_copy(path))  # what lies in an object store is fetched once
        return _renew(project, unit, known, wanted)


def up_to_date(project: Project, units: Sequence[ScanUnit]) -> list[IngestedScan | None]:
    """Those scans that are as their files look; None for each other one.

    Raises:
        BadFileError: of one of them, a mask or a guide cannot be used.
    """
    return [_unchanged(project, unit, _known(project, unit), wanted_parts(project, unit.ref)) for unit in units]


def _unchanged(
    project: Project, unit: ScanUnit, known: ScanRecord | None, wanted: Mapping[str, WantedPart]
) -> IngestedScan | None:
    """What is known of a scan, where files and rules of all parts look the same."""
    if known is None or known.chunk != project.settings.ingest.chunk:
        return None
    if not all(want.is_in(getattr(known, name)) for name, want in wanted.items()):
        return None
    return IngestedScan(replace(known, group=unit.group, vanished=False), stored=False)


def _renew(
    project: Project, unit: ScanUnit, known: ScanRecord | None, wanted: Mapping[str, WantedPart]
) -> IngestedScan:
    """Compare contents, and store what differs."""
    chunk = project.settings.ingest.chunk
    parts = _described(wanted)
    folder = _folder(project, unit.ref)
    changed = {
        name
        for name, part in parts.items()
        if known is None or known.chunk != chunk or _differs(part, known, name) or not is_stored(folder, name, known)
    }
    if known and not changed:  # touched, but the same
        return IngestedScan(replace(_with_parts(known, parts), group=unit.group, vanished=False), stored=False)
    if unit.listed:
        mark_torn(project.dataset)
    return IngestedScan(_store(project, unit, known, parts, changed), stored=True)


def _described(wanted: Mapping[str, WantedPart]) -> dict[str, Part]:
    """The parts as they should be, of which nothing is stored yet."""
    parts = {name: Part(tuple(map(describe_file, want.paths)), want.rule) for name, want in wanted.items()}
    # A scan is not opened for it where there is nothing to compare it with.
    if not any(map(orientation, (*wanted["masks"].paths, *wanted["guides"].paths))):
        return parts
    return {
        name: replace(part, orientations=tuple(map(orientation, wanted[name].paths))) for name, part in parts.items()
    }


def _with_parts(record: ScanRecord, parts: Mapping[str, Part]) -> ScanRecord:
    """The record with new files and rules of its parts; their contents stay."""
    image, masks, guides = (replace(parts[name], content=getattr(record, name).content) for name in parts)
    return replace(record, image=image, masks=masks, guides=guides)


def _differs(part: Part, known: ScanRecord, name: str) -> bool:
    stored: Part = getattr(known, name)
    return stored.rule != part.rule or hashes(stored.sources) != hashes(part.sources)


# --------------------------------------------------------------------------- what is there


def _known(project: Project, unit: ScanUnit) -> ScanRecord | None:
    """What is stored of a scan; the index, where it tells of the same pixels, knows better when files were touched.

    The store decides, because a run that was killed before it wrote the index leaves newer scans than are listed;
    it is only asked where it is newer, since that costs most of what a run on unchanged files costs.
    """
    listed, file = unit.listed, _folder(project, unit.ref) / "zarr.json"
    # One that had vanished was not looked at then: its pixels may be of a run that was killed.
    if listed and not listed.vanished and 0 < modified(file) <= unit.saved:
        return listed
    stored = _stored_record(file)
    if stored is None or listed is None:
        return stored
    return listed if _made_of(stored) == _made_of(listed) else stored


def _made_of(record: ScanRecord) -> list[object]:
    return [(part.rule, part.content, hashes(part.sources)) for part in (record.image, record.masks, record.guides)]


def _stored_record(file: Path) -> ScanRecord | None:
    """The record that stands beside a scan's pixels; None where there is none that can be read."""
    try:
        return ScanRecord.from_plain(read_json(file)["attributes"]["unetseg"])
    except (FileNotFoundError, NotADirectoryError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _folder(project: Project, ref: ScanRef) -> Path:
    return project.dataset / "scans" / scan_key(ref.id)


def scan_key(scan_id: str) -> str:
    """A scan's folder name: flat, so that no id can be a part of another scan's group; no two ids have the same."""
    key = scan_id.replace("/", "__")
    if key.replace("__", "/") == scan_id and len(key.encode()) <= _LONGEST_KEY and key != "zarr.json":
        return key
    short = key.encode()[: _LONGEST_KEY - 13].decode(errors="ignore")
    return f"{short}-{text_hash(scan_id)[:12]}"


# --------------------------------------------------------------------------- storing


@dataclass(frozen=True)
class _Job:
    """What the parts of one scan are written from and to."""

    project: Project
    ref: ScanRef
    folder: Path

    @property
    def config(self) -> IngestConfig:
        return self.project.settings.ingest

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> HashedArray:  # noqa: ANN401 (a dtype)
        return HashedArray(self.folder / name, shape, dtype, chunk=self.config.chunk)

    def bands(self, height: int, *, whole: bool) -> Iterator[tuple[int, int]]:
        """First and last row of each band; one band where the scan is in memory anyway."""
        step = height if whole else band_rows(self.config.chunk)
        return ((start, min(start + step, height)) for start in range(0, height, step))


def _store(
    project: Project, unit: ScanUnit, known: ScanRecord | None, parts: Mapping[str, Part], changed: set[str]
) -> ScanRecord:
    """Write what changed and take the rest over; the scan's folder appears when it is complete."""
    target = _folder(project, unit.ref)
    with write_folder(target) as folder:
        job = _Job(project, unit.ref, folder)
        record = replace(known or _blank(unit), group=unit.group, chunk=job.config.chunk, vanished=False)
        record = _with_parts(record, parts)
        if "image" in changed:
            record = _write_image(job, record)
        if known and (record.shape, record.pixel_size) != (known.shape, known.pixel_size):
            changed = set(parts)
        if "image" in changed and unit.ref.page is not None:
            changed = set(parts)  # a stack that is longer now may have shifted against its masks
        if "masks" in changed:
            record = _write_masks(job, record)
        if "guides" in changed:
            record = _write_guides(job, record)
        for name in sorted(set(parts) - changed):
            carry_part(target, folder, name)
        describe_scan(folder, record, empty_index(project))
    return record


def _blank(unit: ScanUnit) -> ScanRecord:
    """A scan of which nothing is known yet."""
    none = Part()
    return ScanRecord(unit.ref.id, scan_key(unit.ref.id), unit.group, (0, 0), 0, none, none, none, (), (), (), {})


def _write_image(job: _Job, record: ScanRecord) -> ScanRecord:
    """Normalise and store the scan."""
    channels = len(job.project.sources.scans.channels)
    with open_scan(job.ref, max_gigabytes=job.config.max_scan_gigabytes) as plane:
        # Found before any row is written: a scan of the wrong channels leaves no half array.
        bands = list(job.bands(plane.header.height, whole=not plane.streamed))
        found = survey(plane, channels, job.config, job.ref.path, bands=bands)
        shape = plane.header.height, plane.header.width
        array = job.array(IMAGE, (*shape, channels), job.config.dtype)
        for start, stop in bands:
            array.write(start, found.preparation(plane.rows(start, stop), dtype=job.config.dtype))
    return replace(
        record,
        shape=shape,
        pixel_size=plane.header.pixel_size,
        scales=found.preparation.scales,
        intensities=tuple(channel.describe() for channel in found.intensities),
        image=replace(record.image, content=array.content),
    )


def _write_masks(job: _Job, record: ScanRecord) -> ScanRecord:
    """Store the bit fields of the classes, and count them."""
    sources, shape = job.project.sources.classes, record.shape
    names = class_names(sources)
    counts: Counter[int] = Counter()
    with open_masks(job.ref, sources, shape, resize=job.config.resize_masks) as masks:
        array = job.array(MASKS, shape, masks.frame.dtype)
        for start, stop in job.bands(shape[0], whole=False):
            fields = masks.rows(start, stop)
            array.write(start, fields)
            counts.update(count_fields(fields))
        soft = masks.soft
    return replace(
        record,
        combinations=tuple(sorted(counts.items())),
        class_pixels={name: _pixels(counts, k, len(names)) for k, name in enumerate(names)},
        ignored_pixels=counts[1 << len(names)],  # a bit of its own, which is set alone
        soft_masks=soft,
        masks=replace(record.masks, content=array.content),
    )


def _pixels(counts: Mapping[int, int], k: int, classes: int) -> int:
    return sum(pixels for field, pixels in counts.items() if k in members_of(field, classes))


def _write_guides(job: _Job, record: ScanRecord) -> ScanRecord:
    """Store the guides, where there are any."""
    sources, shape = job.project.sources.guides, record.shape
    if not sources:
        return replace(record, guides=replace(record.guides, content=""))
    array = job.array(GUIDES, (*shape, len(sources)), np.uint8)
    with open_guides(job.ref, sources, shape, resize=job.config.resize_masks) as guides:
        for start, stop in job.bands(shape[0], whole=False):
            array.write(start, unpack_guides(guides.rows(start, stop), len(sources)))
    return replace(record, guides=replace(record.guides, content=array.content))
