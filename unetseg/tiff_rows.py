"""Rows of one TIFF page, from the bytes, strips or tiles that hold them and from no others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.embedded import check_picture

__all__ = ["Raster", "Segments", "count_segments", "holds_pictures", "segment_size"]


_PICTURES = frozenset(  # the compressions whose segments are pictures, which tell their own size
    [6, 7, 22610, 33003, 33004, 33005, 33007, 34712, 34892, 34927, 34933, 34934, 50001, 50002, 52546]
)
_JPEG = (6, 7, 33007, 34892)  # the compressions whose segments may leave their tables to the page


class Raster:
    """Uncompressed pixels that lie in the file row after row.

    Attributes:
        band_bytes: Bytes of a row.
    """

    def __init__(self, file: Any, frame: Any, offset: int) -> None:  # noqa: ANN401 (tifffile has no types)
        self.handle, self.offset = file.filehandle, offset
        self.planes, _, self.height, self.width, self.samples = frame.shaped
        self.dtype = np.dtype(frame.dtype).newbyteorder(file.byteorder)
        self.row_bytes = self.width * self.samples * self.dtype.itemsize
        self.band_bytes = self.planes * self.row_bytes

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows as ``(stop - start, W, samples)``."""
        shape = stop - start, self.width, self.samples
        parts = []
        for plane in range(self.planes):
            offset = self.offset + (plane * self.height + start) * self.row_bytes
            parts.append(self.handle.read_array(self.dtype, math.prod(shape), offset).reshape(shape))
        return _joined(parts)


class Segments:
    """Pixels in strips or tiles, compressed or not.

    ::

        rows to read    +-----+-----+-----+
                        |  0  |  1  |  2  |  a band: the tiles side by side
                start --|-----|-----|-----|
                        +-----+-----+-----+
                        |  3  |  4  |  5  |
                 stop --|-----|-----|-----|  the last band is kept for the rows that follow
                        +-----+-----+-----+

    Attributes:
        band_bytes: Decoded bytes of a band.
    """

    def __init__(self, page: Any) -> None:  # noqa: ANN401 (tifffile has no types)
        self.page, self.frame = page, page.keyframe
        self.planes, _, self.height, self.width, self.samples = self.frame.shaped
        self.length, self.breadth = segment_size(self.frame)
        self.bands, self.across = -(-self.height // self.length), -(-self.width // self.breadth)
        pixels = self.length * self.breadth * self.across
        self.band_bytes = pixels * self.samples * self.planes * np.dtype(self.frame.dtype).itemsize
        self.kept: dict[int, NDArray[Any] | None] = {}

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows as ``(stop - start, W, samples)``."""
        out = np.empty((self.planes, stop - start, self.width, self.samples), self.frame.dtype)
        known, self.kept = self.kept, {}
        last = (stop - 1) // self.length
        unfinished = last if stop < (last + 1) * self.length else None

        def use(index: int, segment: NDArray[Any] | None) -> None:
            self._place(out, start, index, segment)
            if index // self.across % self.bands == unfinished:
                self.kept[index] = segment

        indices = list(self._indices(start // self.length, last))
        for index in known.keys() & indices:
            use(index, known[index])
        self._decode([index for index in indices if index not in known], use)
        return _joined(list(out))

    def _indices(self, first: int, last: int) -> Iterator[int]:
        """Numbers of the segments of some bands."""
        for plane in range(self.planes):
            begin = plane * self.bands
            yield from range((begin + first) * self.across, (begin + last + 1) * self.across)

    def _decode(self, indices: list[int], use: Callable[[int, NDArray[Any] | None], None]) -> None:
        """Read and decode segments, several at once where that is faster."""
        page, options = self.page, self._options()
        decode = self.frame.decode

        pictures, path = holds_pictures(self.frame), Path(page.parent.filehandle.path)

        def one(found: tuple[bytes | None, int]) -> None:
            if pictures:
                check_picture(path, found[0] or b"", self.length * self.breadth)
            use(found[1], decode(*found, **options)[0])

        offsets, counts = ([values[index] for index in indices] for values in (page.dataoffsets, page.databytecounts))
        batches = self.page.parent.filehandle.read_segments(offsets, counts, indices, flat=False)
        if self.frame.maxworkers < 2:
            for batch in batches:
                for found in batch:
                    one(found)
            return
        with ThreadPoolExecutor(self.frame.maxworkers) as pool:
            for batch in batches:
                list(pool.map(one, batch))

    def _options(self) -> dict[str, Any]:
        """What a decoder of JPEG needs to know besides the segment."""
        if int(self.frame.compression) not in _JPEG:
            return {}
        return {"jpegtables": self.page.jpegtables, "jpegheader": self.frame.jpegheader}

    def _place(self, out: NDArray[Any], start: int, index: int, segment: NDArray[Any] | None) -> None:
        """Copy the rows of one segment to where they belong; one that is not in the file has the value for no data."""
        plane, rest = divmod(index, self.bands * self.across)
        top, left = rest // self.across * self.length, rest % self.across * self.breadth
        low, high = max(start, top), min(start + out.shape[1], top + self.length)
        target = out[plane, low - start : high - start, left : left + self.breadth]
        target[...] = self.frame.nodata if segment is None else segment[0, low - top : high - top, : target.shape[1]]


def count_segments(frame: Any) -> int:  # noqa: ANN401 (tifffile has no types)
    """How many strips or tiles a page has by its size."""
    length, breadth = segment_size(frame)
    planes, _, height, width, _ = frame.shaped
    return int(planes * -(-height // length) * -(-width // breadth))


def holds_pictures(frame: Any) -> bool:  # noqa: ANN401 (tifffile has no types)
    """Whether each strip or tile of a page is a JPEG or such, with a header of its own."""
    return int(frame.compression) in _PICTURES


def segment_size(frame: Any) -> tuple[int, int]:  # noqa: ANN401 (tifffile has no types)
    """Rows and columns of a strip or tile."""
    if frame.is_tiled:
        return int(frame.tilelength), int(frame.tilewidth)
    # "All rows in one strip" is written as a number far beyond the height.
    return int(min(frame.rowsperstrip, frame.imagelength)), int(frame.imagewidth)


def _joined(planes: list[NDArray[Any]]) -> NDArray[Any]:
    """Separate planes ``(H, W, 1)`` as one ``(H, W, S)``; one plane as it is."""
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-1)
