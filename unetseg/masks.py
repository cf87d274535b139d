"""Masks: from the files that users have to one bit per class and pixel.

Mask files are found by their scan's id and opened once, however many classes they hold. What the pixels mean is said
by the classes' sources (`unetseg.config.ClassSource`) and worked out in `unetseg.encodings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bit_fields import field_dtype, unpack
from unetseg.config import ClassSource, GuideSource
from unetseg.encodings import claimed_values
from unetseg.errors import UsageError
from unetseg.mask_layers import Layer, MaskFrame, open_file, open_objects
from unetseg.patterns import find_mask, find_objects, mask_files
from unetseg.readers import ScanRef

__all__ = [
    "BACKGROUND",
    "IGNORE",
    "MaskRows",
    "class_names",
    "find_mask",
    "find_objects",
    "guide_names",
    "mask_files",
    "open_guides",
    "open_masks",
    "read_masks",
]

BACKGROUND = "background"
IGNORE = "ignore"
_RESERVED = (BACKGROUND, IGNORE)
_SUMMARIES = ("micro", "macro", "weighted")  # rows of the score tables

_File = tuple[Path, int | None]  # and its page


def class_names(sources: Sequence[ClassSource]) -> tuple[str, ...]:
    """Names of the classes in order, without the reserved ``background`` and ``ignore``.

    Raises:
        UsageError: when a name is used twice or means something else, or a value cannot be read.
    """
    names = tuple(source.name for source in sources if source.name not in _RESERVED)
    for name in names:
        if name in _SUMMARIES:
            raise UsageError(
                f"sources.classes: class {name!r}: the name is taken by a row of the score tables; choose another"
            )
        if names.count(name) > 1:
            raise UsageError(
                f"sources.classes: class {name!r} is given {names.count(name)} times; give each class its own name"
            )
    for source in sources:
        claimed_values(source)
    return names


def guide_names(guides: Sequence[GuideSource]) -> tuple[str, ...]:
    """Names of the guides in order; none is reserved.

    Raises:
        UsageError: when a name is used twice.
    """
    names = tuple(guide.name for guide in guides)
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"sources.guides: guide {name!r} is given {names.count(name)} times; give each guide its own name"
            )
    return names


@dataclass(frozen=True, eq=False)
class MaskRows:
    """The masks of a scan, open to be read in rows.

    Attributes:
        frame: The scan.
        layers: The files, each with the bits of its classes.
    """

    frame: MaskFrame
    layers: tuple[Layer, ...]

    @property
    def soft(self) -> tuple[str, ...]:
        """Names of the binary classes with grey pixels, which are cut at half of white."""
        return tuple(dict.fromkeys(name for layer in self.layers for name in layer.soft))

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Bit fields ``(stop - start, W)``: bit k is class or guide k, the bit after classes (set alone) "ignore"."""
        fields = np.zeros((stop - start, self.frame.shape[1]), self.frame.dtype)
        for layer in self.layers:
            fields |= layer.fields(start, stop)
        # What is ignored is so for all classes: the highest bit makes any field the largest.
        np.minimum(fields, fields.dtype.type(self.frame.largest), out=fields)
        return fields

    def whole(self) -> NDArray[Any]:
        """The bit fields of the whole scan, ``(H, W)``."""
        return self.rows(0, self.frame.shape[0])


@contextmanager
def open_masks(
    ref: ScanRef, sources: Sequence[ClassSource], shape: tuple[int, int], *, resize: bool = False
) -> Iterator[MaskRows]:
    """Open the masks of a scan.

    Args:
        ref: The scan.
        sources: Where each class is, reserved names included.
        shape: ``(H, W)`` of the scan.
        resize: Whether masks of another size are brought to the scan's, by their nearest pixels.

    Raises:
        BadFileError: when a mask is missing, unreadable, of another size, or has values that nobody claims.
    """
    names = (*class_names(sources), IGNORE)
    bits = {source: 1 << names.index(source.name) for source in sources if source.name in names}
    frame = MaskFrame(ref, shape, bits, 1 << len(names) - 1, field_dtype(len(names) - 1), resize)
    with _open_rows(sources, frame) as rows:
        yield rows


@contextmanager
def open_guides(
    ref: ScanRef, guides: Sequence[GuideSource], shape: tuple[int, int], *, resize: bool = False
) -> Iterator[MaskRows]:
    """Open the guides of a scan: binary masks, with a bit each in their order, whatever their names.

    Raises:
        UsageError: when two guides have the same name.
        BadFileError: when a guide is missing, unreadable or of another size.
    """
    guide_names(guides)
    binary = [ClassSource(guide.name, guide.path, guide.pattern) for guide in guides]
    bits = {source: 1 << number for number, source in enumerate(binary)}
    frame = MaskFrame(ref, shape, bits, (1 << len(guides)) - 1, field_dtype(len(guides)), resize)
    with _open_rows(binary, frame) as rows:
        yield rows


def read_masks(
    ref: ScanRef, sources: Sequence[ClassSource], shape: tuple[int, int], *, resize: bool = False
) -> NDArray[np.int8]:
    """The masks of a scan, one plane per class.

    Args:
        ref: The scan.
        sources: Where each class is, reserved names included.
        shape: ``(H, W)`` of the scan.
        resize: Whether masks of another size are brought to the scan's, by their nearest pixels.

    Returns:
        ``(H, W, K)`` int8 in the order of `class_names`: 1 class, 0 not, -1 ignore (on all classes).

    Raises:
        BadFileError: when a mask is missing, unreadable, of another size, or has values that nobody claims.
    """
    with open_masks(ref, sources, shape, resize=resize) as masks:
        return unpack(masks.whole(), len(class_names(sources)))


@contextmanager
def _open_rows(sources: Sequence[ClassSource], frame: MaskFrame) -> Iterator[MaskRows]:
    """Open the files of some sources, which have their bits already."""
    with ExitStack() as stack:
        layers = [open_objects(source, frame) for source in sources if source.encoding == "objects"]
        for (path, page), members in _by_file(frame.ref, sources).items():
            layers += open_file(path, page, members, frame, stack)
        yield MaskRows(frame, tuple(layers))


def _by_file(ref: ScanRef, sources: Sequence[ClassSource]) -> dict[_File, list[ClassSource]]:
    """The classes of each mask file of a scan, so that one that classes share is read once."""
    by_file: dict[_File, list[ClassSource]] = {}
    for source in sources:
        if source.encoding != "objects":
            by_file.setdefault(find_mask(source, ref.id), []).append(source)
    return by_file
