"""What the numbers of a mask file mean: from pixels to the binary plane of a class.

Each encoding of `unetseg.config.MaskEncoding` that shares a file between classes (labels, colours, bits, pages) names
every value in it; a value that nobody claims is an error, never background.

Example:
    >>> source = ClassSource("cell", "masks", encoding="bits", values=("0", "3"))
    >>> claimed_values(source)
    [0, 3]
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.config import ClassSource
from unetseg.errors import BadFileError, UsageError

__all__ = ["binary_plane", "claimed_values", "pixel_codes", "unclaimed", "value_planes"]

logger = logging.getLogger(__name__)

_WITHOUT_VALUES = ("binary", "instances", "objects")
_FORMS = {  # how a value is written, and an example
    "labels": (r"-?[0-9]{1,19}", "'3'"),
    "colours": (r"#[0-9A-Fa-f]{6}", "'#ff0000'"),
    "pages": (r"[0-9]{1,9}", "'0' for the first page"),
    "bits": (r"[0-9]|[1-5][0-9]|6[0-3]", "'0' for the lowest bit; the highest is '63'"),
}
_FULL_SCALES = 1, 255, 65535, 2**32 - 1  # what "white" is, by how the mask was saved
_GREY_LIMIT = 0.1  # share of pixels: soft edges are fewer
_VALUES_NAMED = 8  # unclaimed values listed in an error

_told: set[str] = set()
_telling = Lock()


# --------------------------------------------------------------------------- values


def claimed_values(source: ClassSource) -> list[int]:
    """The values of a class as integers; none where the encoding says it all.

    Returns:
        Labels, colours as ``0xrrggbb``, pages from 0, or bits from 0.

    Raises:
        UsageError: when values are needed and missing, or one cannot be read.
    """
    if source.encoding in _WITHOUT_VALUES:
        return []
    if not source.values:
        raise UsageError(f"class {source.name!r}: encoding {source.encoding!r} needs values; list them")
    return [_code(source, value) for value in source.values]


def _code(source: ClassSource, value: str) -> int:
    form, example = _FORMS[source.encoding]
    if not re.fullmatch(form, value):
        raise UsageError(
            f"class {source.name!r}: value {value!r} is not one of {source.encoding}; write it like {example}"
        )
    return int(value[1:], 16) if source.encoding == "colours" else int(value)


def unclaimed(path: Path, what: str, counts: Mapping[str, int]) -> BadFileError:
    """The error for what no class claims.

    Args:
        path: The mask file.
        what: "values", "bits" or "pages".
        counts: Pixels of each.
    """
    listed = ", ".join(f"{name} ({count} pixels)" for name, count in list(counts.items())[:_VALUES_NAMED])
    more = f" and {len(counts) - _VALUES_NAMED} more" if len(counts) > _VALUES_NAMED else ""
    return BadFileError(
        f"{path}: {what} that no class claims: {listed}{more}; add them to a class, to 'background' or to 'ignore'"
    )


# --------------------------------------------------------------------------- planes


def value_planes(
    path: Path, sources: Sequence[ClassSource], pixels: NDArray[Any]
) -> Iterator[tuple[ClassSource, NDArray[np.bool_]]]:
    """Which pixels of one image belong to each of its classes.

    Args:
        path: The file, for messages.
        sources: Classes of this file, of encodings that need no other image.
        pixels: ``(H, W, C)`` as read.

    Yields:
        Each class with its ``(H, W)`` plane.

    Raises:
        BadFileError: when the pixels cannot hold the encoding, or hold what nobody claims.
    """
    used = {source.encoding for source in sources}
    codes = {kind: _claimed_codes(path, kind, sources, pixels) for kind in used & {"labels", "colours"}}
    bits = _claimed_bits(path, sources, pixels) if "bits" in used else None
    for source in sources:
        if source.encoding == "binary":
            yield source, binary_plane(pixels, source.name, path)
        elif source.encoding == "instances":
            yield source, np.asarray((pixels != 0).any(axis=-1))
        elif bits is not None and source.encoding == "bits":
            yield source, (bits & _bit_mask([source])) != 0
        else:
            yield source, np.isin(codes[source.encoding], claimed_values(source))


def binary_plane(pixels: NDArray[Any], name: str, path: Path) -> NDArray[np.bool_]:
    """Above half of white; where only one value is not 0, that value is white.

    Args:
        pixels: ``(H, W, C)`` as read; the brightest channel counts.
        name: The class or guide, for messages.
        path: The file, for messages.

    Returns:
        ``(H, W)``.

    Raises:
        BadFileError: when there are negative values.
    """
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


def _warn_of_greys(name: str) -> None:
    """Once per class, whichever thread comes first: thousands of scans would say the same."""
    with _telling:
        if name in _told:
            return
        _told.add(name)
    logger.warning("Masks of %s have many grey pixels; taken as binary, cut at half of white.", name)


# --------------------------------------------------------------------------- codes


def pixel_codes(pixels: NDArray[Any], encoding: str, path: Path) -> NDArray[np.integer[Any]]:
    """One integer per pixel: the label or bit field, or the colour as ``0xrrggbb``.

    Args:
        pixels: ``(H, W, C)`` as read.
        encoding: "labels", "bits" or "colours".
        path: The file, for the message.

    Returns:
        ``(H, W)`` integers.

    Raises:
        BadFileError: when the file cannot hold that encoding.
    """
    return _colour_codes(pixels, path) if encoding == "colours" else _label_codes(pixels, encoding, path)


def _label_codes(pixels: NDArray[Any], encoding: str, path: Path) -> NDArray[np.integer[Any]]:
    if (pixels != pixels[..., :1]).any():
        raise BadFileError(
            f"{path}: {encoding} are one number per pixel, but the file has colours; use encoding 'colours'"
        )
    values = pixels[..., 0]
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise BadFileError(f"{path}: {encoding} are whole numbers, but the file has fractions; convert it")
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


def _claimed_codes(
    path: Path, encoding: str, sources: Sequence[ClassSource], pixels: NDArray[Any]
) -> NDArray[np.integer[Any]]:
    """The codes of a file, of which each is claimed by a class, ``background`` or ``ignore``."""
    codes = pixel_codes(pixels, encoding, path)
    # 0 (black) is background unless a class claims it.
    claimed = {0}.union(*(claimed_values(source) for source in sources if source.encoding == encoding))
    rest = codes[~np.isin(codes, list(claimed))]
    if rest.size:
        values, counts = (found.tolist() for found in np.unique(rest, return_counts=True))
        names = [f"#{value:06x}" if encoding == "colours" else str(value) for value in values]
        raise unclaimed(path, "values", dict(zip(names, counts, strict=True)))
    return codes


def _claimed_bits(path: Path, sources: Sequence[ClassSource], pixels: NDArray[Any]) -> NDArray[np.uint64]:
    """The bit fields of a file, of which each set bit is claimed by a class, ``background`` or ``ignore``."""
    codes = pixel_codes(pixels, "bits", path)
    if codes.min() < 0:
        raise BadFileError(f"{path}: bit fields have no negative values, got {codes.min()}; save as unsigned integers")
    fields = codes.astype(np.uint64)
    rest = fields & ~_bit_mask([source for source in sources if source.encoding == "bits"])
    if rest.any():
        counts = {str(bit): int(np.count_nonzero(rest >> np.uint64(bit) & np.uint64(1))) for bit in range(64)}
        raise unclaimed(path, "bits", {bit: count for bit, count in counts.items() if count})
    return fields


def _bit_mask(sources: Sequence[ClassSource]) -> np.uint64:
    """All bits that the classes claim, set."""
    bits = {bit for source in sources for bit in claimed_values(source)}
    return np.uint64(sum(1 << bit for bit in bits))
