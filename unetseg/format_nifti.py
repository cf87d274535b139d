"""NIfTI-1 and NIfTI-2 in one file, gzipped or not.

The first axis is x, the second y; the planes are the third axis, one volume of the fourth after the other.
"""

from __future__ import annotations

import gzip
import io
import math
import mmap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.orientations import axis_codes
from unetseg.planes import Format, RowReader, ScanHeader, check_size

__all__ = ["NIFTI"]

_GZIP = b"\x1f\x8b"
_GZIP_RATIO = 1032  # bytes that one byte of a deflate stream stands for at most
_HEADER_BYTES = 540  # of NIfTI-2, the longer one
_VOLUMES = 2  # inflated ones kept on the disk: threads may still read the one before
_BLOCK = 1 << 20  # bytes inflated at once
_LOCK = Lock()
_DIGITS = 7  # of sizes: headers have them in single precision, in which 0.8 is 0.800000011920929
_MICROMETRES = {"meter": 1e6, "mm": 1e3, "micron": 1.0}


class _Nifti:
    """An open file of which the header has been read.

    Attributes:
        shape: Columns, rows, slices, volumes.
        scaling: Slope and intercept that make values of stored numbers.
    """

    def __init__(self, path: Path, file: Any, head: Any) -> None:  # noqa: ANN401 (a nibabel header)
        self.path, self.file, self.head = path, file, head
        shape = tuple(int(size) for size in head.get_data_shape())
        if len(shape) < 2 or min(shape) < 1 or any(size > 1 for size in shape[4:]):
            raise BadFileError(f"{path}: axes of lengths {shape} are not planes")
        self.shape = (*shape, 1, 1)[:4]
        self.count = self.shape[2] * self.shape[3]
        slope, intercept = head.get_slope_inter()
        self.scaling = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept

    def header(self, page: int) -> ScanHeader:
        dtype = self.head.get_data_dtype()
        width, height = self.shape[:2]
        if dtype.names:  # RGB and RGBA are records of bytes
            return ScanHeader(height, width, 3, "uint8", self._pixel_size())
        name = dtype.name if self.scaling == (1, 0) else "float64"
        return ScanHeader(height, width, 1, name, self._pixel_size())

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        if isinstance(self.file, gzip.GzipFile):
            check_size(self.path, self.end, max_bytes, part="its volume ", way_out="save it without gzip, or")
        return self.rows(page, 0, self.shape[1])

    def by_rows(self, page: int) -> RowReader | None:
        # A slice of a gzipped volume costs the whole volume; it is no more to decode it at once.
        return None if isinstance(self.file, gzip.GzipFile) else _Rows(self, page)

    def rows(self, page: int, start: int, stop: int) -> NDArray[Any]:
        """The pixels of some rows, which lie in the file one after the other."""
        from nibabel.arrayproxy import ArrayProxy

        dtype, (width, height) = self.head.get_data_dtype(), self.shape[:2]
        begin = self.head.get_data_offset() + (page * height + start) * width * dtype.itemsize
        stored = io.BytesIO(self._bytes(begin, begin + (stop - start) * width * dtype.itemsize))
        scaling = (1.0, 0.0) if dtype.names else self.scaling
        plane = np.asarray(ArrayProxy(stored, ((width, stop - start), dtype, 0, *scaling), mmap=False)).T
        if dtype.names:
            return np.stack([plane[name] for name in "RGB"], axis=-1)
        return plane.astype(plane.dtype.newbyteorder("="), order="C")[..., np.newaxis]

    def _bytes(self, begin: int, end: int) -> bytes:
        """Bytes of the file, before compression."""
        if isinstance(self.file, gzip.GzipFile):
            status = self.path.stat()
            with _LOCK:  # threads that read slices of one volume wait for it rather than inflate it each
                return _inflated(self.path, status.st_size, status.st_mtime_ns, self.end)[begin:end]
        self.file.seek(begin)
        return bytes(self.file.read(end - begin))

    @property
    def end(self) -> int:
        """Bytes up to the last pixel, before compression."""
        return int(self.head.get_data_offset() + math.prod(self.shape) * self.head.get_data_dtype().itemsize)

    def orientation(self) -> str:
        """Axis codes; empty where both codes in the header say that nothing is known."""
        if not (self.head["sform_code"] > 0 or self.head["qform_code"] > 0):
            return ""
        axes = 3 if self.shape[2] > 1 else 2
        return axis_codes(self.head.get_best_affine()[:3, :axes])

    def check_length(self, capacity: int) -> None:
        """Pixels must lie within the bytes that the file can hold."""
        if self.head.get_data_offset() < 0 or self.end > capacity:
            raise BadFileError(f"{self.path}: is cut short: pixels up to byte {self.end} are not in it")

    def _pixel_size(self) -> tuple[float, float] | None:
        """Micrometres ``(y, x)``; None where the unit of length is unknown."""
        x, y = self._sizes()[:2]
        return (y, x) if 0 < y < math.inf and 0 < x < math.inf else None

    def page_distance(self) -> float | None:
        """That of slices; the planes of several volumes count times too."""
        return self._sizes()[2] if self.count == self.shape[2] > 1 else None

    def _sizes(self) -> list[float]:
        """Micrometres along each axis, x first; 0 where the unit of length is unknown."""
        unit = _MICROMETRES.get(self.head.get_xyzt_units()[0], 0.0)
        return [float(f"{unit * float(size):.{_DIGITS}g}") for size in self.head.get_zooms()]


class _Rows:
    """Rows of one plane of a file that is not compressed."""

    def __init__(self, planes: _Nifti, page: int) -> None:
        self.planes, self.page = planes, page
        header = planes.header(page)
        self.band_bytes = header.nbytes // header.height

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self.planes.rows(self.page, start, stop)


@contextmanager
def _open(path: Path) -> Iterator[_Nifti]:
    with path.open("rb") as raw:
        gzipped = raw.read(2) == _GZIP
        raw.seek(0)
        file: Any = gzip.GzipFile(fileobj=raw) if gzipped else raw
        planes = _Nifti(path, file, _header(file.read(_HEADER_BYTES)))
        planes.check_length(path.stat().st_size * (_GZIP_RATIO if gzipped else 1))
        yield planes


@lru_cache(_VOLUMES)
def _inflated(path: Path, size: int, modified: int, length: int) -> mmap.mmap:
    """The first bytes of a gzipped file; ``size`` and ``modified`` only tell versions of a file apart.

    They are inflated once for all slices, into a nameless file that the system removes: each slice of its own would
    take as long as all that lie before it.
    """
    with gzip.open(path) as source, TemporaryFile() as file:
        missing = length
        while missing and (block := source.read(min(_BLOCK, missing))):
            file.write(block)
            missing -= len(block)
        if missing:
            raise BadFileError(f"{path}: is cut short: {missing} bytes of {length} are missing")
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _header(start: bytes) -> Any:  # noqa: ANN401 (a nibabel header)
    # The header alone: extensions, of any size, lie between it and the pixels. Checks would repair and write to stderr.
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    if start[344:348] == b"n+1\0":
        return Nifti1Header(start[:348], check=False)
    return Nifti2Header(start, check=False)


def _starts(head: bytes) -> bool:
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _HEADER_BYTES)
        except zlib.error:
            return False
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def _orientation(path: Path) -> str:
    with _open(path) as planes:
        return planes.orientation()


NIFTI = Format("NIfTI", (".nii.gz", ".nii"), _starts, _open, _orientation)
