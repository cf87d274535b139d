"""WebP: 8-bit RGB, one image a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.planes import Format, ScanHeader

__all__ = ["WEBP", "webp_size"]

_ANIMATED = 0x02  # among the flags of an extended header


class _WebP:
    """A WebP of which the first chunk has been read; Pillow would ask for memory when it opens one."""

    count = 1

    def __init__(self, path: Path, head: bytes) -> None:
        self.path = path
        self.height, self.width = webp_size(path, head)

    def header(self, page: int) -> ScanHeader:
        return ScanHeader(self.height, self.width, 3, "uint8")

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        from PIL import WebPImagePlugin

        with WebPImagePlugin.WebPImageFile(self.path) as image:
            if image.size != (self.width, self.height):
                raise BadFileError(f"{self.path}: is broken: its chunks tell of two sizes")
            return np.array(image)[..., :3]


def webp_size(path: Path, head: bytes) -> tuple[int, int]:
    """Rows and columns from the first chunk, one of three kinds."""
    kind, body = head[12:16], head[20:30]
    if len(body) < 10:
        raise BadFileError(f"{path}: is cut short")
    if kind == b"VP8X":
        if body[0] & _ANIMATED:
            raise BadFileError(f"{path}: is animated; save each frame as a file")
        return 1 + int.from_bytes(body[7:10], "little"), 1 + int.from_bytes(body[4:7], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(body[8:10], "little") & 0x3FFF, int.from_bytes(body[6:8], "little") & 0x3FFF
    raise BadFileError(f"{path}: is broken: its first chunk is {kind!r}")


@contextmanager
def _open(path: Path) -> Iterator[_WebP]:
    with path.open("rb") as file:
        yield _WebP(path, file.read(30))


def _starts(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


WEBP = Format("WebP", (".webp",), _starts, _open)
