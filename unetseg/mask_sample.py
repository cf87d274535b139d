"""A sample of the masks of a place, evenly spread over the scans: what recognition looks at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from unetseg.config import ClassSource
from unetseg.errors import BadFileError, UsageError
from unetseg.formats import orientation, plane_count, read_plane
from unetseg.mask_layers import check_page_count, check_size
from unetseg.mask_sets import MaskSet
from unetseg.masks import find_mask, find_objects, read_masks
from unetseg.orientations import lie_alike
from unetseg.readers import ScanRef, read_header

__all__ = ["GIGABYTES_SAMPLED", "MaskSample", "spread"]

GIGABYTES_SAMPLED = 2.0  # larger files are not looked at
_SCANS_SAMPLED = 30
_OBJECTS_SAMPLED = 4  # files of a scan
_UNIONS_SAMPLED = 8  # scans whose objects are all read, which are hundreds each

Item = TypeVar("Item")


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many items, evenly spread from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


class MaskSample:
    """Masks of some scans, read when asked for.

    Args:
        mask_set: Where the masks are.
        refs: The scans, among them those that are paired.
        resize: Whether masks of another size are brought to the scan's.

    Attributes:
        errors: Why masks read so far cannot be used.
    """

    def __init__(self, mask_set: MaskSet, refs: Sequence[ScanRef], *, resize: bool = False) -> None:
        self._set, self._resize = mask_set, resize
        by_id = {ref.id: ref for ref in refs}
        self._refs = [by_id[scan_id] for scan_id in spread(mask_set.paired, _SCANS_SAMPLED)]
        self.errors: list[str] = []

    def masks(self, class_page: int | None = None) -> list[tuple[Path, NDArray[Any]]]:
        """Files with their pixels ``(H, W, C)``.

        Args:
            class_page: Which page of each scan's file; None where a file holds one image per scan.

        Raises:
            UsageError: when no mask can be read and fits its scan.
        """
        found, fitting, errors = [], 0, []
        for ref in self._refs:
            try:
                for path, page in self._files(ref, class_page):
                    header, pixels = read_plane(path, page, max_bytes=GIGABYTES_SAMPLED * 1e9)
                    found.append((path, pixels))
                    scan = read_header(ref)
                    check_size(path, header, ref, (scan.height, scan.width), resize=self._resize)
                    fitting += 1
            except BadFileError as error:
                errors.append(str(error))
        if not fitting:
            raise UsageError(f"{self._set.source.path}: no mask fits its scan; first: {errors[0]}")
        self.errors = list(dict.fromkeys(self.errors + errors))
        return found

    def class_pages(self) -> int:
        """The pages of each mask file where they can be classes: as many in all files, of scans with one page; or 0."""
        if any(ref.page is not None for ref in self._refs):
            return 0
        counts = set()
        for ref in self._refs:
            try:
                counts.add(plane_count(find_mask(self._set.source, ref.id)[0]))
            except BadFileError:
                continue  # reported when its pixels are read
        return counts.pop() if len(counts) == 1 and counts != {1} else 0

    def object_share(self) -> float:
        """The share of the pixels that belong to any object."""
        source = ClassSource("object", self._set.source.path, self._set.source.pattern, encoding="objects")
        marked = pixels = 0
        for ref in spread(self._refs, _UNIONS_SAMPLED):
            try:
                header = read_header(ref)
                mask = read_masks(ref, [source], (header.height, header.width), resize=self._resize)
            except BadFileError as error:
                self.errors.append(str(error))
                continue
            marked, pixels = marked + int(np.count_nonzero(mask)), pixels + mask.size
        return marked / pixels if pixels else 0.0

    def turned(self) -> dict[tuple[str, str], list[str]]:
        """Files that lie otherwise in space than their scan, by the axis codes of both."""
        found: dict[tuple[str, str], dict[str, None]] = {}
        for ref in self._refs:
            if not (own := orientation(ref.path)):
                continue
            with suppress(BadFileError):  # reported when pixels are read
                for path, _ in self._files(ref, None):
                    if not lie_alike(codes := orientation(path), own):
                        found.setdefault((codes, own), {})[str(path)] = None
        return {codes: list(paths) for codes, paths in found.items()}

    def _files(self, ref: ScanRef, class_page: int | None) -> list[tuple[Path, int | None]]:
        if self._set.objects:
            return [(path, None) for path in spread(find_objects(self._set.source, ref.id), _OBJECTS_SAMPLED)]
        path, page = find_mask(self._set.source, ref.id)
        check_page_count(path, page, ref)
        return [(path, page if class_page is None else class_page)]
