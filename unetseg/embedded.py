"""Pictures within files, such as a tile that is a JPEG: how large they are, before they are decoded to that size."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from unetseg.errors import BadFileError
from unetseg.format_webp import webp_size

__all__ = ["check_picture", "picture_size"]

_MARGIN = 4  # times what is expected: some writers fill tiles up, to the next 8 pixels or to the next power of two
_SMALL = 1 << 20  # pixels that do no harm
_CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000
_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of JPEG that tell the size
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers of JPEG that nothing follows
_XR_WIDTH, _XR_HEIGHT = 0xBC80, 0xBC81  # tags of JPEG XR
_XL_BITS = 9, 13, 18, 30
_XL_RATIOS = (1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)  # of width to height, for 1 to 7


def check_picture(path: Path, data: bytes, pixels: int) -> None:
    """Refuse a part of a file that is a picture of far more pixels than there is place for.

    Args:
        path: of the file, for the message.
        data: the part, as it is stored.
        pixels: of it, as the header of the file says.

    Raises:
        BadFileError: it holds many more.
    """
    size = picture_size(path, data)
    if size and size[0] * size[1] > max(_MARGIN * pixels, _SMALL):
        raise BadFileError(
            f"{path}: cannot be read: a part of {pixels} pixels holds a picture of {size[0]}x{size[1]}; it is broken, "
            "or meant to do harm"
        )


def picture_size(path: Path, data: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG 2000, JPEG XL, JPEG XR, PNG or WebP; None where it tells none."""
    readers: dict[bytes, Callable[[bytes], tuple[int, int] | None]] = {
        b"\xff\xd8": _jpeg,
        _CODESTREAM: _jpeg_2000,
        b"\0\0\0\x0cjP  ": lambda data: _jpeg_2000(data[max(data.find(_CODESTREAM), 0) :]),
        b"\xff\x0a": lambda data: _jpeg_xl(data[2:]),
        b"\0\0\0\x0cJXL ": _boxed_xl,
        b"II\xbc": _jpeg_xr,
        b"\x89PNG": lambda data: (int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")),
        b"RIFF": lambda data: webp_size(path, data),
    }
    return next((read(data) for start, read in readers.items() if data.startswith(start)), None)


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # fill bytes
            at += 1
        elif marker in _FRAME:
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        else:
            at += 2 if marker in _ALONE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _jpeg_2000(data: bytes) -> tuple[int, int] | None:
    x, y, left, top = (int.from_bytes(data[at : at + 4], "big") for at in (8, 12, 16, 20))
    return y - top, x - left


def _jpeg_xl(data: bytes) -> tuple[int, int] | None:
    """A codestream, whose numbers are bits from the lowest on (ISO/IEC 18181-1, SizeHeader)."""
    bits = int.from_bytes(data[:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        found, bits = bits & (1 << count) - 1, bits >> count
        return found

    def length(small: int) -> int:
        return 8 * (take(5) + 1) if small else 1 + take(_XL_BITS[take(2)])

    small = take(1)
    height = length(small)
    ratio = take(3)
    if ratio:
        wide, high = _XL_RATIOS[ratio - 1]
        return height, height * wide // high
    return height, length(small)


def _boxed_xl(data: bytes) -> tuple[int, int] | None:
    at = data.find(b"\xff\x0a")  # a codestream begins so, in a box of its own
    return _jpeg_xl(data[at + 2 :]) if at >= 0 else None


def _jpeg_xr(data: bytes) -> tuple[int, int] | None:
    """Tags as in a TIFF."""
    at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[at : at + 2], "little")
    entries = struct.iter_unpack("<HHII", data[at + 2 : at + 2 + 12 * min(count, (len(data) - at - 2) // 12)])
    found = {tag: value & (0xFFFF if kind == 3 else 0xFFFFFFFF) for tag, kind, _, value in entries}
    return found.get(_XR_HEIGHT, 0), found.get(_XR_WIDTH, 0)
