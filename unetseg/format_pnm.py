"""PBM, PGM and PPM, binary and plain, of 1, 8 and 16 bits.

Values are kept as they are stored, also where the largest is neither 255 nor 65535 (Pillow would stretch them, and cut
16-bit colour to 8 bits). In a bitmap 1 is black: it becomes False.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.planes import Format, RowReader, ScanHeader

__all__ = ["PNM"]

_SPACE = rb"(?:\s|#[^\n]*\n)+"
_MAGIC = re.compile(rb"P([1-6])(?=\s|#)")
_HEADER = {
    True: re.compile(rb"P[14]" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})\s"),
    False: re.compile(rb"P[2356]" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,5})\s"),
}
_HEADER_BYTES = 65536  # with comments


class _Pnm:
    """A file of which the header has been read."""

    count = 1

    def __init__(self, path: Path, head: bytes) -> None:
        self.path, self.kind = path, int(head[1:2])
        self.bilevel, self.plain = self.kind in (1, 4), self.kind < 4
        if not (found := _HEADER[self.bilevel].match(head)):
            raise BadFileError(f"{path}: is broken: no width and height follow P{self.kind}")
        self.start = found.end()
        self.width, self.height, *rest = (int(number) for number in found.groups())
        self.largest = rest[0] if rest else 1
        if not 1 <= self.largest <= 65535:
            raise BadFileError(f"{path}: is broken: its largest value is {self.largest}")
        self.channels = 3 if self.kind in (3, 6) else 1

    def header(self, page: int) -> ScanHeader:
        dtype = "bool" if self.bilevel else "uint8" if self.largest < 256 else "uint16"
        return ScanHeader(self.height, self.width, self.channels, dtype)

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        if not self.plain:
            return self.read(0, self.height)
        # A sample is a digit at least; only those of a bitmap need no space between.
        samples = self.height * self.width * self.channels
        self._check_length(samples if self.bilevel else 2 * samples - 1)
        return self._checked(self._plain(self._bytes(0, None), samples), self.height)

    def by_rows(self, page: int) -> RowReader | None:
        return None if self.plain else self

    @property
    def band_bytes(self) -> int:
        return self.header(0).nbytes // self.height

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows of a binary file; it must be as long as all of them before memory is asked for."""
        wide = 2 if self.largest > 255 else 1
        row = -(-self.width // 8) if self.bilevel else self.width * self.channels * wide
        self._check_length(self.height * row)
        data = self._bytes(start * row, (stop - start) * row)
        if self.bilevel:
            bits = np.frombuffer(data, np.uint8).reshape(stop - start, row)
            return self._checked(np.unpackbits(bits, axis=1, count=self.width), stop - start)
        return self._checked(np.frombuffer(data, f">u{wide}"), stop - start)

    def _check_length(self, needed: int) -> None:
        if self.path.stat().st_size - self.start < needed:
            raise BadFileError(f"{self.path}: is cut short: {needed} bytes of pixels are missing or incomplete")

    def _bytes(self, offset: int, count: int | None) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start + offset)
            return file.read(count)

    def _checked(self, values: NDArray[Any], rows: int) -> NDArray[Any]:
        if values.max(initial=0) > self.largest:
            raise BadFileError(f"{self.path}: is broken: value {values.max()} is beyond its largest, {self.largest}")
        values = values == 0 if self.bilevel else values.astype(self.header(0).dtype)
        return values.reshape(rows, self.width, self.channels)

    def _plain(self, data: bytes, samples: int) -> NDArray[Any]:
        text = re.sub(rb"#[^\n]*", b"", data)
        numbers = re.findall(rb"[01]" if self.bilevel else rb"\d+", text)[:samples]
        if len(numbers) < samples:
            raise BadFileError(f"{self.path}: is cut short: {len(numbers)} of {samples} values")
        return np.array(numbers).astype(np.int64)


@contextmanager
def _open(path: Path) -> Iterator[_Pnm]:
    with path.open("rb") as file:
        yield _Pnm(path, file.read(_HEADER_BYTES))


PNM = Format("PNM", (".pbm", ".pgm", ".ppm", ".pnm"), lambda head: bool(_MAGIC.match(head)), _open)
