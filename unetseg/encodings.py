"""What the numbers of a mask file mean: from pixels to codes, and from codes to the classes that claim them.

Each encoding of `unetseg.config.MaskEncoding` that shares a file between classes (labels, colours, bits, pages) names
every value in it; a value that nobody claims is an error, never background.

Example:
    >>> source = ClassSource("cell", "masks", encoding="bits", values=("0", "3"))
    >>> claimed_values(source)
    [0, 3]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from unetseg.config import ClassSource, MaskEncoding
from unetseg.errors import BadFileError, UsageError

__all__ = ["Values", "check_claimed", "claimed_values", "claims", "pixel_codes", "unclaimed"]

_FORMS = {  # of encodings whose classes claim values: how one is written, and an example
    "labels": (r"-?[0-9]{1,19}", "'3'"),
    "colours": (r"#[0-9A-Fa-f]{6}", "'#ff0000'"),
    "pages": (r"[0-9]{1,9}", "'0' for the first page"),
    "bits": (r"[0-9]|[1-5][0-9]|6[0-3]", "'0' for the lowest bit; the highest is '63'"),
}
_FULL_SCALES = 255, 4095, 16383, 65535, 2**32 - 1  # what "white" is, by how the mask was saved
_NEAR = 0.9  # share of a full scale from which the largest value means that scale
_TINY = 25  # a tenth of 255: several values up to here are labels, or black after compression, but not white
_EXACT = 2**53  # whole numbers up to here are told apart in doubles
_SOFT = 0.1, 0.9  # shares of white; compressed black and white vary by less
_VALUES_NAMED = 8  # unclaimed values listed in an error


# --------------------------------------------------------------------------- values


def claimed_values(source: ClassSource) -> list[int]:
    """The values of a class as integers; none where the encoding says it all.

    Returns:
        Labels, colours as ``0xrrggbb``, pages from 0, or bits from 0.

    Raises:
        UsageError: when values are needed and missing, or one cannot be read.
    """
    if source.encoding not in _FORMS:
        return []
    if not source.values:
        raise UsageError(
            f"sources.classes: class {source.name!r}: encoding {source.encoding!r} needs values; list them"
        )
    return [_code(source, value) for value in source.values]


def _code(source: ClassSource, value: str) -> int:
    form, example = _FORMS[source.encoding]
    if not re.fullmatch(form, value):
        raise UsageError(
            f"sources.classes: class {source.name!r}: value {value!r} is not one of {source.encoding}; write it like "
            f"{example}"
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


# --------------------------------------------------------------------------- claims


@dataclass(frozen=True, eq=False)
class Values:
    """The codes that occur in one mask, and in how many pixels.

    Attributes:
        path: The file, for messages.
        codes: ``(n,)``, ascending.
        counts: ``(n,)``.
    """

    path: Path
    codes: NDArray[Any]
    counts: NDArray[np.int64]

    def listed(self, chosen: NDArray[np.bool_], form: str) -> dict[str, int]:
        """Pixels of some of the codes, by their names."""
        found = zip(self.codes[chosen].tolist(), self.counts[chosen].tolist(), strict=True)
        return {format(code, form): count for code, count in found}


def claims(source: ClassSource, values: Values) -> tuple[NDArray[np.bool_], bool]:
    """Which codes of a mask belong to a class, ``(n,)``; and whether it has greys, which are cut at half of white.

    Raises:
        BadFileError: when the codes cannot be of the class's encoding.
    """
    match source.encoding:
        case "binary" | "objects" | "pages":
            return _above_half(source, values)
        case "instances":
            return np.asarray(values.codes != 0), False
        case "bits":
            return np.asarray((_bit_fields(values) & _bit_mask([source])) != 0), False
        case "labels" | "colours":
            return np.asarray(np.isin(values.codes, claimed_values(source))), False


def check_claimed(sources: Sequence[ClassSource], values: Values) -> None:
    """See that each label, colour or bit of a mask is claimed by a class, ``background`` or ``ignore``.

    Raises:
        BadFileError: listing those that nobody claims.
    """
    match sources[0].encoding:
        case "bits":
            _check_bits(sources, values)
        case "labels":
            _check_values(sources, values, "d")
        case "colours":
            _check_values(sources, values, "#08x")
        case "binary" | "objects" | "pages" | "instances":  # nobody need claim what is not marked
            return
        case unknown:
            assert_never(unknown)


def _check_values(sources: Sequence[ClassSource], values: Values, form: str) -> None:
    # 0 (black) is background unless a class claims it.
    claimed = {0}.union(*(claimed_values(source) for source in sources))
    rest = ~np.isin(values.codes, list(claimed))
    if rest.any():
        names = {name.replace("0x", "#"): n for name, n in values.listed(rest, form).items()}
        raise unclaimed(values.path, "values", names)


def _above_half(source: ClassSource, values: Values) -> tuple[NDArray[np.bool_], bool]:
    """Above half of white, and whether that is doubtful: greys, or nothing above; one value besides 0 is white."""
    codes = values.codes
    if codes[0] < 0:
        raise BadFileError(
            f"{values.path}: a binary mask has no negative values, got {codes[0]}; set the encoding of {source.name!r}"
        )
    if np.count_nonzero(codes) <= 1:
        return np.asarray(codes != 0), False
    _check_no_labels(source, values)
    white, (low, high) = _white(float(codes[-1])), _SOFT
    above, greys = np.asarray(codes > white / 2), (codes > low * white) & (codes < high * white)
    return above, bool(greys.any() or not above.any())


def _white(largest: float) -> float:
    """The full scale that the largest value comes near, else that value; fractions are shares of 1."""
    if largest <= 1:
        return 1.0
    scale = next((scale for scale in _FULL_SCALES if largest <= scale), largest)
    return scale if largest >= _NEAR * scale else largest


def _check_no_labels(source: ClassSource, values: Values) -> None:
    """Several small integers in a binary mask: cut at half, all but the largest ones would be lost in silence."""
    codes = values.codes
    if codes[-1] <= _TINY and (codes == np.rint(codes)).all():
        listed = ", ".join(format(code, "g") for code in codes[:_VALUES_NAMED].tolist())
        more = ", ..." if len(codes) > _VALUES_NAMED else ""
        raise BadFileError(
            f"{values.path}: the values {listed}{more} look like labels, not black and white; set the encoding of "
            f"{source.name!r} to 'labels' with its values or to 'instances', or save the mask with white as 255"
        )


def _bit_fields(values: Values) -> NDArray[np.uint64]:
    if values.codes[0] < 0:
        raise BadFileError(
            f"{values.path}: bit fields have no negative values, got {values.codes[0]}; save as unsigned integers"
        )
    return values.codes.astype(np.uint64)


def _check_bits(sources: Sequence[ClassSource], values: Values) -> None:
    rest = _bit_fields(values) & ~_bit_mask(sources)
    if rest.any():
        set_bits = {str(bit): rest >> np.uint64(bit) & np.uint64(1) != 0 for bit in range(64)}
        counts = {bit: int(values.counts[there].sum()) for bit, there in set_bits.items()}
        raise unclaimed(values.path, "bits", {bit: count for bit, count in counts.items() if count})


def _bit_mask(sources: Sequence[ClassSource]) -> np.uint64:
    """All bits that the classes claim, set."""
    bits = {bit for source in sources for bit in claimed_values(source)}
    return np.uint64(sum(1 << bit for bit in bits))


# --------------------------------------------------------------------------- codes


def pixel_codes(pixels: NDArray[Any], encoding: MaskEncoding, path: Path) -> NDArray[np.integer[Any]]:
    """One number per pixel: the label, bit field or grey, or the colour as ``0xrrggbb``.

    Args:
        pixels: ``(H, W, C)`` as read.
        encoding: How the numbers are meant.
        path: The file, for the message.

    Returns:
        ``(H, W)``; of colours, the brightest channel of a binary mask, and whether any is not 0 of instances.

    Raises:
        BadFileError: when the file cannot hold that encoding.
    """
    if pixels.dtype == np.bool_ and encoding != "colours":
        pixels = pixels.view(np.uint8)
    match encoding:
        case "colours":
            return _colour_codes(pixels, path)
        case "labels" | "bits":
            return _label_codes(pixels, encoding, path)
        case "instances" if pixels.shape[-1] > 1:
            return np.asarray((pixels != 0).any(axis=-1).view(np.uint8))
        case "binary" | "objects" | "pages" | "instances":
            return np.asarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels.max(axis=-1))


def _label_codes(pixels: NDArray[Any], encoding: str, path: Path) -> NDArray[np.integer[Any]]:
    if pixels.shape[-1] > 1 and (pixels != pixels[..., :1]).any():
        raise BadFileError(
            f"{path}: {encoding} are one number per pixel, but the file has colours; use encoding 'colours'"
        )
    values = pixels[..., 0]
    if values.dtype.kind != "f":
        return values
    if (values != np.rint(values)).any():
        raise BadFileError(f"{path}: {encoding} are whole numbers, but the file has fractions; convert it")
    if (largest := float(np.abs(values).max())) > _EXACT:
        raise BadFileError(
            f"{path}: {encoding} of type {values.dtype} are exact up to {_EXACT}, but the file has {largest:g}; "
            "save it as integers"
        )
    return values.astype(np.int64)


def _colour_codes(pixels: NDArray[Any], path: Path) -> NDArray[np.integer[Any]]:
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint8 or pixels.shape[-1] not in (1, 3):
        raise BadFileError(
            f"{path}: colours are 8-bit RGB, but the file has {pixels.shape[-1]} channels of {pixels.dtype}; convert it"
        )
    red, green, blue = np.moveaxis(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), -1, 0).astype(np.int32)
    return np.asarray(red << 16 | green << 8 | blue)
