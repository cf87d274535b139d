"""Masks: from the files that users have to one binary plane per class.

A mask file is found by its scan's id and read once, however many classes it holds. What each pixel value means is
said by the classes' sources (`unetseg.config.ClassSource`); a value that nobody claims is an error, never background.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.config import ClassSource, GuideSource
from unetseg.errors import BadFileError, UsageError
from unetseg.formats import plane_header, read_plane
from unetseg.patterns import find_mask
from unetseg.readers import ScanRef

__all__ = [
    "BACKGROUND",
    "IGNORE",
    "class_names",
    "find_mask",
    "pixel_codes",
    "read_guides",
    "read_masks",
]

logger = logging.getLogger(__name__)

BACKGROUND = "background"
IGNORE = "ignore"
_RESERVED = (BACKGROUND, IGNORE)
_SUMMARIES = ("micro", "macro", "weighted")  # rows of the score tables

_File = tuple[Path, int | None]  # and its page
_FULL_SCALES = 1, 255, 65535, 2**32 - 1  # what "white" is, by how the mask was saved
_GREY_LIMIT = 0.1  # share of pixels: soft edges are fewer
_LEAST_BYTES = 256e6  # a tile of a small mask may be larger than the mask
_BYTES_PER_PIXEL = 32  # four samples of eight bytes: the widest there is
_VALUES_NAMED = 8  # unclaimed values listed in an error


def class_names(sources: Sequence[ClassSource]) -> tuple[str, ...]:
    """Names of the classes in order, without the reserved ``background`` and ``ignore``.

    Raises:
        UsageError: when a name is used twice or means something else, or a value cannot be read.
    """
    names = tuple(source.name for source in sources if source.name not in _RESERVED)
    for name in names:
        if name in _SUMMARIES:
            raise UsageError(f"class {name!r}: the name is taken by a row of the score tables; choose another")
        if names.count(name) > 1:
            raise UsageError(f"class {name!r} is given {names.count(name)} times; give each class its own name")
    for source in sources:
        _claimed(source)
    return names


def read_masks(ref: ScanRef, sources: Sequence[ClassSource], shape: tuple[int, int]) -> NDArray[np.int8]:
    """The masks of a scan, one plane per class.

    Args:
        ref: The scan.
        sources: Where each class is, reserved names included.
        shape: ``(H, W)`` of the scan.

    Returns:
        ``(H, W, K)`` int8 in the order of `class_names`: 1 class, 0 not, -1 ignore (on all classes).

    Raises:
        BadFileError: when a mask is missing, unreadable, of another size, or has values that nobody claims.
    """
    names = class_names(sources)
    by_file: dict[_File, list[ClassSource]] = {}
    for source in sources:
        by_file.setdefault(find_mask(source, ref.id), []).append(source)
    masks = np.zeros((*shape, len(names)), np.int8)
    ignored = np.zeros(shape, np.bool_)
    for file, members in by_file.items():
        for source, plane in _planes(file[0], members, _mask_pixels(*file, ref, shape)):
            if source.name == IGNORE:
                ignored |= plane
            elif source.name != BACKGROUND:
                masks[..., names.index(source.name)] = plane
    masks[ignored] = -1
    return masks


def read_guides(ref: ScanRef, guides: Sequence[GuideSource], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The guides of a scan, one binary plane each.

    Args:
        ref: The scan.
        guides: Where each guide is.
        shape: ``(H, W)`` of the scan.

    Returns:
        ``(H, W, G)`` uint8, 0 and 1.

    Raises:
        BadFileError: when a guide is missing, unreadable or of another size.
    """
    planes = np.zeros((*shape, len(guides)), np.uint8)
    for index, guide in enumerate(guides):
        path, page = find_mask(guide, ref.id)
        planes[..., index] = _binary(_mask_pixels(path, page, ref, shape), guide.name, path)
    return planes


def pixel_codes(pixels: NDArray[Any], encoding: str, path: Path) -> NDArray[np.integer[Any]]:
    """One integer per pixel: the label, or the colour as ``0xrrggbb``.

    Args:
        pixels: ``(H, W, C)`` as read.
        encoding: "labels" or "colours".
        path: The file, for the message.

    Returns:
        ``(H, W)`` integers.

    Raises:
        BadFileError: when the file cannot hold that encoding.
    """
    return _colour_codes(pixels, path) if encoding == "colours" else _label_codes(pixels, path)


# --------------------------------------------------------------------------- reading


def _mask_pixels(path: Path, page: int | None, ref: ScanRef, shape: tuple[int, int]) -> NDArray[Any]:
    header = plane_header(path, page)
    if (header.height, header.width) != shape:
        raise BadFileError(
            f"scan {ref.id}: mask {path} has {header.height}x{header.width} pixels, the scan {shape[0]}x{shape[1]}; "
            "make them equal"
        )
    limit = max(_LEAST_BYTES, header.height * header.width * _BYTES_PER_PIXEL)
    return read_plane(path, page, max_bytes=limit)[1]


def _planes(
    path: Path, sources: Sequence[ClassSource], pixels: NDArray[Any]
) -> Iterator[tuple[ClassSource, NDArray[np.bool_]]]:
    """Which pixels ``(H, W)`` of one file belong to each of its classes."""
    valued = {source.encoding for source in sources} & {"labels", "colours"}
    codes = {encoding: _claimed_codes(path, encoding, sources, pixels) for encoding in valued}
    for source in sources:
        if source.encoding == "binary":
            yield source, _binary(pixels, source.name, path)
        elif source.encoding == "instances":
            yield source, np.asarray((pixels != 0).any(axis=-1))
        else:
            yield source, np.isin(codes[source.encoding], _claimed(source))


def _binary(pixels: NDArray[Any], name: str, path: Path) -> NDArray[np.bool_]:
    """Above half of white; where only one value is not 0, that value is white."""
    grey = pixels.max(axis=-1)
    if pixels.dtype == np.bool_:
        return np.asarray(grey)
    if pixels.dtype.kind in "if" and grey.min() < 0:
        raise BadFileError(f"{path}: a binary mask has no negative values, got {grey.min()}; set the class's encoding")
    bright = grey[grey != 0]
    if bright.size == 0 or bright.min() == bright.max():
        return np.asarray(grey != 0)
    white = next((scale for scale in _FULL_SCALES if bright.max() <= scale), bright.max())
    if np.count_nonzero((bright > 0.1 * white) & (bright < 0.9 * white)) > _GREY_LIMIT * grey.size:
        _warn_of_greys(name)
    return np.asarray(grey > white / 2)


@cache
def _warn_of_greys(name: str) -> None:
    """Once per class: thousands of scans would say the same."""
    logger.warning("Masks of %s have many grey pixels; taken as binary, cut at half of white.", name)


def _label_codes(pixels: NDArray[Any], path: Path) -> NDArray[np.integer[Any]]:
    if (pixels != pixels[..., :1]).any():
        raise BadFileError(f"{path}: labels are one number per pixel, but the file has colours; use encoding 'colours'")
    values = pixels[..., 0]
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise BadFileError(f"{path}: labels are whole numbers, but the file has fractions; convert it")
    if values.dtype.kind == "f":
        return values.astype(np.int64)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _colour_codes(pixels: NDArray[Any], path: Path) -> NDArray[np.integer[Any]]:
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint8 or pixels.shape[-1] not in (1, 3):
        raise BadFileError(
            f"{path}: colours are 8-bit RGB, but the file has {pixels.shape[-1]} channels of {pixels.dtype}; convert it"
        )
    red, green, blue = np.moveaxis(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), -1, 0).astype(np.int32)
    return np.asarray(red << 16 | green << 8 | blue)


# --------------------------------------------------------------------------- values


def _claimed(source: ClassSource) -> list[int]:
    """The values of a class as integers; none where the encoding says it all."""
    if source.encoding in ("binary", "instances"):
        return []
    if not source.values:
        raise UsageError(f"class {source.name!r}: encoding {source.encoding!r} needs values; list them")
    return [_code(source, value) for value in source.values]


def _code(source: ClassSource, value: str) -> int:
    if source.encoding == "colours" and re.fullmatch("#[0-9A-Fa-f]{6}", value):
        return int(value[1:], 16)
    if source.encoding == "labels" and re.fullmatch("-?[0-9]+", value):
        return int(value)
    example = "'#ff0000'" if source.encoding == "colours" else "'3'"
    raise UsageError(f"class {source.name!r}: value {value!r} is not one of {source.encoding}; write it like {example}")


def _claimed_codes(
    path: Path, encoding: str, sources: Sequence[ClassSource], pixels: NDArray[Any]
) -> NDArray[np.integer[Any]]:
    """The codes of a file, of which each is claimed by a class, ``background`` or ``ignore``."""
    codes = pixel_codes(pixels, encoding, path)
    # 0 (black) is background unless a class claims it.
    claimed = {0}.union(*(_claimed(source) for source in sources if source.encoding == encoding))
    rest = codes[~np.isin(codes, list(claimed))]
    if rest.size:
        raise BadFileError(_unclaimed(path, encoding, rest))
    return codes


def _unclaimed(path: Path, encoding: str, codes: NDArray[np.integer[Any]]) -> str:
    values, counts = np.unique(codes, return_counts=True)
    names = [f"#{value:06x}" if encoding == "colours" else str(value) for value in values[:_VALUES_NAMED]]
    listed = ", ".join(f"{name} ({count} pixels)" for name, count in zip(names, counts, strict=False))
    more = f" and {len(values) - _VALUES_NAMED} more" if len(values) > _VALUES_NAMED else ""
    return f"{path}: values that no class claims: {listed}{more}; add them to a class, to 'background' or to 'ignore'"
