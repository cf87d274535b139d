"""OME-Zarr 0.5: arrays in ``(c, y, x)`` order with the metadata that ome-zarr readers and napari look for.

Specification: https://ngff.openmicroscopy.org/0.5 (doi:10.1038/s41592-021-01326-w).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLOURS", "image_metadata", "label_metadata", "write_array", "write_group"]

VERSION = "0.5"

COLOURS = ("E69F00", "56B4E9", "CC79A7", "009E73", "F0E442", "0072B2", "D55E00", "999999")
"""Colours of the classes, told apart also by the colour-blind (Okabe and Ito, https://jfly.uni-koeln.de/color/)."""

_SHARD_CHUNKS = 8  # chunks per side of a shard: a 2048 x 2048 file for chunks of 256


def write_group(path: Path, attributes: Mapping[str, Any]) -> Path:
    """Create a Zarr v3 group with attributes; what was there is replaced.

    Returns:
        Its folder, where arrays and further groups go.
    """
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    # Two lines of JSON: zarr-python takes 2 ms for them, and a scan has a group per class.
    (path / "zarr.json").write_text(json.dumps(group, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return path


def write_array(path: Path, planes: NDArray[np.generic], *, chunk: int) -> None:
    """Write ``(y, x)`` or ``(c, y, x)`` planes: chunks of about one patch, many of them in one shard (file).

    Args:
        path: the array's folder; what was there is replaced.
        planes: the values.
        chunk: side of a chunk in pixels; a smaller scan is one chunk.
    """
    import tensorstore

    store = tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path)},
            "metadata": _array_metadata(planes, chunk),
            "create": True,
            "delete_existing": True,
        },
        context=tensorstore.Context({"file_io_sync": False}),  # the folder is renamed when all of it is written
    ).result()
    store.write(planes).result()


def _array_metadata(planes: NDArray[np.generic], chunk: int) -> dict[str, Any]:
    """What stands in an array's ``zarr.json``."""
    height, width = planes.shape[-2:]
    sides = (min(chunk, height), min(chunk, width))
    shards = [min(-(-size // side), _SHARD_CHUNKS) * side for size, side in zip((height, width), sides, strict=True)]
    leading = planes.shape[:-2]
    endian = {"configuration": {"endian": "little"}} if planes.dtype.itemsize > 1 else {}
    # Masks shrink 100-fold at any level; higher ones only cost time on noisy scans.
    codecs = [{"name": "bytes", **endian}, {"name": "zstd", "configuration": {"level": 1, "checksum": False}}]
    return {
        "shape": planes.shape,
        "data_type": planes.dtype.name,
        "fill_value": 0,
        "dimension_names": ("c", "y", "x")[-planes.ndim :],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*leading, *shards]}},
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


def label_metadata(name: str, index: int, pixel_size: tuple[float, float] | None) -> dict[str, Any]:
    """The ``ome`` attribute of one class's ``(y, x)`` label plane, with 1 in the class's colour."""
    return {
        "version": VERSION,
        "multiscales": [_multiscale(name, ("y", "x"), pixel_size)],
        "image-label": {
            "colors": [{"label-value": 1, "rgba": [*bytes.fromhex(_colour(index)), 255]}],
            "properties": [{"label-value": 1, "class": name}],
            "source": {"image": "../../"},
        },
    }


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
