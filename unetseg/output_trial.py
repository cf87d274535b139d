"""What the outputs of scans take of the disk: files that follow from their shapes, and what is marked in them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import fmean

from unetseg.content_trial import Content, measure_content
from unetseg.disk_usage import Disk
from unetseg.output_kinds import Kind
from unetseg.outputs import FORMATS
from unetseg.pixel_size import Size
from unetseg.predict_job import Job
from unetseg.predict_marker import Marker
from unetseg.predict_pieces import Piece, Work
from unetseg.predict_scan import wanted_bands
from unetseg.pyramid import level_count

__all__ = ["OutputRates", "measure_outputs"]


@dataclass(frozen=True)
class _Shape:
    """What the files of an output follow from, besides the settings.

    Attributes:
        sides: height and width in pixels.
        pixel_size: ``(y, x)`` in micrometres, or None.
        rows: of the bands in which it is written; 0: it is not.
        pages: of a stack; 0: it is none.
    """

    sides: tuple[int, int]
    pixel_size: Size | None
    rows: int = 0
    pages: int = 0


@dataclass(frozen=True)
class OutputRates:
    """What outputs take.

    Attributes:
        job: of the prediction.
        disk: on which they will be.
        contents: what is marked in them, of each kind.
        record: bytes of a scan's commit marker.
        page_record: bytes that each further page adds to that of its stack.
    """

    job: Job
    disk: Disk
    contents: Mapping[Kind, Content]
    record: float
    page_record: float

    def scans(self, works: Sequence[Work]) -> float:
        """Bytes of the disk of the outputs of scans, each on its own."""
        alike = Counter(_Shape(work.shape, work.header.pixel_size, _band_rows(self.job, work)) for work in works)
        names = [work.ref.id for work in works]
        outputs = sum(number * self._outputs(names[0], shape) for shape, number in alike.items())
        return outputs + len(works) * self.disk.whole(round(self.record)) + self._folders(names)

    def stacks(self, works: Sequence[Work]) -> float:
        """The same of stacks, each of pages of one size."""
        pages = defaultdict[str, list[Work]](list)
        for work in works:
            pages[work.ref.stack].append(work)
        total = float(self._folders(list(pages)))
        for name, own in pages.items():
            total += self._outputs(name, _Shape(own[0].shape, own[0].header.pixel_size, pages=len(own)))
            total += self.disk.whole(round(self.record + (len(own) - 1) * self.page_record))
        return total

    def _outputs(self, name: str, shape: _Shape) -> float:
        """Of all kinds."""
        names, form, total = self.job.info.classes, FORMATS[self.job.config.format], 0.0
        for kind, content in self.contents.items():
            planes = (len(names), *shape.sides)
            layout = form.layout(name, planes, names, shape.pixel_size, kind=kind, rows=shape.rows, pages=shape.pages)
            total += content.bytes_of(layout, self.disk)
        return total

    def _folders(self, names: Sequence[str]) -> int:
        """Those that scans lie in; their commit markers lie in others of the same names."""
        folders = {folder for name in names for folder in PurePosixPath(name).parents} - {PurePosixPath(".")}
        return 2 * len(folders) * self.disk.folder


def measure_outputs(folder: Path, job: Job, pieces: Sequence[Piece], works: Sequence[Work], disk: Disk) -> OutputRates:
    """Measure what pieces took.

    Args:
        folder: for what is written.
        job: of the prediction.
        pieces: that were segmented, at least one.
        works: what is to be done.
        disk: on which the outputs will be.
    """
    records = [Marker(piece.job, piece.ref) for piece in pieces]
    noted = [len(json.dumps([marker.record["rows"], marker.record["profiles"]])) for marker in records]
    sizes = [(piece.job.out / "records" / f"{piece.ref.id}.json").stat().st_size for piece in pieces]
    levels = max(level_count(*work.shape) for work in works)
    contents = measure_content(folder, pieces, job.config.format, levels)
    return OutputRates(job, disk, contents, fmean(sizes), fmean(noted))


def _band_rows(job: Job, work: Work) -> int:
    """Of the bands in which the outputs of a large scan are written."""
    if not work.streamed:
        return 0
    spans = wanted_bands(job.info, job.config.tile, work.shape[0])
    return spans[0].inner[1] if len(spans) > 1 else spans[0].outer[1]
