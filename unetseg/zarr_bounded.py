"""Chunks of Zarr arrays, decoded to no more bytes than they can hold, whatever they say of themselves.

zarr-python's codecs inflate a chunk first, to whatever it becomes, and see its size then; that of Blosc reads beyond a
chunk that was cut short. So the codecs of strangers' arrays are those of this table, and others are refused. They take
the place of zarr-python's in the process: results are the same.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import zarr
from numcodecs.registry import register_codec as register_numcodec
from zarr.abc.codec import Codec
from zarr.codecs import BloscCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.registry import register_codec

from unetseg.errors import BadFileError

__all__ = ["bound"]

_DECODERS: dict[str, Callable[..., Any]] = {
    "blosc": imagecodecs.blosc_decode,
    "bz2": imagecodecs.bz2_decode,
    "gzip": imagecodecs.gzip_decode,
    "lz4": partial(imagecodecs.lz4_decode, header=True),
    "lzma": imagecodecs.lzma_decode,
    "zlib": imagecodecs.zlib_decode,
    "zstd": imagecodecs.zstd_decode,
}
_KEEP_SIZE = {  # of Zarr 2 (filters), and of Zarr 3: what they give is as long as what they get, or nearly so
    2: {
        *("adler32", "astype", "bitround", "crc32", "crc32c", "delta", "fixedscaleoffset", "fletcher32", "quantize"),
        "shuffle",
    },
    3: {"bytes", "crc32c", "transpose"},
}  # fmt: skip
_WIDEST = 16  # bytes of a value that `astype` or `fixedscaleoffset` may have stored for one byte


def bound(path: Path, array: Any) -> None:  # noqa: ANN401 (zarr's types are wide)
    """See that each chunk of an array is decoded within its size.

    Args:
        path: what was asked for, for messages.
        array: as zarr-python opened it.

    Raises:
        BadFileError: it is compressed in another way.
    """
    if array.metadata.zarr_format == 3:
        _check(path, 3, {"blosc", "gzip", "zstd"} | _KEEP_SIZE[3], _names(array.metadata.codecs))
        return
    compressor, filters = array.metadata.compressor, array.metadata.filters or ()
    _check(path, 2, _KEEP_SIZE[2], (item.codec_id for item in filters))
    if compressor is not None:
        _check(path, 2, _DECODERS.keys(), [compressor.codec_id])
        compressor.limit(math.prod(array.chunks) * array.dtype.itemsize * (_WIDEST if filters else 1))


def _check(path: Path, version: int, known: Iterable[str], found: Iterable[str]) -> None:
    if foreign := sorted(set(found) - set(known)):
        raise BadFileError(
            f"{path}: Zarr {version} with codec {foreign[0]!r} is not read; save it with zstd, blosc or gzip"
        )


def _names(codecs: Iterable[Codec]) -> Iterable[str]:
    """Names of the codecs, in shards too."""
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            yield from _names((*codec.codecs, *codec.index_codecs))
        else:
            yield str(codec.to_dict()["name"])


def _decode(name: str, data: Any, nbytes: int) -> bytes:  # noqa: ANN401 (whatever holds bytes)
    if name == "blosc" and (found := int.from_bytes(bytes(data[12:16]), "little")) > len(data):
        raise ValueError(f"a chunk of {found} bytes is cut short, {len(data)} are left")  # Blosc would read beyond it
    # Some more: another codec may have added a check sum, or have made noise longer.
    decoded: bytes = _DECODERS[name](data, out=nbytes + nbytes // 8 + 4096)
    return decoded


def _decoded(name: str, chunk: Buffer, spec: ArraySpec) -> Buffer:
    nbytes = math.prod(spec.shape) * spec.dtype.to_native_dtype().itemsize
    return spec.prototype.buffer.from_bytes(_decode(name, chunk.as_numpy_array(), nbytes))


class BoundedBlosc(BloscCodec):
    """Blosc of Zarr 3."""

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(_decoded, "blosc", chunk_bytes, chunk_spec)


class BoundedGzip(GzipCodec):
    """Gzip of Zarr 3."""

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(_decoded, "gzip", chunk_bytes, chunk_spec)


class BoundedZstd(ZstdCodec):
    """Zstandard of Zarr 3."""

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(_decoded, "zstd", chunk_bytes, chunk_spec)


def _bounded(kind: type[Any]) -> type[Any]:
    """A compressor of Zarr 2 that can be given a limit."""

    class Bounded(kind):  # type: ignore[misc]  # whichever class
        _most: int | None = None

        def limit(self, nbytes: int) -> None:
            self._most = nbytes

        def decode(self, buf: Any, out: Any = None) -> Any:  # noqa: ANN401 (as numcodecs has it)
            if self._most is None or out is not None:
                return super().decode(buf, out)
            return _decode(self.codec_id, buf, self._most)

    return Bounded


for _key, _kind in {"blosc": BoundedBlosc, "gzip": BoundedGzip, "zstd": BoundedZstd}.items():
    register_codec(_key, _kind)
    zarr.config.set({f"codecs.{_key}": f"{_kind.__module__}.{_kind.__qualname__}"})
for _key in _DECODERS:
    register_numcodec(_bounded(numcodecs.get_codec({"id": _key}).__class__))
