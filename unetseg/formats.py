"""Image files as arrays: what each format stores, decided from its header before any pixel is decoded.

Formats are told apart by their first bytes, never by the suffix. Palettes become colours, min-is-white becomes
min-is-black and alpha goes, so that equal pixels are equal numbers whatever the file.

A new format is a module with a `Format`, and a line in the table below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.format_bitmaps import BITMAPS
from unetseg.format_dicom import DICOM
from unetseg.format_jpeg2000 import JPEG2000
from unetseg.format_nifti import NIFTI
from unetseg.format_pnm import PNM
from unetseg.format_webp import WEBP
from unetseg.planes import Format, Planes, ScanHeader, check_size, checked_header, checked_pixels, reading
from unetseg.tiff import TIFF

__all__ = ["FORMATS", "OpenPlane", "open_plane", "plane_count", "plane_header", "read_plane"]

FORMATS: tuple[Format, ...] = (TIFF, *BITMAPS, WEBP, PNM, JPEG2000, DICOM, NIFTI)

_HEAD_BYTES = 4096  # the first header of a gzipped file is within these


def plane_count(path: Path) -> int:
    """How many planes a file holds, from its header.

    Raises:
        BadFileError: when the header cannot be read.
    """
    with _open(path) as planes:
        return planes.count


def plane_header(path: Path, page: int | None = None) -> ScanHeader:
    """The header of one plane; no pixel is decoded.

    Args:
        path: An image file.
        page: Which plane, from 0; None where the file must hold exactly one.

    Raises:
        BadFileError: when the header cannot be read, or describes no image that unetseg can use.
    """
    with _open(path) as planes:
        return checked_header(path, planes.header(_number(path, page, planes.count)))


def read_plane(path: Path, page: int | None = None, *, max_bytes: float) -> tuple[ScanHeader, NDArray[Any]]:
    """The header and the pixels ``(H, W, C)`` of one plane.

    Args:
        path: An image file.
        page: Which plane, from 0; None where the file must hold exactly one.
        max_bytes: What decodes to more is refused from its header.

    Raises:
        BadFileError: when the plane cannot be read, or is not what its header says.
    """
    with _open(path) as planes:
        number = _number(path, page, planes.count)
        header = checked_header(path, planes.header(number))
        check_size(path, header.nbytes, max_bytes)
        return header, checked_pixels(path, planes.pixels(number, max_bytes), header)


@dataclass(frozen=True, eq=False)
class OpenPlane:
    """One plane of an open file, whose rows can be asked for.

    Attributes:
        header: What the file says of it.
    """

    header: ScanHeader
    _pixels: NDArray[Any]

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """The pixels ``(stop - start, W, C)`` of some rows."""
        return self._pixels[start:stop]


@contextmanager
def open_plane(path: Path, page: int | None = None, *, max_bytes: float) -> Iterator[OpenPlane]:
    """Open one plane to read it row by row.

    Args:
        path: An image file.
        page: Which plane, from 0; None where the file must hold exactly one.
        max_bytes: What needs more memory at once is refused from its header.

    Raises:
        BadFileError: when the plane cannot be read, or is not what its header says.
    """
    yield OpenPlane(*read_plane(path, page, max_bytes=max_bytes))


@contextmanager
def _open(path: Path) -> Iterator[Planes]:
    """The planes of a file; whatever its decoder raises is a `BadFileError`."""
    with reading(path), _format(path).open(path) as planes:
        # A header may claim more planes than anybody can list.
        if not 1 <= planes.count <= path.stat().st_size:
            raise BadFileError(f"{path}: is broken: {planes.count} images in {path.stat().st_size} bytes")
        yield planes


def _format(path: Path) -> Format:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for form in FORMATS:
        if form.starts(head):
            return form
    *names, last = (form.name for form in FORMATS)
    raise BadFileError(f"{path}: cannot be read: not a {', '.join(names)} or {last} (starts with {head[:8]!r})")


def _number(path: Path, page: int | None, count: int) -> int:
    if page is None and count > 1:
        raise BadFileError(f"{path}: holds {count} pages where one image is expected")
    if not 0 <= (page or 0) < count:
        raise BadFileError(f"{path}: page {page} was asked for, but the file holds {count}")
    return page or 0
