"""Outputs as OME-TIFF, tiled and compressed, with a pyramid in SubIFDs (OME-TIFF 6.0)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from unetseg.ome import PixelSize, VoxelSize, axis_sizes
from unetseg.output_kinds import MASKS, Kind, Planes, check_pages
from unetseg.output_layout import Layout, Part
from unetseg.pyramid import add_levels, level_count, pick_level, reduced_levels, thinned
from unetseg.storage import local_copy, remove, write_file
from unetseg.zarr_arrays import StoredPlanes

__all__ = ["Tiff"]

_TILE = 512  # pixels: viewers load tiles one by one
_TILE_UNIT = 16  # TIFF 6.0: sides of tiles are multiples
# Deflate (libdeflate) at level 2 takes 0.7 of the time of level 6 on masks, and 1.6 of its space.
_COMPRESSION = {"compression": "zlib", "compressionargs": {"level": 2}, "maxworkers": 1}
_FULL = 255  # foreground of masks: visible without adjusting contrast
_LARGE = 2**32 - 2**25  # bytes: more needs BigTIFF
_CLASSES = "unetseg.classes"  # namespace of the names of a label map
_MICROMETRES_PER_CM = 10_000.0

Sides = tuple[int, int]


class Tiff:
    """A multi-page OME-TIFF, one page per class or one label map; a stack is page after page of its scan.

    Masks are 0 and 255.
    """

    suffix = ".ome.tif"

    def write(
        self, path: Path, planes: Planes, names: Sequence[str], pixel_size: PixelSize, *, kind: Kind = MASKS
    ) -> None:
        """See `unetseg.outputs.Format`."""
        check_pages([planes], names)
        _write(path, [reduced_levels(kind.stored(planes))], names, pixel_size, kind, axis="")

    def write_stack(
        self, path: Path, pages: Sequence[Planes], names: Sequence[str], pixel_size: VoxelSize, *, kind: Kind = MASKS
    ) -> None:
        """See `unetseg.outputs.Format`."""
        check_pages(pages, names)
        _write(path, [reduced_levels(kind.stored(page)) for page in pages], names, pixel_size, kind, axis="Z")

    def place(self, image: Path, path: Path, names: Sequence[str], pixel_size: PixelSize, *, kind: Kind) -> None:
        """See `unetseg.outputs.Format`."""
        levels = [StoredPlanes(image / str(level)) for level in range(add_levels(image, chunk=_TILE))]
        _write(path, [levels], names, pixel_size, kind, axis="")
        remove(image)  # renamed at once: a kill must not leave a part of it to be taken for the whole

    def read(self, path: Path, *, kind: Kind = MASKS, step: int = 1, page: int = 0) -> NDArray[Any]:
        """See `unetseg.outputs.Format`."""
        whole = _TiffPlanes(path, page, 0, _gain(kind))
        level = pick_level(step, whole.levels)
        planes = self.planes(path, kind=kind, page=page, level=level)
        return thinned(planes, whole.shape[1:], step=step, level=level)

    def planes(self, path: Path, *, kind: Kind = MASKS, page: int = 0, level: int = 0) -> Planes:
        """See `unetseg.outputs.Format`."""
        stored = _TiffPlanes(path, page, level, _gain(kind))
        return kind.given(stored, len(stored.label_names))

    def layout(
        self,
        name: str,
        shape: tuple[int, int, int],
        names: Sequence[str],
        pixel_size: VoxelSize,
        *,
        kind: Kind = MASKS,
        rows: int = 0,
        pages: int = 0,
    ) -> Layout:
        """See `unetseg.outputs.Format`."""
        dtype = kind.dtype_for(shape[0])
        classes = 1 if kind.merged else shape[0]
        shapes = [(classes, *(-(-side // 2**level) for side in shape[1:])) for level in range(level_count(*shape[1:]))]

        def blanks(level: int, tile: Sides) -> Iterator[bytes]:
            counts = (-(-size // side) for size, side in zip(shapes[level][1:], tile, strict=True))
            return repeat(_blank(tile, dtype), max(pages, 1) * classes * math.prod(counts))

        file = BytesIO()
        about = _metadata(f"{name}{self.suffix}", _axes("Z" if pages else "", kind), names, pixel_size, kind)
        _fill(file, shapes, about, pixel_size, dtype, blanks, pages=pages)
        pixels = {level: float(max(pages, 1) * math.prod(sides)) for level, (_, *sides) in enumerate(shapes)}
        return Layout((Part(1, len(file.getvalue()), pixels),))


class _TiffPlanes:
    """The planes ``(C, H, W)`` of one level of one page of a stack; the tiles that are asked for are read."""

    def __init__(self, path: Path, page: int, level: int, gain: int) -> None:
        self._path, self._page, self._level, self._gain = path, page, level, gain
        with local_copy(path) as file, tifffile.TiffFile(file) as tiff:
            series = tiff.series[0]
            self._axes, self.levels = series.axes, len(series.levels)
            length = dict(zip(series.axes, series.levels[level].shape, strict=True))
            self.label_names = _label_names(tiff.ome_metadata)
        self.shape: tuple[int, ...] = (length.get("C", 1), length["Y"], length["X"])

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[Any]:
        places = {"Z": self._page, "C": part[0], "Y": part[1], "X": slice(None)}
        window: Any = tuple(places[axis] for axis in self._axes)
        with local_copy(self._path) as file, tifffile.TiffFile(file) as tiff:
            store = tiff.aszarr(series=0, level=self._level)
            found = np.asarray(zarr.open_array(store, mode="r")[window])
        found //= found.dtype.type(self._gain)
        return found.reshape(-1, *found.shape[-2:])


def _gain(kind: Kind) -> int:
    """By what values are multiplied in the file."""
    return _FULL // kind.white if kind.white else 1


def _write(
    path: Path,
    pages: Sequence[Sequence[Planes]],
    names: Sequence[str],
    pixel_size: VoxelSize,
    kind: Kind,
    *,
    axis: str,
) -> None:
    """Write all levels of all pages, tile by tile.

    Args:
        path: of the file.
        pages: of each page, its levels.
        names: of the classes.
        pixel_size: ``(y, x)`` in micrometres, of a stack also ``(z, y, x)``; or None.
        kind: of the values.
        axis: of the pages; none where there is only one.
    """
    levels = list(zip(*pages, strict=True))
    gain = kind.dtype_for(len(names)).type(_gain(kind))
    shapes = [level[0].shape for level in levels]

    def tiles(level: int, tile: Sides) -> Iterator[NDArray[Any]]:
        return _tiles(levels[level], gain, tile)

    about = _metadata(path.name, _axes(axis, kind), names, pixel_size, kind)
    with write_file(path) as file:
        _fill(file, shapes, about, pixel_size, kind.dtype_for(len(names)), tiles, pages=len(pages) if axis else 0)


def _axes(axis: str, kind: Kind) -> str:
    return axis + ("" if kind.merged else "C") + "YX"


def _fill(
    file: Path | BytesIO,
    shapes: Sequence[tuple[int, ...]],
    about: dict[str, Any],
    pixel_size: VoxelSize,
    dtype: np.dtype[Any],
    tiles: Callable[[int, Sides], Iterator[NDArray[Any]] | Iterator[bytes]],
    *,
    pages: int,
) -> None:
    """Write a file.

    Args:
        file: to write to.
        shapes: of the planes of each level, ``(K, H, W)``.
        about: what becomes OME-XML.
        pixel_size: ``(y, x)`` in micrometres, of a stack also ``(z, y, x)``; or None.
        dtype: of the values.
        tiles: gives those of a level, cut to so many rows and columns; bytes are taken for compressed ones.
        pages: of a stack; 0: it is none.
    """
    first = {"subifds": len(shapes) - 1, "metadata": about, **_resolution(pixel_size)}
    options: list[dict[str, Any]] = [first] + [{"subfiletype": 1, "metadata": None}] * (len(shapes) - 1)
    total = max(pages, 1) * sum(math.prod(shape) for shape in shapes) * dtype.itemsize
    with tifffile.TiffWriter(file, ome=True, bigtiff=total > _LARGE) as tiff:
        for level, ((classes, *sides), option) in enumerate(zip(shapes, options, strict=True)):
            shape = (*([pages] if pages else []), *([classes] if "C" in about["axes"] else []), *sides)
            tile = _tile_sides(sides)
            found = tiles(level, tile)
            tiff.write(found, shape=shape, dtype=dtype, tile=tile, photometric="minisblack", **_COMPRESSION, **option)


def _tile_sides(sides: Sequence[int]) -> Sides:
    height, width = (min(_TILE, -(-side // _TILE_UNIT) * _TILE_UNIT) for side in sides)
    return height, width


@cache
def _blank(tile: Sides, dtype: np.dtype[Any]) -> bytes:
    """A tile of zeros as it is stored."""
    file = BytesIO()
    tifffile.imwrite(file, np.zeros(tile, dtype), tile=tile, photometric="minisblack", **_COMPRESSION)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        start = page.dataoffsets[0]
        return file.getvalue()[start : start + page.databytecounts[0]]


def _tiles(pages: Sequence[Planes], gain: np.generic, tile: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """The tiles in the order of the file: page after page, class after class, from left to right and downwards."""
    for planes in pages:
        classes, height, width = planes.shape
        for k in range(classes):
            for top in range(0, height, tile[0]):
                rows = np.asarray(planes[k : k + 1, top : top + tile[0]])[0]
                for left in range(0, width, tile[1]):
                    yield (rows[:, left : left + tile[1]] * gain).astype(gain.dtype, copy=False)


def _metadata(name: str, axes: str, names: Sequence[str], pixel_size: VoxelSize, kind: Kind) -> dict[str, Any]:
    """What becomes OME-XML."""
    # A name that is not random: the same scan becomes the same file.
    metadata: dict[str, Any] = {"axes": axes, "UUID": f"urn:uuid:{uuid5(NAMESPACE_URL, name)}"}
    if kind.merged:
        numbered = {str(number): name for number, name in enumerate(names, start=1)}
        metadata["MapAnnotation"] = {"Namespace": _CLASSES, **numbered}
    else:
        metadata["Channel"] = {"Name": list(names)}
    for axis, size in axis_sizes(pixel_size).items():
        metadata |= {f"PhysicalSize{axis.upper()}": size, f"PhysicalSize{axis.upper()}Unit": "µm"}
    return metadata


def _resolution(pixel_size: VoxelSize) -> dict[str, Any]:
    """The pixel size for those that do not read OME-XML."""
    sizes = axis_sizes(pixel_size)
    if not {"y", "x"} <= sizes.keys():
        return {}
    return {
        "resolution": tuple(_MICROMETRES_PER_CM / sizes[axis] for axis in "xy"),
        "resolutionunit": "CENTIMETER",
    }


def _label_names(ome_xml: str | None) -> list[str]:
    """The classes of a label map, in the order of their numbers."""
    nodes = ElementTree.fromstring(ome_xml or "<OME/>").iter()
    return [
        str(entry.text)
        for node in nodes
        if node.get("Namespace") == _CLASSES
        for entry in node.iter()
        if entry.get("K")
    ]
