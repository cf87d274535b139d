"""Masks: from the files that users have to one binary plane per class.

Mask files are found by their scan's id and read once, however many classes they hold. What the pixels mean is said by
the classes' sources (`unetseg.config.ClassSource`) and worked out in `unetseg.encodings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.config import ClassSource, GuideSource
from unetseg.encodings import binary_plane, claimed_values, unclaimed, value_planes
from unetseg.errors import BadFileError, UsageError
from unetseg.formats import plane_count, plane_header, read_plane
from unetseg.patterns import find_mask, find_objects, mask_files
from unetseg.readers import ScanRef

__all__ = [
    "BACKGROUND",
    "IGNORE",
    "class_names",
    "find_mask",
    "find_objects",
    "mask_files",
    "read_guides",
    "read_masks",
]

BACKGROUND = "background"
IGNORE = "ignore"
_RESERVED = (BACKGROUND, IGNORE)
_SUMMARIES = ("micro", "macro", "weighted")  # rows of the score tables

_File = tuple[Path, int | None]  # and its page
_Plane = tuple[ClassSource, NDArray[np.bool_]]
_LEAST_BYTES = 256e6  # a tile of a small mask may be larger than the mask
_BYTES_PER_PIXEL = 32  # four samples of eight bytes: the widest there is


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
        claimed_values(source)
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
    masks = np.zeros((*shape, len(names)), np.int8)
    ignored = np.zeros(shape, np.bool_)
    for source, plane in _planes(ref, sources, shape):
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
        planes[..., index] = binary_plane(_mask_pixels(path, page, ref, shape), guide.name, path)
    return planes


# --------------------------------------------------------------------------- reading


def _planes(ref: ScanRef, sources: Sequence[ClassSource], shape: tuple[int, int]) -> Iterator[_Plane]:
    """Which pixels ``(H, W)`` of a scan each class marks; a file that classes share is read once."""
    by_file: dict[_File, list[ClassSource]] = {}
    for source in sources:
        if source.encoding == "objects":
            yield source, _union(source, ref, shape)
        else:
            by_file.setdefault(find_mask(source, ref.id), []).append(source)
    for (path, page), members in by_file.items():
        if paged := [source for source in members if source.encoding == "pages"]:
            yield from _page_planes((path, page), paged, ref, shape)
        if whole := [source for source in members if source.encoding != "pages"]:
            yield from value_planes(path, whole, _mask_pixels(path, page, ref, shape))


def _union(source: ClassSource, ref: ScanRef, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of any object; objects may overlap."""
    union = np.zeros(shape, np.bool_)
    for path in find_objects(source, ref.id):
        union |= binary_plane(_mask_pixels(path, None, ref, shape), source.name, path)
    return union


def _page_planes(file: _File, sources: Sequence[ClassSource], ref: ScanRef, shape: tuple[int, int]) -> Iterator[_Plane]:
    """The union of each class's pages."""
    path, page = file
    if page is not None:
        raise BadFileError(
            f"scan {ref.id}: encoding 'pages' needs a mask file of its own for each scan, but {path} holds a whole "
            "stack; split it into one file per scan, named by the scan's id"
        )
    claims = {number: source.name for source in sources for number in claimed_values(source)}
    pages = _claimed_pages(path, claims, ref, shape)
    for source in sources:
        yield source, np.any([pages[number] for number in claimed_values(source)], axis=0)


def _claimed_pages(
    path: Path, claims: Mapping[int, str], ref: ScanRef, shape: tuple[int, int]
) -> list[NDArray[np.bool_]]:
    """All pages of a file ``(H, W)`` each; one that no class claims must be black."""
    count = plane_count(path)
    if beyond := [number for number in sorted(claims) if number >= count]:
        raise BadFileError(
            f"{path}: class {claims[beyond[0]]!r} is page {beyond[0]}, but the file has {count} pages, counted from 0; "
            "correct the class's values or the file"
        )
    pages = [
        binary_plane(_mask_pixels(path, number, ref, shape), claims.get(number, f"page {number}"), path)
        for number in range(count)
    ]
    rest = {str(number): int(pages[number].sum()) for number in range(count) if number not in claims}
    if any(rest.values()):
        raise unclaimed(path, "pages", {number: pixels for number, pixels in rest.items() if pixels})
    return pages


def _mask_pixels(path: Path, page: int | None, ref: ScanRef, shape: tuple[int, int]) -> NDArray[Any]:
    header = plane_header(path, page)
    if (header.height, header.width) != shape:
        raise BadFileError(
            f"scan {ref.id}: mask {path} has {header.height}x{header.width} pixels, the scan {shape[0]}x{shape[1]}; "
            "make them equal"
        )
    limit = max(_LEAST_BYTES, header.height * header.width * _BYTES_PER_PIXEL)
    return read_plane(path, page, max_bytes=limit)[1]
