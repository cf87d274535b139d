"""NIfTI-1 and NIfTI-2 in one file, gzipped or not.

The first axis is x, the second y; the planes are the third axis, one volume of the fourth after the other.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.planes import Format, ScanHeader

__all__ = ["NIFTI"]

_GZIP = b"\x1f\x8b"
_GZIP_RATIO = 1032  # bytes that one byte of a deflate stream stands for at most
_HEADER_BYTES = 540  # of NIfTI-2, the longer one
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
        from nibabel.arrayproxy import ArrayProxy

        dtype = self.head.get_data_dtype()
        scaling = (1.0, 0.0) if dtype.names else self.scaling
        proxy = ArrayProxy(self.file, (self.shape, dtype, self.head.get_data_offset(), *scaling), mmap=False)
        volume, number = divmod(page, self.shape[2])
        plane = np.asarray(proxy[:, :, number, volume]).T
        if dtype.names:
            return np.stack([plane[name] for name in "RGB"], axis=-1)
        return plane.astype(plane.dtype.newbyteorder("="), order="C")[..., np.newaxis]

    def check_length(self, capacity: int) -> None:
        """Pixels must lie within the bytes that the file can hold."""
        start = self.head.get_data_offset()
        end = start + math.prod(self.shape) * self.head.get_data_dtype().itemsize
        if start < 0 or end > capacity:
            raise BadFileError(f"{self.path}: is cut short: pixels up to byte {end} are not in it")

    def _pixel_size(self) -> tuple[float, float] | None:
        """Micrometres ``(y, x)``; None where the unit of length is unknown."""
        unit = _MICROMETRES.get(self.head.get_xyzt_units()[0], 0.0)
        x, y = (unit * float(size) for size in self.head.get_zooms()[:2])
        return (y, x) if 0 < y < math.inf and 0 < x < math.inf else None


@contextmanager
def _open(path: Path) -> Iterator[_Nifti]:
    with path.open("rb") as raw:
        gzipped = raw.read(2) == _GZIP
        raw.seek(0)
        file: Any = gzip.GzipFile(fileobj=raw) if gzipped else raw
        planes = _Nifti(path, file, _header(file.read(_HEADER_BYTES)))
        planes.check_length(path.stat().st_size * (_GZIP_RATIO if gzipped else 1))
        yield planes


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


NIFTI = Format("NIfTI", _starts, _open)
