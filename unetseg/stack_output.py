"""One output per kind for a whole stack, made of those of its pages, which are local and gone then.

The pages are segmented as scans of their own, below the folder for what is unfinished; large ones in bands there::

    OUT/.unfinished/<stack>/<hash>/<scan>.p0007.ome.zarr
    OUT/.unfinished/<stack>/<hash>/records/<scan>.p0007.json
    OUT/.unfinished/<stack>/<hash>/.unfinished/<page>/       bands of a large page

The hash is of model and settings (`unetseg.predict_job.Job.parts`).
A band of one page is in memory at a time, however many pages there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from unetseg.errors import DataError
from unetseg.object_table import ObjectRow
from unetseg.ome import VoxelSize
from unetseg.outputs import FORMATS, Kind
from unetseg.pixel_size import Size
from unetseg.predict_job import Job
from unetseg.predict_marker import Marker, Segmented
from unetseg.predict_scan import output_kinds, output_name, output_names
from unetseg.readers import ScanRef, read_header, read_page_distance
from unetseg.sources import SourceFile
from unetseg.storage import local_copy

__all__ = ["Stack", "finish_stack", "marker_of", "page_job", "stacks_of", "up_to_date"]

_BETWEEN: Literal["ome-zarr"] = "ome-zarr"
"""Format of the pages until they are stacked: its rows are found without decoding those above them."""


@dataclass(frozen=True)
class Stack:
    """The pages of one file.

    Attributes:
        ref: the file as a whole.
        pages: in order.
    """

    ref: ScanRef
    pages: tuple[ScanRef, ...]


def stacks_of(refs: Sequence[ScanRef]) -> tuple[list[ScanRef], list[Stack]]:
    """The scans that are no pages, and the stacks of those that are, each in their order."""
    pages: dict[str, list[ScanRef]] = {}
    for ref in refs:
        if ref.page is not None:
            pages.setdefault(ref.stack, []).append(ref)
    stacks = [Stack(ScanRef(name, own[0].path), tuple(own)) for name, own in pages.items()]
    return [ref for ref in refs if ref.page is None], stacks


def marker_of(job: Job, scan: ScanRef | Stack) -> Marker:
    """The marker of a scan, or of a stack as a whole.

    Raises:
        BadFileError: a guide is missing.
    """
    return Marker(job, scan.ref, scan.pages) if isinstance(scan, Stack) else Marker(job, scan)


def page_job(job: Job, stack: str) -> Job:
    """How the pages of a stack are segmented: as of any scans, into a folder of their own.

    Args:
        job: of the prediction.
        stack: its id.
    """
    folder = job.parts(stack)
    return replace(job, out=folder, scratch=folder / ".unfinished", config=replace(job.config, format=_BETWEEN))


def up_to_date(job: Job, scans: Sequence[ScanRef | Stack]) -> list[Segmented | None]:
    """What was found on each scan, or on all pages of a stack, if its outputs are up to date.

    Raises:
        BadFileError: a guide is missing.
    """
    markers = [marker_of(job, scan) for scan in scans]
    found = [marker.done() for marker in markers]
    if job.scratch.exists():  # mostly not; asked for each scan, that would be a tenth of the time
        for marker, done in zip(markers, found, strict=True):
            if done:
                marker.drop_parts()
    return found


def finish_stack(job: Job, stack: Stack) -> Segmented:
    """Make the outputs of a stack whose pages are all segmented.

    Pages of one size become one output of each kind with a z axis; pages that differ in size stay outputs of their own.

    Raises:
        DataError: the file, or a guide, was changed after some pages had been segmented.
    """
    marker, pages = Marker(job, stack.ref, stack.pages), page_job(job, stack.ref.id)
    sources = marker.sources()
    records = [Marker(pages, ref).record for ref in stack.pages]
    _check_unchanged(stack, sources, records)
    rows = [[ObjectRow(**row) for row in record["rows"]] for record in records]
    sizes = [(own[0].height, own[0].width) for own in rows]
    alike = len(set(sizes)) == 1
    marker.begin([name for ref in ([stack.ref] if alike else stack.pages) for name in output_names(job.config, ref)])
    for ref in stack.pages:  # outputs of their own, of a time when the pages differed in size
        Marker(job, ref).discard()
    outputs = list((_write_stack if alike else _write_pages)(job, pages, stack, sizes))
    notes = [record["note"] for record in records if record["note"]]
    if not alike:
        notes.append("a stack whose pages differ in size: each page has outputs of its own")
    profiles = {page: found for record in records for page, found in record["profiles"].items()}
    return marker.finish(sources, outputs, chain.from_iterable(rows), "; ".join(dict.fromkeys(notes)), profiles)


def _check_unchanged(stack: Stack, sources: Sequence[SourceFile], records: Sequence[Mapping[str, Any]]) -> None:
    now = {source.path: source.sha256 for source in sources}
    then = [(item["path"], item["sha256"]) for record in records for item in record.get("sources", ())]
    if not all(record.get("signature") for record in records) or any(
        now.get(path) != content for path, content in then
    ):
        raise DataError(
            f"{stack.ref.path}: it, or what was made of its pages, was changed meanwhile; run the same again"
        )


def _write_stack(job: Job, pages: Job, stack: Stack, sizes: Sequence[tuple[int, int]]) -> Iterator[str]:
    size = _voxel_size(stack)
    for kind in output_kinds(job.config):
        name = output_name(job.config, stack.ref, kind)
        planes = [_PagePlanes.of(pages, ref, kind, sizes[0]) for ref in stack.pages]
        FORMATS[job.config.format].write_stack(job.out / name, planes, job.info.classes, size, kind=kind)
        yield name


def _write_pages(job: Job, pages: Job, stack: Stack, sizes: Sequence[tuple[int, int]]) -> Iterator[str]:
    for ref, sides in zip(stack.pages, sizes, strict=True):
        for kind in output_kinds(job.config):
            name = output_name(job.config, ref, kind)
            planes = _PagePlanes.of(pages, ref, kind, sides)
            FORMATS[job.config.format].write(job.out / name, planes, job.info.classes, _pixel_size(ref), kind=kind)
            yield name


def _voxel_size(stack: Stack) -> VoxelSize:
    """That of the pages, with how far they are apart where the file says so."""
    with local_copy(stack.ref.path):  # one for both
        size, distance = _pixel_size(stack.pages[0]), read_page_distance(stack.ref)
    return (distance, *(size or (None, None))) if distance else size


def _pixel_size(ref: ScanRef) -> Size | None:
    return read_header(ref).pixel_size


@dataclass(frozen=True)
class _PagePlanes:
    """The planes of one page, whose file is opened when rows are asked for: a stack may have thousands."""

    path: Path
    kind: Kind
    shape: tuple[int, ...]

    @classmethod
    def of(cls, pages: Job, ref: ScanRef, kind: Kind, sides: tuple[int, int]) -> _PagePlanes:
        path = pages.out / output_name(pages.config, ref, kind)
        return cls(path, kind, (len(pages.info.classes), *sides))

    def __getitem__(self, part: tuple[slice, slice]) -> Any:  # noqa: ANN401 (as that of `Planes`)
        return FORMATS[_BETWEEN].planes(self.path, kind=self.kind)[part]
