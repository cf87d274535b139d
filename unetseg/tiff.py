"""TIFF files as planes.

The planes are the pages, except that pages along a channel axis (OME, ImageJ) are the channels of one plane, and that
pages of other sizes (thumbnails, reduced copies) are left out.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetseg.embedded import check_picture
from unetseg.errors import BadFileError
from unetseg.photometric import cmyk_to_rgb, inverted
from unetseg.planes import Format, RowReader, ScanHeader, check_size
from unetseg.tiff_rows import Raster, Segments, count_segments, holds_pictures, segment_size

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["TIFF"]

# tifffile's own lines name no file, and are said again whenever a damaged one is looked at; the reasons given here do
# name it. Whoever configures logging still gets them: only Python's last resort, a bare line on stderr, is left out.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_ORDERS: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}
_MICROMETRES = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3, "cm": 1e4}
_RESOLUTION = 283, 282  # tags YResolution and XResolution; tifffile looks names up one by one
_PIXEL_SIZE_LIMITS = 1e-5, 5e3  # micrometres: a fraction of an atom to 5 mm; beyond, the entry is a mistake
_SCREEN_DPI = 72, 96, 100, 120, 144, 150, 200, 240, 300, 400, 600, 1200  # of printers and screens, not of microscopes


class _Tiff:
    """The planes of an open TIFF: those of its largest series and of all others of that kind, one after the other.

    Thumbnails and reduced copies are series or levels of their own, and smaller. What is written picture by picture
    may be a series per picture.
    """

    def __init__(self, path: Path, file: Any) -> None:  # noqa: ANN401 (tifffile has no types)
        levels = [level for item in file.series for level in item.levels]
        images = [item for item in levels if getattr(item, "keyframe", None) is not None]
        if not images:
            raise BadFileError(f"{path}: holds no image")
        largest = max(images, key=lambda item: item.keyframe.imagelength * item.keyframe.imagewidth)
        series = [_Series(path, file, item) for item in images if _kind(item) == _kind(largest)]
        self._planes = [(each, number) for each in series for number in range(each.count)]
        if largest.kind == "generic":  # pages without a word about axes, one series per compression
            self._planes.sort(key=lambda plane: plane[0].series.pages[plane[1]].index)

    @property
    def count(self) -> int:
        return len(self._planes)

    def header(self, page: int) -> ScanHeader:
        series, number = self._planes[page]
        return series.header(number)

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        series, number = self._planes[page]
        return series.pixels(number, max_bytes)

    def by_rows(self, page: int) -> RowReader | None:
        series, number = self._planes[page]
        return series.by_rows(number)

    def page_distance(self) -> float | None:
        series = self._planes[0][0]
        return series.page_distance() if series.depth == self.count else None


def _kind(series: Any) -> tuple[object, ...]:  # noqa: ANN401 (tifffile has no types)
    """What planes of one file have in common: size, type and channels."""
    channels = [size for axis, size in zip(series.axes, series.shape, strict=True) if axis == "C"]
    return (*series.keyframe.shape, series.keyframe.dtype, series.keyframe.photometric, *channels)


class _Series:
    """The planes of a series: pages of one kind.

    Attributes:
        pages: For each plane, the numbers of its pages (one per channel) within the series.
    """

    def __init__(self, path: Path, file: Any, series: Any) -> None:  # noqa: ANN401 (tifffile has no types)
        self.path, self.file, self.series = path, file, series
        self.frame = series.keyframe
        self.pages = self._arrange()

    @property
    def count(self) -> int:
        return len(self.pages)

    def _arrange(self) -> NDArray[np.intp]:
        """Page numbers ``(planes, channels)``: all leading axes but channels count planes."""
        axes = self.series.axes
        leading = len(axes) - sum(axis in "YXS" for axis in axes)
        shape = self.series.shape[:leading]
        number = math.prod(shape)
        if number < 1 or number * math.prod(self.frame.shape) != math.prod(self.series.shape):
            raise BadFileError(f"{self.path}: axes {axes} of shape {self.series.shape} are not planes of one shape")
        pages = np.arange(number).reshape(shape)
        if "C" in axes[:leading]:
            pages = np.moveaxis(pages, axes.index("C"), -1)
            return pages.reshape(-1, pages.shape[-1])
        return pages.reshape(-1, 1)

    def header(self, page: int) -> ScanHeader:
        frame = self.frame
        if frame.axes not in ("YX", "YXS", "SYX") or frame.dtype is None:
            raise BadFileError(f"{self.path}: pages with axes {frame.axes} and type {frame.dtype} are not images")
        self._check_photometric()
        palette = self._palette() is not None
        channels = 3 if palette else self._samples * len(self.pages[page])
        names = self._channel_names() if self.file.is_ome else ()
        return ScanHeader(
            height=int(frame.imagelength),
            width=int(frame.imagewidth),
            channels=channels,
            dtype="uint8" if palette else np.dtype(frame.dtype).name,
            pixel_size=_tiff_pixel_size(self.file, frame),
            channel_names=names if len(names) == channels and all(names) else (),
            axes=self.series.axes,
        )

    def _channel_names(self) -> tuple[str, ...]:
        """As OME metadata names the channels of the image that the planes are of."""
        image = self._ome_image()
        return () if image is None else tuple(item.get("Name", "") for item in image.findall("{*}Pixels/{*}Channel"))

    def _ome_image(self) -> Element | None:
        """OME metadata of the image that the planes are of."""
        from xml.etree import ElementTree

        try:
            images = ElementTree.fromstring(self.file.ome_metadata).findall("{*}Image")
        except ElementTree.ParseError:
            return None
        # The images of a file are its series, in the same order.
        number = next((number for number, item in enumerate(self.file.series) if self.series in item.levels), 0)
        return images[number] if number < len(images) else None

    @property
    def depth(self) -> int:
        """How many planes lie one below the other; pages of ImageJ that nothing else is said of do."""
        lengths = dict(zip(self.series.axes, self.series.shape, strict=True))
        return int(lengths.get("Z") or (lengths.get("I", 1) if self.file.is_imagej else 1))

    def page_distance(self) -> float | None:
        """Micrometres, from OME or ImageJ."""
        if self.file.is_ome:
            image = self._ome_image()
            pixels = None if image is None else image.find("{*}Pixels")
            return None if pixels is None else _ome_distance(pixels)
        return _imagej_distance(self.file.imagej_metadata or {}) if self.file.is_imagej else None

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        parts = [self._page(int(number), max_bytes) for number in self.pages[page]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def by_rows(self, page: int) -> RowReader | None:
        if self._is_luminance or self.frame.shaped[1] > 1 or self.frame.tiledepth > 1:
            return None
        return _PlaneRows([self._rows(int(number)) for number in self.pages[page]], self._colours)

    def _rows(self, number: int) -> Raster | Segments:
        """What reads rows of one page as they are stored."""
        if self._is_undivided:
            return Raster(self.file, self.frame, self._undivided_offset(number))
        page = self.series.pages[number]
        self._check_segments(page)
        return Raster(self.file, self.frame, page.dataoffsets[0]) if page.is_final else Segments(page)

    @cached_property
    def _samples(self) -> int:
        """Samples of a pixel without alpha; unspecified extra samples are channels, inks are three colours."""
        samples = int(self.frame.samplesperpixel) - sum(int(extra) in (1, 2) for extra in self.frame.extrasamples)
        return samples - 1 if self._colour_kind == "SEPARATED" else samples

    @cached_property
    def _colour_kind(self) -> str:
        return str(getattr(self.frame.photometric, "name", self.frame.photometric))

    @cached_property
    def _is_luminance(self) -> bool:
        """Whether the pages hold YCbCr that no JPEG decoder of tifffile turns into RGB."""
        compression = getattr(self.frame.compression, "name", "")
        return self._colour_kind == "YCBCR" and ("JPEG" not in compression or compression == "OJPEG")

    def _check_photometric(self) -> None:
        name, dtype = self._colour_kind, np.dtype(self.frame.dtype)
        if name not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "YCBCR", "SEPARATED"):
            raise BadFileError(f"{self.path}: colours of kind {name} are not read; save as grey or RGB")
        if name == "MINISWHITE" and dtype.kind not in "bu":
            raise BadFileError(f"{self.path}: min-is-white {dtype} is not read; save as min-is-black")
        if self._is_luminance and self.frame.compression == 1 and tuple(self.frame.subsampling or (2, 2)) != (1, 1):
            # Pillow hands only compressed pages to libtiff.
            raise BadFileError(f"{self.path}: uncompressed subsampled YCbCr is not read; save as RGB")
        if name == "SEPARATED":
            inks = self.frame.tags.get("InkSet")
            if self._samples != 3 or dtype.name not in ("uint8", "uint16") or (inks and int(inks.value) != 1):
                raise BadFileError(f"{self.path}: inks other than 8-bit or 16-bit CMYK are not read; save as RGB")

    def _page(self, number: int, max_bytes: float) -> NDArray[Any]:
        """One page as ``(H, W, samples)``."""
        frame = self.frame
        if self._is_undivided:
            return self._colours(Raster(self.file, frame, self._undivided_offset(number)).read(0, frame.imagelength))
        page = self.series.pages[number]
        self._check_segments(page)
        check_size(self.path, math.prod(page.keyframe.chunks) * np.dtype(frame.dtype).itemsize, max_bytes)
        self._check_pictures(page)
        if self._is_luminance:
            return self._luminance(page)
        data = np.asarray(page.asarray())
        if frame.axes == "SYX":
            data = np.moveaxis(data, 0, -1)
        elif frame.axes == "YX":
            data = data[..., np.newaxis]
        return self._colours(data)

    @property
    def _is_undivided(self) -> bool:
        """Whether a stack is one block of bytes behind its first page (ImageJ beyond 4 GB)."""
        return len(self.series.pages) == 1 and math.prod(self.series.shape) > math.prod(self.frame.shape)

    def _undivided_offset(self, number: int) -> int:
        if self.series.dataoffset is None:
            raise BadFileError(f"{self.path}: {len(self.pages)} planes in one compressed page are not read")
        nbytes = math.prod(self.frame.shape) * np.dtype(self.frame.dtype).itemsize
        return int(self.series.dataoffset + number * nbytes)

    def _luminance(self, page: Any) -> NDArray[Any]:  # noqa: ANN401 (tifffile has no types)
        """A page of YCbCr as RGB: libtiff, within Pillow, knows subsampling and JPEG of before 1995."""
        from PIL import TiffImagePlugin

        if len(page.treeindex) > 1:
            raise BadFileError(f"{self.path}: YCbCr in a sub-directory is not read; save as RGB")
        with TiffImagePlugin.TiffImageFile(self.path) as image:
            image.seek(page.index)
            if image.mode not in ("RGB", "YCbCr") or image.size != (self.frame.imagewidth, self.frame.imagelength):
                raise BadFileError(f"{self.path}: YCbCr of this layout is not read; save as RGB")
            return np.array(image.convert("RGB"))

    def _check_segments(self, page: Any) -> None:  # noqa: ANN401 (tifffile has no types)
        """Strips and tiles must lie in the file: missing ones would be read as zeros, enormous ones exhaust memory."""
        offsets, counts, kind = page.dataoffsets, page.databytecounts, page.keyframe
        if (kind.shaped, kind.dtype) != (self.frame.shaped, self.frame.dtype):
            raise BadFileError(f"{self.path}: is broken: its pages have shapes {self.frame.shaped} and {kind.shaped}")
        if not any(counts):
            raise BadFileError(f"{self.path}: is broken: its header points to no pixel data")
        if not page.is_contiguous and min(len(offsets), len(counts)) < (needed := count_segments(kind)):
            raise BadFileError(f"{self.path}: is broken: it lists {len(offsets)} of {needed} strips or tiles")
        end = max((offset + count for offset, count in zip(offsets, counts, strict=False)), default=0)
        if end > self.file.filehandle.size:
            raise BadFileError(f"{self.path}: is cut short: pixels up to byte {end} of {self.file.filehandle.size}")

    def _check_pictures(self, page: Any) -> None:  # noqa: ANN401 (tifffile has no types)
        """Strips and tiles that are pictures must not be larger than their place."""
        if not holds_pictures(page.keyframe):
            return
        for data, _ in self.file.filehandle.read_segments(page.dataoffsets, page.databytecounts):
            check_picture(self.path, data or b"", math.prod(segment_size(page.keyframe)))

    def _colours(self, data: NDArray[Any]) -> NDArray[Any]:
        """Look palettes up, mix inks, turn min-is-white round, drop alpha."""
        if (palette := self._palette()) is not None:
            if (largest := int(data.max(initial=0))) >= len(palette):
                raise BadFileError(f"{self.path}: value {largest} is beyond its palette of {len(palette)} colours")
            return np.asarray(palette[data[..., 0].astype(np.intp)])
        if self._colour_kind == "SEPARATED":
            return cmyk_to_rgb(data[..., :4])
        if self._colour_kind == "MINISWHITE":
            data = inverted(data, int(self.frame.bitspersample))
        return data[..., : self._samples]

    def _palette(self) -> NDArray[np.uint8] | None:
        """The colours ``(n, 3)`` that values stand for; stored as 16-bit, by some writers as 8-bit numbers."""
        if self._colour_kind != "PALETTE":
            return None
        colours = np.asarray(self.frame.colormap).T
        return (colours >> 8 if colours.max(initial=0) > 255 else colours).astype(np.uint8)


@dataclass
class _PlaneRows:
    """Rows of a plane, whose channels may be pages.

    Attributes:
        pages: What reads rows of each page as they are stored.
        colours: Makes intensities of stored numbers.
    """

    pages: Sequence[Raster | Segments]
    colours: Callable[[NDArray[Any]], NDArray[Any]]

    def __post_init__(self) -> None:
        self.band_bytes = sum(page.band_bytes for page in self.pages)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        parts = [self.colours(page.read(start, stop)) for page in self.pages]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _tiff_pixel_size(file: Any, frame: Any) -> tuple[float, float] | None:  # noqa: ANN401 (tifffile has no types)
    """Micrometres ``(y, x)`` from OME, ImageJ or a resolution per centimetre; dots per inch say nothing of a scan."""
    if file.is_ome:
        return _plausible(*(_ome_size(file.ome_metadata or "", axis) for axis in "YX"))
    per_unit = [_ratio(frame.tags.get(tag)) for tag in _RESOLUTION]
    if file.is_imagej:
        return _plausible(*(_imagej_unit(file.imagej_metadata or {}, "unit") * size for size in per_unit))
    if int(frame.resolutionunit or 0) != 3:  # 3: centimetre
        return None
    if any(math.isclose(2.54 / size, dpi, rel_tol=0.005) for size in per_unit if size for dpi in _SCREEN_DPI):
        return None
    return _plausible(*(1e4 * size for size in per_unit))


def _ome_size(metadata: str, axis: str) -> float:
    size = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', metadata)
    unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', metadata)
    return float(size[1]) * _MICROMETRES.get(unit[1] if unit else "µm", 0.0) if size else 0.0


def _ome_distance(pixels: Element) -> float:
    unit = _MICROMETRES.get(pixels.get("PhysicalSizeZUnit", "µm"), 0.0)
    return unit * float(pixels.get("PhysicalSizeZ", 0))


def _imagej_distance(metadata: Mapping[str, Any]) -> float:
    unit = _imagej_unit(metadata, "zunit" if "zunit" in metadata else "unit")  # it is told where it differs
    return unit * float(metadata.get("spacing", 0))


def _imagej_unit(metadata: Mapping[str, Any], name: str) -> float:
    """Micrometres of a unit; 0 for what is none of length."""
    return _MICROMETRES.get(str(metadata.get(name, "")).replace("\\u00B5", "µ"), 0.0)


def _ratio(tag: Any) -> float:  # noqa: ANN401 (tifffile has no types)
    """Units per pixel from a resolution stored as (pixels, units); 0 when there is none."""
    try:
        pixels, units = tag.value
        return float(units / pixels)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        return 0.0


def _plausible(y: float, x: float) -> tuple[float, float] | None:
    low, high = _PIXEL_SIZE_LIMITS
    return (y, x) if low <= y <= high and low <= x <= high else None


def _check_chain(path: Path, file: Any) -> None:  # noqa: ANN401 (tifffile has no types)
    """Each page names the next one.

    Where that leads in a circle, tifffile would follow it for ever. Where it leads out of the file, tifffile takes the
    pages before for all there are, and a stack whose copy broke off would be a shorter one.
    """
    handle, layout, seen = file.filehandle, file.tiff, set[int]()
    offset = file.pages.first.offset
    while offset:
        if offset in seen:
            raise BadFileError(f"{path}: is broken: its pages lead in a circle, back to byte {offset}")
        seen.add(offset)
        handle.seek(offset)
        tags = int.from_bytes(handle.read(layout.tagnosize), _ORDERS[layout.byteorder])
        end = offset + layout.tagnosize + tags * layout.tagsize
        if end > handle.size:
            raise BadFileError(
                f"{path}: is broken: it ends at byte {handle.size}, before its page {len(seen)}; was it copied in full?"
            )
        handle.seek(end)
        offset = int.from_bytes(handle.read(layout.offsetsize), _ORDERS[layout.byteorder])


def _check_undivided(path: Path, file: Any) -> None:  # noqa: ANN401 (tifffile has no types)
    """ImageJ writes stacks beyond 4 GB as a page with the others behind it; of a part, tifffile sees that page alone.

    A single page that kept the words of the stack it was taken from has nothing behind it.
    """
    if not file.is_imagej or len(file.pages) > 1:
        return
    page, told = file.pages.first, int((file.imagej_metadata or {}).get("images", 1))
    behind = file.filehandle.size - sum(page.dataoffsets[:1]) - page.nbytes
    if page.nbytes <= behind < (told - 1) * page.nbytes:
        there = 1 + behind // page.nbytes
        raise BadFileError(f"{path}: is cut short: it holds {there} of its {told} pages; was it copied in full?")


@contextmanager
def _open(path: Path) -> Iterator[_Tiff]:
    import tifffile

    # One file is one source: an OME header may name other files, which need not even lie in this folder.
    # Opened here, since tifffile would look at each folder of the path first, in case one is a link.
    with path.open("rb") as handle, tifffile.TiffFile(handle, _multifile=False) as file:
        _check_chain(path, file)
        _check_undivided(path, file)
        yield _Tiff(path, file)


TIFF = Format("TIFF", (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".svs"), lambda head: head[:4] in _STARTS, _open)
