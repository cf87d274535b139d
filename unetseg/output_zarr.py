"""Outputs as OME-Zarr 0.5, with a pyramid; and the images that become one, band by band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.json_files import read_json
from unetseg.ome import PixelSize, VoxelSize, fields_metadata, image_metadata, objects_metadata
from unetseg.output_kinds import MASKS, Kind, Planes, check_pages
from unetseg.output_layout import Layout, Part
from unetseg.pyramid import add_levels, level_count, next_level, pick_level, thinned
from unetseg.storage import place_folder, write_folder
from unetseg.zarr_arrays import (
    StoredArray,
    StoredPlanes,
    array_bytes,
    create_array,
    drop_empty_folders,
    group_bytes,
    index_bytes,
    shard_rows,
    shard_shape,
    write_group,
    write_rows,
)

__all__ = ["CHUNK", "OmeZarr", "begin_image", "describe_image", "write_band"]

CHUNK = 512
"""Side of a chunk in pixels: masks compress to almost nothing, so they are larger than for training."""


class OmeZarr:
    """An OME-Zarr 0.5 image.

    ``(c, y, x)`` with one plane per class, or ``(y, x)`` for a label map; a stack has a z axis before y. Label maps and
    objects are label images.
    """

    suffix = ".ome.zarr"

    def write(
        self, path: Path, planes: Planes, names: Sequence[str], pixel_size: PixelSize, *, kind: Kind = MASKS
    ) -> None:
        """See `unetseg.outputs.Format`."""
        _write(path, [planes], names, pixel_size, kind, axis="")

    def write_stack(
        self, path: Path, pages: Sequence[Planes], names: Sequence[str], pixel_size: VoxelSize, *, kind: Kind = MASKS
    ) -> None:
        """See `unetseg.outputs.Format`."""
        _write(path, pages, names, pixel_size, kind, axis="z")

    def place(self, image: Path, path: Path, names: Sequence[str], pixel_size: PixelSize, *, kind: Kind) -> None:
        """See `unetseg.outputs.Format`."""
        describe_image(image, _name(path), names, pixel_size, kind)
        place_folder(image, path)

    def read(self, path: Path, *, kind: Kind = MASKS, step: int = 1, page: int = 0) -> NDArray[Any]:
        """See `unetseg.outputs.Format`."""
        levels = len(_ome(path)["multiscales"][0]["datasets"])
        level, size = pick_level(step, levels), StoredPlanes(path / "0").shape[1:]
        return thinned(self.planes(path, kind=kind, page=page, level=level), size, step=step, level=level)

    def planes(self, path: Path, *, kind: Kind = MASKS, page: int = 0, level: int = 0) -> Planes:
        """See `unetseg.outputs.Format`."""
        classes = len(_ome(path)["image-label"]["properties"]) if kind.merged else 0
        return kind.given(StoredPlanes(path / str(level), page), classes)

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
        stored, axes = _stored(shape, kind, pages)
        rows = rows or shard_rows(shape, dtype, chunk=CHUNK)
        parts, files, levels = list[Part](), list[int](), level_count(*shape[1:])
        for level in range(levels):
            files.append(array_bytes(stored, dtype, chunk=CHUNK, rows=rows, axes=axes))
            parts.append(_shards(stored, axes, rows, level))
            stored, rows = next_level(stored, dtype, axes, chunk=CHUNK)
        files.append(group_bytes({"ome": _described(name, names, pixel_size, kind, levels, axes)}))
        return Layout(tuple(parts), folders=1 + levels, files=tuple(files))


def _write(
    path: Path, pages: Sequence[Planes], names: Sequence[str], pixel_size: VoxelSize, kind: Kind, *, axis: str
) -> None:
    """Write pages, band by band."""
    check_pages(pages, names)
    shape = tuple(pages[0].shape)
    with write_folder(path) as folder:
        rows = shard_rows(shape, kind.dtype_for(shape[0]), chunk=CHUNK)
        array = begin_image(folder, shape, kind, rows=rows, pages=len(pages) if axis else 0)
        for page, planes in enumerate(pages):
            for start in range(0, shape[1], rows):
                write_band(array, start, planes[:, start : start + rows], kind, page=page)
        in_memory = isinstance(pages[0], np.ndarray) and rows >= shape[1] and not (axis or kind.merged)
        known = np.asarray(pages[0]) if in_memory else None
        describe_image(folder, _name(path), names, pixel_size, kind, array=array, known=known)


def begin_image(folder: Path, shape: tuple[int, ...], kind: Kind, *, rows: int, pages: int = 0) -> StoredArray:
    """Begin an image whose array of full resolution is written in bands.

    Args:
        folder: of the image.
        shape: of the planes that are given, ``(K, H, W)``.
        kind: of their values.
        rows: of a band that is written once, a multiple of `CHUNK`.
        pages: of a stack; 0: it is none.
    """
    stored, axes = _stored(shape, kind, pages)
    return create_array(folder / "0", stored, kind.dtype_for(shape[0]), chunk=CHUNK, rows=rows, axes=axes)


def _stored(shape: tuple[int, ...], kind: Kind, pages: int) -> tuple[tuple[int, ...], str]:
    """Shape and axes of the array for planes ``(K, H, W)``."""
    leading = ([] if kind.merged else [shape[0]]) + ([pages] if pages else [])
    return (*leading, *shape[1:]), ("" if kind.merged else "c") + ("z" if pages else "") + "yx"


def _shards(shape: tuple[int, ...], axes: str, rows: int, level: int) -> Part:
    """The files of an array: named by numbers, each but that of the column a folder."""
    shard, chunks = shard_shape(shape, chunk=CHUNK, rows=rows, axes=axes)
    counts = [-(-size // side) for size, side in zip(shape, shard, strict=True)]
    files = math.prod(counts)
    # "c", then the number along each axis but the last.
    folders = tuple((math.prod(counts[:depth]), math.prod(counts[depth:])) for depth in range(len(counts)))
    pages = counts[axes.index("z")] if "z" in axes else 1
    pixels = pages * math.prod(shape[-2:]) / files
    return Part(files, index_bytes(shard, chunks), {level: pixels}, folders, sparse=True)


def write_band(
    array: StoredArray, start: int, planes: NDArray[Any], kind: Kind, *, page: int = 0, left: int = 0
) -> None:
    """Write rows ``(K, h, w)`` of an image from ``start``: whole ones, or the columns of some files from ``left``."""
    stored = np.asarray(kind.stored(planes)[:, :]).astype(array.dtype, copy=False)
    write_rows(array, start, stored[0] if kind.merged else stored, page, left)


def describe_image(
    folder: Path,
    name: str,
    names: Sequence[str],
    pixel_size: VoxelSize,
    kind: Kind,
    *,
    array: StoredArray | None = None,
    known: NDArray[Any] | None = None,
) -> None:
    """Make an OME-Zarr of a local folder whose array of full resolution is there: smaller levels, and metadata.

    Args:
        folder: of the image.
        name: of the image.
        names: of the classes.
        pixel_size: ``(y, x)`` in micrometres, of a stack also ``(z, y, x)``; or None.
        kind: of the values.
        array: that array, where it is open: to open one takes a millisecond.
        known: what the array holds, where that is in memory.
    """
    first = array or StoredArray(folder / "0")
    levels = add_levels(folder, chunk=CHUNK, first=first, known=known)
    for level in range(levels):
        drop_empty_folders(folder / str(level))
    write_group(folder, {"ome": _described(name, names, pixel_size, kind, levels, first.axes)})


def _described(
    name: str, names: Sequence[str], pixel_size: VoxelSize, kind: Kind, levels: int, axes: str
) -> dict[str, Any]:
    """The ``ome`` attribute."""
    if kind.white:
        window = (0.0, float(kind.white))
        return image_metadata(name, names, pixel_size, window=window, levels=levels, axes=axes)
    if kind.merged:
        meanings = {k + 1: [k] for k in range(len(names))}
        return fields_metadata(name, meanings, names, pixel_size, source="", levels=levels, axes=axes)
    return objects_metadata(name, names, pixel_size, levels=levels, axes=axes)


def _ome(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path / "zarr.json")["attributes"]["ome"]
    return found


def _name(path: Path) -> str:
    return path.name.removesuffix(OmeZarr.suffix)
