"""OME-Zarr 0.5: arrays in ``(c, y, x)`` order with the metadata that ome-zarr readers and napari look for.

Specification: https://ngff.openmicroscopy.org/0.5 (doi:10.1038/s41592-021-01326-w).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from unetseg.storage import is_remote, zarr_store

__all__ = [
    "COLOURS",
    "ArrayWriter",
    "band_rows",
    "fields_metadata",
    "image_metadata",
    "read_window",
    "write_array",
    "write_group",
]

VERSION = "0.5"

COLOURS = ("E69F00", "56B4E9", "CC79A7", "009E73", "F0E442", "0072B2", "D55E00", "999999")
"""Colours of the classes, told apart also by the colour-blind (Okabe and Ito, https://jfly.uni-koeln.de/color/)."""

_SHARD_CHUNKS = 8  # chunks per side of a shard: a 2048 x 2048 file for chunks of 256


def write_group(path: Path, attributes: Mapping[str, Any]) -> Path:
    """Make a folder a Zarr v3 group with attributes; arrays and groups in it stay.

    Returns:
        The folder, where arrays and further groups go.
    """
    path.mkdir(parents=True, exist_ok=True)
    _write_json(path, {"zarr_format": 3, "node_type": "group", "attributes": attributes})
    return path


def _write_json(path: Path, metadata: Mapping[str, Any]) -> None:
    (path / "zarr.json").unlink(missing_ok=True)  # it may be a link to that of the scan that is being replaced
    # One line: zarr-python takes 2 ms for it, indentation 1 ms, and a scan has five of them.
    (path / "zarr.json").write_text(json.dumps(metadata, ensure_ascii=False, allow_nan=False), encoding="utf-8")


class ArrayWriter:
    """Writes a ``(y, x)`` or ``(c, y, x)`` array from top to bottom, in bands of rows.

    Chunks are about one patch, many of them in one shard (file). Bands that end where shards end are written once.

    Args:
        path: the array's folder; what was there is replaced.
        shape: of the whole array.
        dtype: of its values.
        chunk: side of a chunk in pixels; a smaller scan is one chunk.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, chunk: int) -> None:
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)
        metadata = _array_metadata(shape, np.dtype(dtype), chunk)
        _write_json(path, metadata)
        self._step = band_rows(chunk)
        # It writes what we say without looking for what may be there.
        self._store = _open(path, metadata=metadata, assume_metadata=True)

    def write(self, start: int, planes: NDArray[np.generic]) -> None:
        """Write rows ``(h, W)`` or ``(c, h, W)`` that begin at ``start``; the rows are copied before it returns."""
        rows = slice(start, start + planes.shape[-2])
        # Shard by shard: those of a whole band of a large scan would be encoded, and held, at once.
        for left in range(0, planes.shape[-1], self._step):
            columns = slice(left, min(left + self._step, planes.shape[-1]))
            with _disk_errors():
                self._store[..., rows, columns].write(planes[..., columns]).result()


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Give the system's errors, such as a full disk, their own type again; TensorStore raises them as ValueError."""
    try:
        yield
    except ValueError as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), str(error)) from error


def read_window(path: Path, window: tuple[slice, ...]) -> NDArray[Any]:
    """Read a part of an array.

    Args:
        path: the array's folder, local or in an object store.
        window: a slice per axis, as NumPy takes them.
    """
    if is_remote(path):
        return np.asarray(zarr.open_array(zarr_store(path), mode="r")[window])
    array = _open(path)
    bounds = [part.indices(size) for part, size in zip(window, array.shape, strict=True)]
    return np.asarray(array[tuple(slice(*bound) for bound in bounds)].read().result())


def _open(path: Path, **options: object) -> Any:  # noqa: ANN401 (tensorstore publishes no types)
    import tensorstore

    place = {"driver": "file", "path": str(path)}
    spec = {"driver": "zarr3", "kvstore": place, **options}
    return tensorstore.open(spec, open=True, context=_context()).result()


@cache
def _context() -> Any:  # noqa: ANN401 (tensorstore publishes no types)
    import tensorstore

    return tensorstore.Context({"file_io_sync": False})  # folders are renamed when all of them is written


def band_rows(chunk: int) -> int:
    """Side of a shard: rows of a band that ends where shards end."""
    return chunk * _SHARD_CHUNKS


def write_array(path: Path, planes: NDArray[np.generic], *, chunk: int) -> None:
    """Write a whole ``(y, x)`` or ``(c, y, x)`` array, as `ArrayWriter` does."""
    ArrayWriter(path, planes.shape, planes.dtype, chunk=chunk).write(0, planes)


def _array_metadata(shape: tuple[int, ...], dtype: np.dtype[Any], chunk: int) -> dict[str, Any]:
    """What stands in an array's ``zarr.json``."""
    height, width = shape[-2:]
    sides = (min(chunk, height), min(chunk, width))
    shards = [min(-(-size // side), _SHARD_CHUNKS) * side for size, side in zip((height, width), sides, strict=True)]
    leading = shape[:-2]
    endian = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    # Masks shrink 100-fold at any level; higher ones only cost time on noisy scans.
    codecs = [{"name": "bytes", **endian}, {"name": "zstd", "configuration": {"level": 1, "checksum": False}}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype.name,
        "fill_value": 0,
        "dimension_names": ("c", "y", "x")[-len(shape) :],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*leading, *shards]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [_sharded([*(1 for _ in leading), *sides], codecs)],
    }


def _sharded(chunk_shape: list[int], codecs: list[dict[str, Any]]) -> dict[str, Any]:
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    shard = {"chunk_shape": chunk_shape, "codecs": codecs, "index_codecs": index, "index_location": "end"}
    return {"name": "sharding_indexed", "configuration": shard}


def image_metadata(
    name: str, channels: Sequence[str], pixel_size: tuple[float, float] | None, *, window: tuple[float, float]
) -> dict[str, Any]:
    """The ``ome`` attribute of a ``(c, y, x)`` image with one resolution in array ``0``.

    Args:
        name: of the image.
        channels: names, in order.
        pixel_size: ``(y, x)`` in micrometres, or None.
        window: intensities that a viewer shows as black and as full colour.
    """
    low, high = window
    shown = [
        {
            "label": channel,
            "color": _channel_colour(channel, index),
            "active": True,
            "window": {"start": low, "end": high, "min": low, "max": high},
        }
        for index, channel in enumerate(channels)
    ]
    return {
        "version": VERSION,
        "multiscales": [_multiscale(name, ("c", "y", "x"), pixel_size)],
        "omero": {"channels": shown},
    }


def fields_metadata(
    name: str, meanings: Mapping[int, Sequence[int]], names: Sequence[str], pixel_size: tuple[float, float] | None
) -> dict[str, Any]:
    """The ``ome`` attribute of a ``(y, x)`` label image whose values are bit fields.

    Args:
        name: of the label image.
        meanings: for each value but 0, the numbers of the classes that it stands for; none: "ignore".
        names: of the classes.
        pixel_size: ``(y, x)`` in micrometres, or None.
    """
    properties = [
        {"label-value": value, "class": " + ".join(names[k] for k in members) or "ignore"}
        for value, members in meanings.items()
    ]
    colours = [{"label-value": value, "rgba": [*_mixed(members), 255]} for value, members in meanings.items()]
    label: dict[str, Any] = {"source": {"image": "../../"}}
    if meanings:  # empty lists are not allowed
        label |= {"colors": colours, "properties": properties}
    return {"version": VERSION, "multiscales": [_multiscale(name, ("y", "x"), pixel_size)], "image-label": label}


def _mixed(members: Sequence[int]) -> list[int]:
    """The mean of the classes' colours; dark grey for what belongs to none, which is what is ignored."""
    if not members:
        return [64, 64, 64]
    parts = [bytes.fromhex(_colour(k)) for k in members]
    return [sum(part[i] for part in parts) // len(parts) for i in range(3)]


def _multiscale(name: str, axes: Sequence[str], pixel_size: tuple[float, float] | None) -> dict[str, Any]:
    unit = {"unit": "micrometer"} if pixel_size else {}
    scale = [1.0] * (len(axes) - 2) + list(pixel_size or (1.0, 1.0))
    return {
        "name": name,
        "axes": [
            {"name": axis, "type": "channel"} if axis == "c" else {"name": axis, "type": "space", **unit}
            for axis in axes
        ],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
    }


def _channel_colour(channel: str, index: int) -> str:
    natural = {"grey": "FFFFFF", "red": "FF0000", "green": "00FF00", "blue": "0000FF"}
    return natural.get(channel, _colour(index))


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]
