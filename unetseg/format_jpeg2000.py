"""JPEG 2000, as JP2 file or bare codestream: grey and RGB of up to 16 bits, signed or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.planes import Format, ScanHeader

__all__ = ["JPEG2000"]

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODESTREAM = b"\xff\x4f\xff\x51"
_SYCC = 18  # colour space of a `colr` box
_MAX_COMPONENTS = 16384


class _Jpeg2000:
    """A file of which the headers have been read; no decoder tells them without decoding.

    Attributes:
        size: Rows and columns.
        depths: Of each component, the stored byte: bits - 1, plus 128 where values are signed.
        alpha: How many of the last components are opacity.
    """

    count = 1

    def __init__(self, path: Path, head: bytes, boxes: bytes) -> None:
        self.path = path
        self.alpha = _alpha(path, boxes)
        components = int.from_bytes(head[40:42], "big")
        if len(head) < 42 + 3 * components or not 1 <= components <= _MAX_COMPONENTS:
            raise BadFileError(f"{path}: is broken: {components} components in its header")
        x, y, left, top = (int.from_bytes(head[at : at + 4], "big") for at in (8, 12, 16, 20))
        self.size = y - top, x - left
        self.depths = head[42 : 42 + 3 * components : 3]
        steps = head[43 : 42 + 3 * components : 3] + head[44 : 42 + 3 * components : 3]
        if set(steps) != {1} or len(set(self.depths)) > 1:
            raise BadFileError(f"{path}: components of several sizes or depths are not read; save as grey or RGB")

    def header(self, page: int) -> ScanHeader:
        bits, signed = (self.depths[0] & 127) + 1, self.depths[0] & 128
        if bits > 16:
            raise BadFileError(f"{self.path}: {bits} bits are not read; save as 8-bit or 16-bit")
        dtype = ("int" if signed else "uint") + ("8" if bits <= 8 else "16")
        return ScanHeader(*self.size, len(self.depths) - self.alpha, dtype)

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        import imagecodecs

        pixels = np.asarray(imagecodecs.jpeg2k_decode(self.path.read_bytes()))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        return pixels[..., : pixels.shape[-1] - self.alpha]


def _boxes(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each box of a JP2 file, up to the codestream."""
    size = path.stat().st_size
    start = 0
    with path.open("rb") as file:
        while start + 8 <= size:
            file.seek(start)
            head = file.read(16)
            length, skip = int.from_bytes(head[:4], "big"), 8
            if length == 1:  # the length follows in eight bytes
                length, skip = int.from_bytes(head[8:16], "big"), 16
            end = start + length if length else size
            if end < start + skip or end > size:
                raise BadFileError(f"{path}: is cut short: box {head[4:8]!r} ends at byte {end} of {size}")
            yield head[4:8], start + skip, end
            if head[4:8] == b"jp2c":
                return
            start = end


def _alpha(path: Path, boxes: bytes) -> int:
    """How many of the last components are opacity; palettes and YCC are refused.

    Args:
        path: The file, for messages.
        boxes: What the header box holds.
    """
    at, alpha = 0, 0
    while at + 8 <= len(boxes):
        length, kind = int.from_bytes(boxes[at : at + 4], "big"), boxes[at + 4 : at + 8]
        body = boxes[at + 8 : at + length]
        if kind == b"pclr" or (kind == b"colr" and body[:1] == b"\1" and int.from_bytes(body[3:7], "big") == _SYCC):
            raise BadFileError(f"{path}: JPEG 2000 with a palette or YCC is not read; save as grey or RGB")
        if kind == b"cdef":  # channel, type (1, 2: opacity), association, of two bytes each
            alpha = sum(value in (1, 2) for value in np.frombuffer(body[2 : len(body) - len(body) % 2], ">u2")[1::3])
        at += max(length, 8)
    return alpha


@contextmanager
def _open(path: Path) -> Iterator[_Jpeg2000]:
    begin, boxes = 0, b""
    with path.open("rb") as file:
        if file.read(len(_JP2)) == _JP2:
            found = {kind: (start, end) for kind, start, end in _boxes(path)}
            if not {b"jp2h", b"jp2c"} <= found.keys():
                raise BadFileError(f"{path}: is broken: no header or codestream in it")
            start, end = found[b"jp2h"]
            file.seek(start)
            boxes = file.read(end - start)
            begin = found[b"jp2c"][0]
        file.seek(begin)
        head = file.read(42 + 3 * _MAX_COMPONENTS)
    if not head.startswith(_CODESTREAM):
        raise BadFileError(f"{path}: is broken: no codestream")
    yield _Jpeg2000(path, head, boxes)


JPEG2000 = Format(
    "JPEG 2000", (".jp2", ".j2k", ".j2c", ".jpx"), lambda head: head.startswith((_JP2, _CODESTREAM)), _open
)
