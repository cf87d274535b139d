"""Image files as arrays: what each format stores, decided from its header before any pixel is decoded.

Formats are told apart by their first bytes, never by the suffix; folders are Zarr. Palettes become colours,
min-is-white becomes min-is-black and alpha goes, so that equal pixels are equal numbers whatever the file.

A new format is a module with a `Format`, and a line in the table below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
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
from unetseg.format_zarr import ZARR, ZARR_SUFFIX
from unetseg.planes import (
    Format,
    Planes,
    PlanesByRows,
    PlanesInDepth,
    RowReader,
    ScanHeader,
    check_size,
    checked_header,
    checked_pixels,
    reading,
    stored_bytes,
)
from unetseg.storage import local_copy, state
from unetseg.tiff import TIFF
from unetseg.zarr_collections import check_one_image

__all__ = [
    "FORMATS",
    "MOST_COMPRESSED",
    "WHOLE",
    "OpenPlane",
    "open_plane",
    "orientation",
    "page_distance",
    "plane_count",
    "plane_header",
    "read_plane",
]

# DICOM first: the free bytes before its mark may be the start of a TIFF.
FORMATS: tuple[Format, ...] = (DICOM, TIFF, *BITMAPS, WEBP, PNM, JPEG2000, NIFTI)

WHOLE = 256e6
"""Bytes of decoded pixels up to which a plane is decoded at once: faster than by parts, and little memory."""

MOST_COMPRESSED = 20_000
"""Bytes that one stored byte of a large plane may stand for: blank tiles of 1024 pixels reach 14,000 with zstd."""

_LEAST_STORED = 1_000_000  # bytes; what smaller files claim is weighed as theirs: blank tiles need not be stored at all
_SAY_ORIENTATION = tuple(suffix for form in FORMATS if form.orientation for suffix in form.suffixes)
_HEAD_BYTES = 4096  # the first header of a gzipped file is within these


def plane_count(path: Path) -> int:
    """How many planes a file holds, from its header.

    Raises:
        SeveralImagesError: it is a plate or collection of images.
        BadFileError: when the header cannot be read.
    """
    if path.name.lower().endswith(ZARR_SUFFIX):
        check_one_image(path)  # before all of it is copied from a store
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
    with _open(path) as planes, reading(path):
        return checked_header(path, planes.header(_number(path, page, planes.count)))


def orientation(path: Path) -> str:
    """Axis codes of a volume, such as ``LPS``; empty where the file does not say how its voxels lie.

    A file that was asked in this process and is as it was is not opened again; one whose name ends otherwise than those
    of formats that say it is not opened at all. A file that cannot be read says nothing: reading its pixels tells why.

    Raises:
        FileNotFoundError: it is gone.
    """
    return _orientation(path, *state(path)) if path.name.lower().endswith(_SAY_ORIENTATION) else ""


@lru_cache(maxsize=4096)
def _orientation(path: Path, size: int, modified: int) -> str:
    """The axis codes of a file as it is at that size and time, which only tell versions apart."""
    try:
        with local_copy(path) as local, reading(path):
            form = _format(local)
            return form.orientation(local) if form.orientation else ""
    except BadFileError:
        return ""


def page_distance(path: Path) -> float | None:
    """How far the planes of a file are apart, in micrometres; None where it does not say.

    Raises:
        BadFileError: when the file cannot be opened.
    """
    with _open(path) as planes:
        if not isinstance(planes, PlanesInDepth) or planes.count == 1:
            return None
        try:
            with reading(path):
                found = planes.page_distance()
        except BadFileError:  # nobody needs it to segment a stack, so it must not set one aside
            return None
    return found if found is not None and 0 < found < math.inf else None


def read_plane(path: Path, page: int | None = None, *, max_bytes: float) -> tuple[ScanHeader, NDArray[Any]]:
    """The header and the pixels ``(H, W, C)`` of one plane.

    Args:
        path: An image file.
        page: Which plane, from 0; None where the file must hold exactly one.
        max_bytes: What decodes to more is refused from its header.

    Raises:
        BadFileError: when the plane cannot be read, or is not what its header says.
    """
    with _open(path) as planes, reading(path):
        number = _number(path, page, planes.count)
        header = checked_header(path, planes.header(number))
        check_size(path, header.nbytes, max_bytes)
        return header, checked_pixels(path, planes.pixels(number, max_bytes), header)


@dataclass(frozen=True, eq=False)
class OpenPlane:
    """One plane of an open file, whose rows can be asked for, by one thread at a time.

    Attributes:
        header: What the file says of it; no pixel has been decoded yet.
        streamed: Whether each call decodes only the strips or tiles that hold the rows. Otherwise the first call
            decodes the plane, and rows are views of it.
    """

    header: ScanHeader
    streamed: bool
    _path: Path
    _read: Callable[[int, int], NDArray[Any]]

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """The pixels ``(stop - start, W, C)`` of some rows, equal to those of `read_plane`.

        Raises:
            BadFileError: when they cannot be read, or are not what the header says.
            ValueError: for rows that the plane does not have.
        """
        if not 0 <= start < stop <= self.header.height:
            raise ValueError(f"rows must be within 0 and {self.header.height}, found {start} to {stop}")
        with reading(self._path):
            return self._read(start, stop)


@contextmanager
def open_plane(
    path: Path, page: int | None = None, *, max_bytes: float, whole: float | None = None
) -> Iterator[OpenPlane]:
    """Open one plane to read it row by row.

    A small plane is decoded at once; a larger one by the rows asked for, where its format and layout allow it.

    Args:
        path: An image file.
        page: Which plane, from 0; None where the file must hold exactly one.
        max_bytes: What needs more memory at once is refused from its header.
        whole: Bytes of decoded pixels up to which a plane is decoded at once; None: `WHOLE`.

    Raises:
        BadFileError: when the plane cannot be read, or is not what its header says.
    """
    with _open(path) as planes:
        with reading(path):
            number = _number(path, page, planes.count)
            header = checked_header(path, planes.header(number))
            small = header.nbytes <= min(WHOLE if whole is None else whole, max_bytes)
            reader = None if small else _row_reader(path, planes, number, header, max_bytes)
        if reader:
            yield OpenPlane(header, True, path, partial(_checked_rows, path, header, reader))
        else:
            decoded = cache(lambda: checked_pixels(path, planes.pixels(number, max_bytes), header))
            yield OpenPlane(header, False, path, lambda start, stop: decoded()[start:stop])


def _row_reader(path: Path, planes: Planes, number: int, header: ScanHeader, max_bytes: float) -> RowReader | None:
    """What reads a plane too large to be decoded at once; None for one that is decoded at once."""
    reader = planes.by_rows(number) if isinstance(planes, PlanesByRows) else None
    if reader is None or header.nbytes <= min(reader.band_bytes, max_bytes):
        check_size(path, header.nbytes, max_bytes, way_out="convert it to a tiled TIFF, which is read by parts, or")
        return None
    check_size(
        path, reader.band_bytes, max_bytes, part="one strip or row of tiles ", way_out="save with smaller ones, or"
    )
    with local_copy(path) as local:
        stored = stored_bytes(local)
    if header.nbytes > MOST_COMPRESSED * max(stored, _LEAST_STORED):
        raise BadFileError(
            f"{path}: {stored} bytes decode to {header.nbytes / 1e9:.3g} GB, more than {MOST_COMPRESSED} times as "
            "much: it is broken or meant to do harm; save it uncompressed if it is sound"
        )
    return reader


def _checked_rows(path: Path, header: ScanHeader, reader: RowReader, start: int, stop: int) -> NDArray[Any]:
    return checked_pixels(path, reader.read(start, stop), replace(header, height=stop - start))


@contextmanager
def _open(path: Path) -> Iterator[Planes]:
    """The planes of a file; whatever its decoder raises on opening is a `BadFileError`."""
    with ExitStack() as stack:
        try:
            local = stack.enter_context(local_copy(path))
        except FileNotFoundError as error:
            raise BadFileError(f"{path}: cannot be read: {error}") from error
        # Only what a decoder raises is the file's fault, not what goes wrong while it is open.
        with reading(path):
            planes = stack.enter_context(_format(local).open(local))
            # A header may claim more planes than anybody can list.
            if planes.count < 1 or (planes.count > 1 and local.is_file() and planes.count > stored_bytes(local)):
                raise BadFileError(f"{path}: is broken: {planes.count} images in {stored_bytes(local)} bytes")
        yield planes


def _format(path: Path) -> Format:
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(_HEAD_BYTES)
    except OSError:  # a folder, by the names that systems have for it
        if path.is_dir():
            return ZARR
        raise
    if not head:
        raise BadFileError(f"{path}: is empty: 0 bytes; copy it again")
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
