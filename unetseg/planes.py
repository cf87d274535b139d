"""What a plane is before and after decoding, what a format must answer, and the checks that no decoder does.

A *plane* is one 2-D image of a file, with its channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.storage import is_disk_error

__all__ = [
    "Format",
    "Planes",
    "PlanesByRows",
    "PlanesInDepth",
    "RowReader",
    "ScanHeader",
    "check_size",
    "checked_header",
    "checked_pixels",
    "reading",
    "stored_bytes",
]

# What intensities can be: no complex numbers, no records.
_DTYPES = frozenset(
    ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
)


@dataclass(frozen=True)
class ScanHeader:
    """What a file says of one plane before its pixels are decoded.

    Attributes:
        height: Rows.
        width: Columns.
        channels: 1 for grey, 3 for colour; alpha is not counted.
        dtype: NumPy name of the pixel type.
        pixel_size: Micrometres ``(y, x)``; None where the file has no metric one.
        channel_names: Of each channel; empty where the file names none.
        axes: Order of the stored axes, as the file says it (``ZYX``, ``YXS``); empty where the format has one order.
    """

    height: int
    width: int
    channels: int
    dtype: str
    pixel_size: tuple[float, float] | None = None
    channel_names: tuple[str, ...] = ()
    axes: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded pixels."""
        return self.height * self.width * self.channels * np.dtype(self.dtype).itemsize


class Planes(Protocol):
    """The planes of an open file; whatever goes wrong may be raised as it is, `reading` gives it the file's name."""

    @property
    def count(self) -> int:
        """How many planes the header tells of."""

    def header(self, page: int) -> ScanHeader:
        """What the file says of plane `page` (from 0, below `count`); no pixel is decoded."""

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        """The pixels ``(H, W, C)`` of plane `page`, as its header says; never more than `max_bytes` at once."""


class RowReader(Protocol):
    """Reads rows of one plane without the others."""

    @property
    def band_bytes(self) -> int:
        """Decoded bytes needed at once for the fewest rows that can be read: those of a strip or a row of tiles."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The pixels ``(stop - start, W, C)`` of some rows, equal to those of `Planes.pixels`."""


@runtime_checkable
class PlanesByRows(Planes, Protocol):
    """The planes of a format that can be read row by row; other formats need no code for it."""

    def by_rows(self, page: int) -> RowReader | None:
        """What reads plane `page`; None where this one can only be decoded as a whole."""


@runtime_checkable
class PlanesInDepth(Planes, Protocol):
    """The planes of a format that may say how far they are apart; other formats need no code for it."""

    def page_distance(self) -> float | None:
        """Micrometres from the centre of one plane to that of the next; None where planes count times as well.

        What is no distance (0, negative, no number) may be given back, and raised what is broken: it counts as None.
        """


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: As people call it.
        suffixes: How names of such files end, in small letters; the longest first of those that end alike.
        starts: Whether a file with these first bytes (4096 of them, fewer in a short file) is of this format.
        open: The planes of such a file.
        orientation: Axis codes of such a file (`unetseg.orientations.axis_codes`), from its header; None for formats
            that do not say how their pixels lie in space.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: Callable[[bytes], bool]
    open: Callable[[Path], AbstractContextManager[Planes]]
    orientation: Callable[[Path], str] | None = None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in whatever a decoder raises: broken files make decoders raise nearly everything."""
    try:
        yield
    except BadFileError:
        raise
    except Exception as error:
        if is_disk_error(error):  # of temporary files: not this file's fault
            raise
        raise BadFileError(f"{path}: cannot be read: {error or type(error).__name__}") from error


def stored_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size


def check_size(path: Path, nbytes: int, max_bytes: float, *, part: str = "", way_out: str = "if it is sound,") -> None:
    """Refuse what decodes to more bytes than allowed.

    Args:
        path: The file, for the message.
        nbytes: What must be decoded at once.
        max_bytes: The limit.
        part: What of the file that is; empty: all of it.
        way_out: What a person can do besides raising the limit.
    """
    if nbytes > max_bytes:
        raise BadFileError(
            f"{path}: {part}decodes to {nbytes / 1e9:.3g} GB, more than the limit of {max_bytes / 1e9:.3g} GB; "
            f"{way_out} raise max_scan_gigabytes"
        )


def checked_header(path: Path, header: ScanHeader) -> ScanHeader:
    """A header that describes an image with pixels that can be intensities."""
    if min(header.height, header.width, header.channels) < 1:
        raise BadFileError(f"{path}: has no pixels ({header.height}x{header.width}x{header.channels})")
    if header.dtype not in _DTYPES:
        raise BadFileError(f"{path}: pixels of type {header.dtype} are not intensities; save as 8-bit or 16-bit")
    return header


def checked_pixels(path: Path, pixels: NDArray[Any], header: ScanHeader) -> NDArray[Any]:
    """Decoders return empty or other arrays from broken files without an error."""
    expected = (header.height, header.width, header.channels)
    if pixels.shape != expected or pixels.dtype.name != header.dtype:
        raise BadFileError(
            f"{path}: is broken: header says {expected} {header.dtype}, pixels are {pixels.shape} {pixels.dtype.name}"
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise BadFileError(
            f"{path}: has {np.count_nonzero(~np.isfinite(pixels))} values that are no number or infinite"
        )
    return pixels
