"""Zarr v3 groups and arrays, written and read in parts by TensorStore (docs/adr/0008)."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from unetseg.storage import is_remote, zarr_store

__all__ = [
    "ArrayWriter",
    "StoredArray",
    "StoredPlanes",
    "array_bytes",
    "band_rows",
    "create_array",
    "drop_empty_folders",
    "group_bytes",
    "index_bytes",
    "read_window",
    "shard_rows",
    "shard_shape",
    "write_group",
    "write_rows",
]

_SHARD_CHUNKS = 8  # chunks per side of a shard: a 2048 x 2048 file for chunks of 256
_BAND_BYTES = 1 << 26  # in memory, several times over while it is encoded
_ENTRY, _CHECKSUM = 16, 4  # bytes in the index of a shard: for each chunk, and CRC-32C
_KINDS = 64  # sizes and types of arrays that are remembered: most of a folder's are alike, saying it takes 0.07 ms
_AXES = {2: "yx", 3: "cyx", 4: "czyx"}


def write_group(path: Path, attributes: Mapping[str, Any]) -> Path:
    """Make a folder a Zarr v3 group with attributes; arrays and groups in it stay.

    Returns:
        The folder, where arrays and further groups go.
    """
    if not path.exists():
        path.mkdir(parents=True, exist_ok=True)
    _write_metadata(path, _as_text(_group_metadata(attributes)))
    return path


def group_bytes(attributes: Mapping[str, Any]) -> int:
    """Bytes that `write_group` writes."""
    return len(_as_text(_group_metadata(attributes)).encode())


def _group_metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _as_text(metadata: Mapping[str, Any]) -> str:
    # One line: zarr-python takes 2 ms for it, indentation 1 ms, and a scan has five of them.
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False)


def _write_metadata(path: Path, text: str) -> None:
    try:
        file = (path / "zarr.json").open("x", encoding="utf-8")
    except FileExistsError:  # it may be a link to that of the scan that is being replaced
        (path / "zarr.json").unlink()
        file = (path / "zarr.json").open("x", encoding="utf-8")
    with file:
        file.write(text)


class StoredArray:
    """An array on this machine's disk, read and written in parts.

    Several processes may write at once where none writes into the shards of another.

    Args:
        path: the array's folder.
        metadata: what stands in its ``zarr.json``, where that is known: it is not read then.

    Attributes:
        shape: of the array.
        shard: of one file of it.
        dtype: of its values.
        axes: a letter for each axis.
    """

    def __init__(self, path: Path, metadata: str = "") -> None:
        self._store = _open(path, metadata)
        self.shape: tuple[int, ...] = tuple(self._store.shape)
        self.shard: tuple[int, ...] = tuple(self._store.chunk_layout.write_chunk.shape)
        self.dtype: np.dtype[Any] = np.dtype(self._store.dtype.numpy_dtype)
        self.axes = "".join(self._store.domain.labels)

    def read(self, window: tuple[slice, ...]) -> NDArray[Any]:
        """The values of a part, given by one slice per axis that ends within the array."""
        return np.asarray(self._store[window].read().result())

    def write(self, window: tuple[slice | int, ...], values: NDArray[np.generic]) -> None:
        """Write a part, given by a slice or number per axis; the values are copied before it returns."""
        with _disk_errors():
            self._store[window].write(values).result()


def create_array(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, chunk: int, rows: int = 0, axes: str = ""
) -> StoredArray:
    """Begin an array, which is all 0; what was there is replaced.

    Chunks are about one patch, many of them in one shard (file).

    Args:
        path: the array's folder.
        shape: of the whole array.
        dtype: of its values.
        chunk: side of a chunk in pixels; a smaller scan is one chunk.
        rows: of a shard, a multiple of ``chunk``; 0: eight chunks, which is also how many columns it has.
        axes: a letter for each axis; none: ``yx``, ``cyx`` or ``czyx``.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        shutil.rmtree(path)
        path.mkdir()
    metadata = _array_metadata(shape, np.dtype(dtype), chunk, rows, axes or _AXES[len(shape)])
    _write_metadata(path, metadata)
    return StoredArray(path, metadata)


def array_bytes(shape: tuple[int, ...], dtype: DTypeLike, *, chunk: int, rows: int = 0, axes: str = "") -> int:
    """Bytes of the ``zarr.json`` that `create_array` writes; its arguments."""
    return len(_array_metadata(shape, np.dtype(dtype), chunk, rows, axes or _AXES[len(shape)]).encode())


def shard_shape(shape: tuple[int, ...], *, chunk: int, rows: int = 0, axes: str = "") -> tuple[list[int], list[int]]:
    """Sides of a shard and of a chunk of an array that `create_array` begins; its arguments."""
    sides = [min(chunk, size) for size in shape[-2:]]
    most = [max((rows or band_rows(chunk)) // sides[0], 1), _SHARD_CHUNKS]
    shards = [min(-(-size // side), many) * side for size, side, many in zip(shape[-2:], sides, most, strict=True)]
    # The channels of a place are one file, the pages of a stack are not: they are written one by one.
    axes = axes or _AXES[len(shape)]
    leading = [1 if axis == "z" else size for axis, size in zip(axes[:-2], shape[:-2], strict=True)]
    return [*leading, *shards], [*(1 for _ in leading), *sides]


def index_bytes(shard: Sequence[int], chunks: Sequence[int]) -> int:
    """Bytes of a shard beside those of its chunks: where each begins and ends, and a checksum."""
    return _ENTRY * math.prod(-(-side // own) for side, own in zip(shard, chunks, strict=True)) + _CHECKSUM


def drop_empty_folders(path: Path) -> None:
    """Remove folders of an array in which nothing is: TensorStore makes some for shards that are all 0.

    Args:
        path: the array's folder, into which nobody writes any more.
    """
    for folder, _, files in os.walk(path / "c", topdown=False):
        if not files:
            with suppress(OSError):  # others are in it that are not empty
                Path(folder).rmdir()


class ArrayWriter:
    """Writes a ``(y, x)`` or ``(c, y, x)`` array from top to bottom, in bands of rows.

    Bands that end where shards end are written once.

    Args:
        path: the array's folder; what was there is replaced.
        shape: of the whole array.
        dtype: of its values.
        chunk: side of a chunk in pixels; a smaller scan is one chunk.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, chunk: int) -> None:
        self._array = create_array(path, shape, dtype, chunk=chunk)

    def write(self, start: int, planes: NDArray[np.generic]) -> None:
        """Write rows ``(h, W)`` or ``(c, h, W)`` that begin at ``start``; the rows are copied before it returns."""
        write_rows(self._array, start, planes)


def write_rows(array: StoredArray, start: int, planes: NDArray[np.generic], page: int = 0, left: int = 0) -> None:
    """Write rows of an array: all of them, or the columns of some shards.

    Args:
        array: to write to.
        start: the first row.
        planes: ``(h, w)`` or ``(c, h, w)``, with or without a c axis as the array.
        page: which z, where the array has that axis.
        left: the first column.
    """
    rows = slice(start, start + planes.shape[-2])
    has_pages = len(array.shape) > planes.ndim
    # Shard by shard: those of a whole band of a large scan would be encoded, and held, at once.
    for first in range(0, planes.shape[-1], array.shard[-1]):
        part = planes[..., first : first + array.shard[-1]]
        columns = slice(left + first, left + first + part.shape[-1])
        leading: list[slice | int] = [slice(None)] * (planes.ndim - 2) + [page] * has_pages
        array.write((*leading, rows, columns), part)


class StoredPlanes:
    """The planes ``(C, H, W)`` of an array, read when a part of them is asked for by ``planes[classes, rows]``.

    Args:
        path: the array's folder, local or in an object store; its axes are y and x, with c or z before them or without.
        page: which z.

    Attributes:
        shape: ``(C, H, W)``.
        dtype: of the values.
    """

    def __init__(self, path: Path, page: int = 0) -> None:
        array = _RemoteArray(path) if is_remote(path) else StoredArray(path)
        length = dict(zip(array.axes, array.shape, strict=True))
        self._array, self._page = array, page
        self.shape: tuple[int, ...] = (length.get("c", 1), length["y"], length["x"])
        self.dtype = array.dtype

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[Any]:
        """Rows of some classes, ``(c, h, W)``."""
        return self.read(*part)

    def read(self, classes: slice, rows: slice, columns: slice = slice(None)) -> NDArray[Any]:
        """A part of some classes, ``(c, h, w)``."""
        wanted = zip((classes, rows, columns), self.shape, strict=True)
        classes, rows, columns = (slice(*part.indices(size)) for part, size in wanted)
        places = {"c": classes, "z": slice(self._page, self._page + 1), "y": rows, "x": columns}
        found = self._array.read(tuple(places[axis] for axis in self._array.axes))
        return found.reshape(-1, *found.shape[-2:])


def read_window(path: Path, window: tuple[slice, ...]) -> NDArray[Any]:
    """Read a part of an array.

    Args:
        path: the array's folder, local or in an object store.
        window: a slice per axis, as NumPy takes them.
    """
    array = _RemoteArray(path) if is_remote(path) else StoredArray(path)
    return array.read(tuple(slice(*part.indices(size)) for part, size in zip(window, array.shape, strict=True)))


class _RemoteArray:
    """An array in an object store, read as a `StoredArray` is."""

    def __init__(self, path: Path) -> None:
        self._array = zarr.open_array(zarr_store(path), mode="r")
        self.shape: tuple[int, ...] = self._array.shape
        self.dtype: np.dtype[Any] = np.dtype(self._array.dtype)
        self.axes = "".join(map(str, getattr(self._array.metadata, "dimension_names", None) or ()))

    def read(self, window: tuple[slice, ...]) -> NDArray[Any]:
        return np.asarray(self._array[window])


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


def _open(path: Path, metadata: str) -> Any:  # noqa: ANN401 (tensorstore publishes no types)
    import tensorstore

    place = tensorstore.KvStore.Spec({"driver": "file", "path": f"{path}/"})
    return tensorstore.open(_spec(metadata), kvstore=place, context=_context()).result()


@lru_cache(maxsize=_KINDS)
def _spec(metadata: str) -> Any:  # noqa: ANN401 (tensorstore publishes no types)
    import tensorstore

    known = {"metadata": json.loads(metadata), "assume_metadata": True} if metadata else {}
    # "open" as an argument of tensorstore.open would undo "assume_metadata": the file would be read all the same.
    return tensorstore.Spec({"driver": "zarr3", "open": True, **known})


@cache
def _context() -> Any:  # noqa: ANN401 (tensorstore publishes no types)
    import tensorstore

    return tensorstore.Context({"file_io_sync": False})  # folders are renamed when all of them is written


def band_rows(chunk: int) -> int:
    """Side of a shard: rows of a band that ends where shards end."""
    return chunk * _SHARD_CHUNKS


def shard_rows(shape: tuple[int, ...], dtype: DTypeLike, *, chunk: int) -> int:
    """Rows of a shard, a multiple of ``chunk``, so that a band of whole rows ``(C, h, W)`` is small in memory.

    Args:
        shape: of the planes, ``(C, H, W)``.
        dtype: of their values.
        chunk: side of a chunk in pixels.
    """
    row_of_chunks = shape[0] * chunk * shape[-1] * np.dtype(dtype).itemsize
    return chunk * min(max(_BAND_BYTES // row_of_chunks, 1), _SHARD_CHUNKS)


@lru_cache(maxsize=_KINDS)
def _array_metadata(shape: tuple[int, ...], dtype: np.dtype[Any], chunk: int, rows: int, axes: str) -> str:
    """What stands in an array's ``zarr.json``."""
    shard, chunks = shard_shape(shape, chunk=chunk, rows=rows, axes=axes)
    endian = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    # Masks shrink 100-fold at any level; higher ones only cost time on noisy scans.
    codecs = [{"name": "bytes", **endian}, {"name": "zstd", "configuration": {"level": 1, "checksum": False}}]
    return _as_text(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": dtype.name,
            "fill_value": 0,
            "dimension_names": tuple(axes),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [_sharded(chunks, codecs)],
        }
    )


def _sharded(chunk_shape: list[int], codecs: list[dict[str, Any]]) -> dict[str, Any]:
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    shard = {"chunk_shape": chunk_shape, "codecs": codecs, "index_codecs": index, "index_location": "end"}
    return {"name": "sharding_indexed", "configuration": shard}
