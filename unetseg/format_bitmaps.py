"""PNG, JPEG, BMP and GIF: one image a file, read by Pillow, which cuts only 16-bit PNG to 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.planes import Format, ScanHeader

__all__ = ["BITMAPS"]

# Pillow mode: (mode without palette and alpha, channels, type)
_MODES = {
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


class _Bitmap:
    """An image that Pillow has opened, not decoded."""

    count = 1

    def __init__(self, image: Any) -> None:  # noqa: ANN401 (whichever plugin)
        self.image = image

    def header(self, page: int) -> ScanHeader:
        _, channels, dtype = _MODES[self.image.mode]
        return ScanHeader(self.image.height, self.image.width, channels, dtype)

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        mode, channels, _ = _MODES[self.image.mode]
        pixels = np.array(self.image if self.image.mode == mode else self.image.convert(mode))
        return pixels.reshape(*pixels.shape[:2], -1)[..., :channels]


class _Png16:
    """A 16-bit PNG, which Pillow would silently cut to 8 bits where it has colour or alpha."""

    count = 1

    def __init__(self, path: Path, head: bytes) -> None:
        self.path, self.head = path, head
        self.channels = _PNG_CHANNELS[head[25]][0]

    def header(self, page: int) -> ScanHeader:
        width, height = (int.from_bytes(self.head[at : at + 4], "big") for at in (16, 20))
        return ScanHeader(height, width, self.channels, "uint16")

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        import imagecodecs

        pixels = np.asarray(imagecodecs.png_decode(self.path.read_bytes()))
        return pixels.reshape(*pixels.shape[:2], -1)[..., : self.channels]


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


@contextmanager
def _bitmap(path: Path, name: str, plugin: Any) -> Iterator[_Bitmap]:  # noqa: ANN401 (whichever plugin)
    # The plugin itself, not Image.open: that tries every format, and has a size limit of its own.
    with plugin(path) as image:
        # The frames of a JPEG are a preview or a second view (MPO), not an animation.
        if name != "JPEG" and getattr(image, "is_animated", False):
            raise BadFileError(f"{path}: is animated ({image.n_frames} frames); save each frame as a file")
        if image.mode not in _MODES:
            raise BadFileError(f"{path}: {name} of mode {image.mode} is not read; save as grey or RGB")
        yield _Bitmap(image)


@contextmanager
def _open_png(path: Path) -> Iterator[_Bitmap | _Png16]:
    from PIL import PngImagePlugin

    with path.open("rb") as file:
        head = file.read(26)
    if head[12:16] == b"IHDR" and len(head) == 26 and head[24] == 16:
        yield _Png16(path, head)
        return
    with _bitmap(path, "PNG", PngImagePlugin.PngImageFile) as bitmap:
        yield bitmap


def _opener(name: str) -> Callable[[Path], AbstractContextManager[_Bitmap]]:
    """What opens the format of one of Pillow's plugins, which is loaded with the first file."""

    @contextmanager
    def open_bitmap(path: Path) -> Iterator[_Bitmap]:
        plugin = import_module(f"PIL.{name.capitalize()}ImagePlugin")
        with _bitmap(path, name, getattr(plugin, f"{name.capitalize()}ImageFile")) as bitmap:
            yield bitmap

    return open_bitmap


BITMAPS = (
    Format("PNG", (".png",), _starts(b"\x89PNG\r\n\x1a\n"), _open_png),
    Format("JPEG", (".jpg", ".jpeg"), _starts(b"\xff\xd8\xff"), _opener("JPEG")),
    Format("BMP", (".bmp",), _starts(b"BM"), _opener("BMP")),
    Format("GIF", (".gif",), _starts(b"GIF8"), _opener("GIF")),
)
