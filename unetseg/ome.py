"""OME-Zarr 0.5: the metadata that ome-zarr readers and napari look for, of images in ``(c, y, x)`` order.

Specification: https://ngff.openmicroscopy.org/0.5 (doi:10.1038/s41592-021-01326-w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["COLOURS", "PixelSize", "VoxelSize", "axis_sizes", "fields_metadata", "image_metadata", "objects_metadata"]

VERSION = "0.5"

COLOURS = ("E69F00", "56B4E9", "CC79A7", "009E73", "F0E442", "0072B2", "D55E00", "999999")
"""Colours of the classes, told apart also by the colour-blind (Okabe and Ito, https://jfly.uni-koeln.de/color/)."""


PixelSize = tuple[float, float] | None
"""``(y, x)`` in micrometres, or None."""

VoxelSize = PixelSize | tuple[float, float | None, float | None]
"""The same, or of a stack that says how far its pages are apart ``(z, y, x)``."""


def axis_sizes(size: VoxelSize) -> dict[str, float]:
    """Micrometres along each axis that has a known size, by its letter.

    >>> axis_sizes((3.0, 0.5, 0.25))
    {'z': 3.0, 'y': 0.5, 'x': 0.25}
    """
    sides = size or ()
    return {axis: side for axis, side in zip("zyx"[3 - len(sides) :], sides, strict=True) if side is not None}


def image_metadata(
    name: str,
    channels: Sequence[str],
    pixel_size: VoxelSize,
    *,
    window: tuple[float, float],
    levels: int = 1,
    axes: str = "cyx",
) -> dict[str, Any]:
    """The ``ome`` attribute of an image.

    Args:
        name: of the image.
        channels: names, in order.
        pixel_size: ``(y, x)`` in micrometres, of a stack also ``(z, y, x)``; or None.
        window: intensities that a viewer shows as black and as full colour.
        levels: resolutions in the arrays ``0``, ``1`` ..., each half as wide as the one before.
        axes: a letter for each axis: ``cyx``, or ``czyx`` for a stack.
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
        "multiscales": [_multiscale(name, axes, pixel_size, levels)],
        "omero": {"channels": shown},
    }


def fields_metadata(
    name: str,
    meanings: Mapping[int, Sequence[int]],
    names: Sequence[str],
    pixel_size: VoxelSize,
    *,
    source: str = "../../",
    levels: int = 1,
    axes: str = "yx",
) -> dict[str, Any]:
    """The ``ome`` attribute of a label image whose values stand for a class or for several.

    Args:
        name: of the label image.
        meanings: for each value but 0, the numbers of the classes that it stands for; none: "ignore".
        names: of the classes.
        pixel_size: ``(y, x)`` in micrometres, of a stack also ``(z, y, x)``; or None.
        source: where the image is that it labels, seen from here; empty where that is elsewhere.
        levels: as for `image_metadata`.
        axes: ``yx``, or ``zyx`` for a stack.
    """
    properties = [
        {"label-value": value, "class": " + ".join(names[k] for k in members) or "ignore"}
        for value, members in meanings.items()
    ]
    colours = [{"label-value": value, "rgba": [*_mixed(members), 255]} for value, members in meanings.items()]
    label: dict[str, Any] = {"source": {"image": source}} if source else {}
    if meanings:  # empty lists are not allowed
        label |= {"colors": colours, "properties": properties}
    return {"version": VERSION, "multiscales": [_multiscale(name, axes, pixel_size, levels)], "image-label": label}


def objects_metadata(
    name: str, classes: Sequence[str], pixel_size: VoxelSize, *, levels: int = 1, axes: str = "cyx"
) -> dict[str, Any]:
    """The ``ome`` attribute of a label image with one plane per class, whose objects are numbered from 1.

    Args:
        name: of the label image.
        classes: names, in order; a label image has no channels that could carry them, so they are among the free
            metadata of the multiscale image.
        pixel_size: ``(y, x)`` in micrometres, of a stack also ``(z, y, x)``; or None.
        levels: as for `image_metadata`.
        axes: ``cyx``, or ``czyx`` for a stack.
    """
    image = _multiscale(name, axes, pixel_size, levels)
    image["metadata"] = {**image.get("metadata", {}), "classes": list(classes)}
    return {"version": VERSION, "multiscales": [image], "image-label": {}}


def _mixed(members: Sequence[int]) -> list[int]:
    """The mean of the classes' colours; dark grey for what belongs to none, which is what is ignored."""
    if not members:
        return [64, 64, 64]
    parts = [bytes.fromhex(_colour(k)) for k in members]
    return [sum(part[i] for part in parts) // len(parts) for i in range(3)]


def _multiscale(name: str, axes: str, pixel_size: VoxelSize, levels: int) -> dict[str, Any]:
    sizes = axis_sizes(pixel_size)
    image: dict[str, Any] = {
        "name": name,
        "axes": [_axis(axis, sizes) for axis in axes],
        "datasets": [_dataset(level, axes, sizes) for level in range(levels)],
    }
    if levels > 1:
        about = "each pixel is the largest of the 2 x 2 pixels of the level below (unetseg.pyramid)"
        image |= {"type": "max", "metadata": {"description": about}}
    return image


def _axis(axis: str, sizes: Mapping[str, float]) -> dict[str, Any]:
    if axis == "c":
        return {"name": axis, "type": "channel"}
    unit = {"unit": "micrometer"} if axis in sizes else {}
    return {"name": axis, "type": "space", **unit}


def _dataset(level: int, axes: str, sizes: Mapping[str, float]) -> dict[str, Any]:
    """One level: the size of its pixels, and where the centre of its first one is, from that of level 0."""
    steps = [(sizes.get(axis, 1.0), float(2**level if axis in "yx" else 1)) for axis in axes]
    transformations: list[dict[str, Any]] = [{"type": "scale", "scale": [size * factor for size, factor in steps]}]
    if level:
        shift = [size * (factor - 1) / 2 for size, factor in steps]
        transformations.append({"type": "translation", "translation": shift})
    return {"path": str(level), "coordinateTransformations": transformations}


def _channel_colour(channel: str, index: int) -> str:
    natural = {"grey": "FFFFFF", "red": "FF0000", "green": "00FF00", "blue": "0000FF"}
    return natural.get(channel, _colour(index))


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]
