"""Image files as arrays: what each format stores, decided from its header before any pixel is decoded.

Formats are told apart by their first bytes, never by the suffix. Palettes become colours, min-is-white becomes
min-is-black and alpha goes, so that equal pixels are equal numbers whatever the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.planes import ScanHeader, check_size, checked_header, checked_pixels, reading
from unetseg.tiff import tiff_planes

__all__ = ["plane_count", "plane_header", "read_plane"]

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PILLOW_STARTS = ((b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"BM", "BMP"), (b"GIF8", "GIF"))
# Pillow mode: (mode without palette and alpha, channels, type)
_PILLOW_MODES = {
    "1": ("1", 1, "bool"),
    "L": ("L", 1, "uint8"),
    "LA": ("L", 1, "uint8"),
    "P": ("RGBA", 3, "uint8"),  # straight to RGB warns when the palette has transparent entries
    "PA": ("RGBA", 3, "uint8"),
    "RGB": ("RGB", 3, "uint8"),
    "RGBA": ("RGB", 3, "uint8"),
    "RGBX": ("RGB", 3, "uint8"),
    "CMYK": ("RGB", 3, "uint8"),
    "I;16": ("I;16", 1, "uint16"),
    "I": ("I", 1, "int32"),
    "F": ("F", 1, "float32"),
}
_PNG_CHANNELS = {0: (1, 1), 2: (3, 3), 4: (1, 2), 6: (3, 4)}  # colour type: (without alpha, stored)


def plane_count(path: Path) -> int:
    """How many planes a file holds, from its header.

    Raises:
        BadFileError: when the header cannot be read.
    """
    if _format(path) != "TIFF":
        return 1
    with tiff_planes(path) as planes:
        return len(planes.pages)


def plane_header(path: Path, page: int | None = None) -> ScanHeader:
    """The header of one plane; no pixel is decoded.

    Args:
        path: An image file.
        page: Which plane, from 0; None where the file must hold exactly one.

    Raises:
        BadFileError: when the header cannot be read, or describes no image that unetseg can use.
    """
    kind = _format(path)
    if kind == "TIFF":
        with tiff_planes(path) as planes:
            return planes.header(page)
    _check_single(path, page)
    with reading(path):
        return checked_header(path, _png16_header(path) or _pillow_header(path, kind))


def read_plane(path: Path, page: int | None = None, *, max_bytes: float) -> tuple[ScanHeader, NDArray[Any]]:
    """The header and the pixels ``(H, W, C)`` of one plane.

    Args:
        path: An image file.
        page: Which plane, from 0; None where the file must hold exactly one.
        max_bytes: What decodes to more is refused from its header.

    Raises:
        BadFileError: when the plane cannot be read, or is not what its header says.
    """
    header = plane_header(path, page)
    check_size(path, header.nbytes, max_bytes)
    with reading(path):
        if (kind := _format(path)) == "TIFF":
            with tiff_planes(path) as planes:
                pixels = planes.pixels(page, max_bytes)
        else:
            pixels = _png16_pixels(path) if _png16_header(path) else _pillow_pixels(path, kind)
    return header, checked_pixels(path, pixels, header)


def _format(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        start = file.read(8)
    if start[:4] in _TIFF_STARTS:
        return "TIFF"
    for begin, kind in _PILLOW_STARTS:
        if start.startswith(begin):
            return kind
    raise BadFileError(f"{path}: cannot be read: not a TIFF, PNG, JPEG, BMP or GIF (starts with {start!r})")


def _check_single(path: Path, page: int | None) -> None:
    if page not in (None, 0):
        raise BadFileError(f"{path}: page {page} was asked for, but the file holds one image")


# --------------------------------------------------------------------------- PNG, JPEG, BMP, GIF


@contextmanager
def _pillow_image(path: Path, kind: str) -> Iterator[Any]:
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin

    # The plugin itself, not Image.open: that tries every format, and has a size limit of its own.
    plugins: dict[str, Any] = {
        "PNG": PngImagePlugin.PngImageFile,
        "JPEG": JpegImagePlugin.JpegImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "GIF": GifImagePlugin.GifImageFile,
    }
    with plugins[kind](path) as image:
        if kind != "JPEG" and getattr(image, "is_animated", False):
            raise BadFileError(f"{path}: is animated ({image.n_frames} frames); save each frame as a file")
        if image.mode not in _PILLOW_MODES:
            raise BadFileError(f"{path}: {kind} of mode {image.mode} is not read; save as grey or RGB")
        yield image


def _pillow_header(path: Path, kind: str) -> ScanHeader:
    with _pillow_image(path, kind) as image:
        _, channels, dtype = _PILLOW_MODES[image.mode]
        return ScanHeader(image.height, image.width, channels, dtype)


def _pillow_pixels(path: Path, kind: str) -> NDArray[Any]:
    with _pillow_image(path, kind) as image:
        mode, channels, _ = _PILLOW_MODES[image.mode]
        pixels = np.array(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], -1)[..., :channels]


def _png16_header(path: Path) -> ScanHeader | None:
    """The header of a 16-bit PNG, which Pillow would silently cut to 8 bits where it has colour or alpha."""
    with path.open("rb") as file:
        start = file.read(26)
    if start[12:16] != b"IHDR" or len(start) < 26 or start[24] != 16:
        return None
    width, height = (int.from_bytes(start[at : at + 4], "big") for at in (16, 20))
    return ScanHeader(height, width, _PNG_CHANNELS[start[25]][0], "uint16")


def _png16_pixels(path: Path) -> NDArray[Any]:
    import imagecodecs

    data = path.read_bytes()
    pixels = np.asarray(imagecodecs.png_decode(data))
    return pixels.reshape(*pixels.shape[:2], -1)[..., : _PNG_CHANNELS[data[25]][0]]
