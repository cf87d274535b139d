"""What the outputs of scans take of the disk: files that follow from their shapes, and what is marked in them."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import Final

import numpy as np

from unetseg.content_trial import Content, measure_content
from unetseg.disk_usage import Disk
from unetseg.output_kinds import Kind
from unetseg.output_layout import Layout
from unetseg.outputs import FORMATS
from unetseg.pixel_size import Size
from unetseg.places import commit_marker
from unetseg.predict_job import Job
from unetseg.predict_marker import Marker
from unetseg.predict_pieces import Piece, Work
from unetseg.predict_scan import wanted_bands
from unetseg.pyramid import level_count

__all__ = ["Amount", "OutputRates", "measure_outputs"]

_GROUPS: Final = 8  # of pieces, of which one is left out
_LEAST_GROUPS: Final = 2
_LIKELY: Final = 0.975  # of each side: 19 times in 20
_LAYOUTS: Final = 200  # that tell the error of all


@dataclass(frozen=True)
class _Shape:
    """What the files of an output follow from, besides the settings.

    Attributes:
        sides: height and width in pixels.
        pixel_size: ``(y, x)`` in micrometres, or None; that pages say how far they are apart takes a few bytes more.
        rows: of the bands in which it is written; 0: it is not.
        pages: of a stack; 0: it is none.
    """

    sides: tuple[int, int]
    pixel_size: Size | None
    rows: int = 0
    pages: int = 0


_Counted = tuple[int, Kind, Layout]


@dataclass(frozen=True)
class Amount:
    """What is expected of something of which pieces were seen.

    Attributes:
        expected: bytes.
        margin: of what is expected: 19 times in 20 it is no further off, as far as the pieces tell.
        least: bytes, where nothing is found.
    """

    expected: float
    margin: float
    least: float


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

    def scans(self, works: Sequence[Work]) -> Amount:
        """Bytes of the disk of the outputs of scans, each on its own."""
        alike = Counter(_Shape(work.shape, work.header.pixel_size, _band_rows(self.job, work)) for work in works)
        names = [work.ref.id for work in works]
        fixed = len(works) * self.disk.whole(round(self.record)) + self._folders(names)
        return self._amount(alike, names[0], fixed)

    def stacks(self, works: Sequence[Work]) -> Amount:
        """The same of stacks, each of pages of one size."""
        pages = defaultdict[str, list[Work]](list)
        for work in works:
            pages[work.ref.stack].append(work)
        names = list(pages)
        shapes = [_Shape(own[0].shape, own[0].header.pixel_size, pages=len(own)) for own in pages.values()]
        records = [self.disk.whole(round(self.record + (len(own) - 1) * self.page_record)) for own in pages.values()]
        return self._amount(Counter(shapes), names[0], sum(records) + self._folders(names))

    def _amount(self, shapes: Counter[_Shape], name: str, fixed: int) -> Amount:
        """Of outputs of these shapes, and of what else there is."""
        layouts = [
            (number, kind, self._layout(name, kind, shape))
            for shape, number in shapes.items()
            for kind in self.contents
        ]
        total = self._bytes(layouts, self.contents)
        pixels = sum(number * max(shape.pages, 1) * shape.sides[0] * shape.sides[1] for shape, number in shapes.items())
        least = fixed + sum(number * layout.blank(self.disk) for number, _, layout in layouts)
        return Amount(fixed + total, self._margin(layouts, pixels), least)

    def _layout(self, name: str, kind: Kind, shape: _Shape) -> Layout:
        names, form = self.job.info.classes, FORMATS[self.job.config.format]
        planes = (len(names), *shape.sides)
        return form.layout(name, planes, names, shape.pixel_size, kind=kind, rows=shape.rows, pages=shape.pages)

    def _bytes(self, layouts: Sequence[_Counted], contents: Mapping[Kind, Content]) -> float:
        return sum(number * contents[kind].bytes_of(layout, self.disk) for number, kind, layout in layouts)

    def _margin(self, layouts: Sequence[_Counted], pixels: float) -> float:
        """Of what they take, by the jackknife: what comes out without one part of the pieces after the other.

        Less where the pieces are a good part of all pixels. Source: doi:10.1093/biomet/43.3-4.353
        """
        from scipy.stats import t  # takes long to import

        groups = min(next(iter(self.contents.values())).pieces, _GROUPS)
        if groups < _LEAST_GROUPS:
            return 0.0
        some = layouts[:: -(-len(layouts) // _LAYOUTS)]
        share = sum(number for number, _, _ in layouts) / sum(number for number, _, _ in some)
        found = [
            self._bytes(some, {kind: own.without(group, groups) for kind, own in self.contents.items()})
            for group in range(groups)
        ]
        error = share * math.sqrt((1 - self._seen(pixels)) * (groups - 1) * float(np.var(found)))
        return float(t.ppf(_LIKELY, groups - 1)) * error

    def _seen(self, pixels: float) -> float:
        """The share of all pixels that the pieces have."""
        content = next(iter(self.contents.values()))
        return min(float(content.pixels[0].sum()) / pixels, 1.0)

    def blind(self, works: Sequence[Work]) -> bool:
        """Whether nothing was found on the pieces, which are not all there is."""
        seen = self._seen(sum(work.shape[0] * work.shape[1] for work in works))
        return seen < 1 and not any(content.taken.any() for content in self.contents.values())

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
    sizes = [commit_marker(piece.job.out, piece.ref.id).stat().st_size for piece in pieces]
    levels = max(level_count(*work.shape) for work in works)
    contents = measure_content(folder, pieces, job.config.format, levels)
    return OutputRates(job, disk, contents, fmean(sizes), fmean(noted))


def _band_rows(job: Job, work: Work) -> int:
    """Of the bands in which the outputs of a large scan are written."""
    if not work.streamed:
        return 0
    spans = wanted_bands(job.info, job.config.tile, work.shape[0])
    return spans[0].inner[1] if len(spans) > 1 else spans[0].outer[1]
