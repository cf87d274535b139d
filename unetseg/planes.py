"""What a plane is before and after decoding, what a format must answer, and the checks that no decoder does.

A *plane* is one 2-D image of a file, with its channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError

__all__ = ["Format", "Planes", "ScanHeader", "check_size", "checked_header", "checked_pixels", "reading"]

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
    """

    height: int
    width: int
    channels: int
    dtype: str
    pixel_size: tuple[float, float] | None = None

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


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: As people call it.
        starts: Whether a file with these first bytes (4096 of them, fewer in a short file) is of this format.
        open: The planes of such a file.
    """

    name: str
    starts: Callable[[bytes], bool]
    open: Callable[[Path], AbstractContextManager[Planes]]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in whatever a decoder raises: broken files make decoders raise nearly everything."""
    try:
        yield
    except BadFileError:
        raise
    except Exception as error:
        raise BadFileError(f"{path}: cannot be read: {error or type(error).__name__}") from error


def check_size(path: Path, nbytes: int, max_bytes: float) -> None:
    """Refuse what decodes to more bytes than allowed."""
    if nbytes > max_bytes:
        raise BadFileError(
            f"{path}: decodes to {nbytes / 1e9:.3g} GB, more than the limit of {max_bytes / 1e9:.3g} GB; "
            "raise max_scan_gigabytes if the file is sound"
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
