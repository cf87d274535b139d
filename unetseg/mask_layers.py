"""Mask files as layers of bits: each layer tells, for some rows of a scan, which classes one file marks there.

A file is gone over twice: once to see which values occur, which decides what each means (where half of white is,
what nobody claims); then its rows become bit fields (`unetseg.bit_fields`) by a table. So masks may be larger than
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.config import ClassSource, MaskEncoding
from unetseg.counting import count_values
from unetseg.encodings import Values, check_claimed, claimed_values, claims, pixel_codes, unclaimed
from unetseg.errors import BadFileError
from unetseg.formats import OpenPlane, open_plane, plane_count
from unetseg.patterns import find_objects
from unetseg.plane_counts import counted_once
from unetseg.planes import ScanHeader
from unetseg.readers import ScanRef
from unetseg.words import counted

__all__ = ["Layer", "MaskFrame", "check_page_count", "check_size", "open_file", "open_objects"]

Fields = NDArray[Any]

_LEAST_BYTES = 256e6  # a tile of a small mask may be larger than the mask
_BYTES_PER_PIXEL = 32  # four samples of eight bytes: the widest there is
_BAND_PIXELS = 1 << 24  # pixels of a streamed mask that are counted together
_SAME_SHAPE = 0.02  # by which height / width may differ when a mask is resized: odd sides that were halved
_COLOURS = 1 << 24


class Layer(Protocol):
    """What one mask says of a scan's pixels."""

    @property
    def soft(self) -> tuple[str, ...]:
        """Binary classes with grey pixels, which are cut at half of white."""

    def fields(self, start: int, stop: int) -> Fields:
        """The bits of some rows of the scan, ``(stop - start, W)``."""


@dataclass(frozen=True)
class MaskFrame:
    """The scan that masks belong to, and how they are brought to it.

    Attributes:
        ref: The scan.
        shape: Its ``(H, W)``.
        bits: The bit of each class; a class without one only claims its values.
        largest: The field to which larger ones are cut: the bit "ignore"; of guides, all their bits.
        dtype: Of the bit fields.
        resize: Whether a mask of another size is brought to the scan's, by its nearest pixels.
    """

    ref: ScanRef
    shape: tuple[int, int]
    bits: Mapping[ClassSource, int]
    largest: int
    dtype: np.dtype[Any]
    resize: bool = False

    def bit(self, source: ClassSource) -> int:
        """The number that stands for a class."""
        return self.bits.get(source, 0)


def open_file(
    path: Path, page: int | None, sources: Sequence[ClassSource], frame: MaskFrame, stack: ExitStack
) -> list[Layer]:
    """The layers of one file that classes share.

    Args:
        path: The file.
        page: Which page of it; None for a file of its own.
        sources: The classes in it, ``background`` and ``ignore`` included.
        frame: The scan.
        stack: Keeps the file open.

    Raises:
        BadFileError: when the file cannot be used, or has values that nobody claims.
    """
    layers: list[Layer] = []
    for encoding in dict.fromkeys(source.encoding for source in sources):
        members = [source for source in sources if source.encoding == encoding]
        if encoding == "pages":
            layers += _open_pages(path, page, members, frame, stack)
        else:
            check_page_count(path, page, frame.ref)
            layers.append(_open_layer(path, page, members, frame, stack))
    return layers


def check_page_count(path: Path, page: int | None, ref: ScanRef) -> None:
    """Refuse a mask stack that is longer or shorter than its scan: most often it is shifted, or another scan's.

    Args:
        path: The mask file.
        page: Which page of it; None for a file of its own.
        ref: The scan; one that is a file of its own has no other pages to count.

    Raises:
        BadFileError: when the numbers of pages differ, or a file cannot be read. It is the same for all pages.
    """
    if page is None or ref.page is None:
        return
    found, wanted = counted_once(path), counted_once(ref.path)
    if found != wanted:
        raise BadFileError(
            f"scan {ref.stack}: mask {path} holds {counted(found, 'page')}, the scan {wanted}, so none of them is "
            "used; make them equal, or give each page that has a mask a file of its own, named as the page: "
            f"{ref.stack}.p0000"
        )


def open_objects(source: ClassSource, frame: MaskFrame) -> Layer:
    """The union of a scan's objects, which may overlap, as one layer.

    Raises:
        BadFileError: when a file is missing or cannot be used.
    """
    union = np.zeros(frame.shape, frame.dtype)
    soft: tuple[str, ...] = ()
    for path in find_objects(source, frame.ref.id):
        with ExitStack() as stack:
            layer = _open_layer(path, None, [source], frame, stack)
            union |= layer.fields(0, frame.shape[0])
            soft = soft or layer.soft
    return _Held(union, soft)


@dataclass(frozen=True, eq=False)
class _Held:
    """A layer in memory."""

    union: Fields
    soft: tuple[str, ...]

    def fields(self, start: int, stop: int) -> Fields:
        return self.union[start:stop]


@dataclass(frozen=True, eq=False)
class _Coded:
    """A layer whose codes are looked up."""

    plane: OpenPlane
    codes: Callable[[NDArray[Any]], NDArray[Any]]
    look_up: Callable[[NDArray[Any]], Fields]
    shape: tuple[int, int]
    soft: tuple[str, ...]

    def fields(self, start: int, stop: int) -> Fields:
        return self.look_up(self.codes(_nearest(self.plane, start, stop, self.shape)))


def _open_pages(
    path: Path, page: int | None, sources: Sequence[ClassSource], frame: MaskFrame, stack: ExitStack
) -> Iterator[Layer]:
    """A layer for each page that a class claims; others must be black."""
    if page is not None:
        raise BadFileError(
            f"scan {frame.ref.id}: encoding 'pages' needs a mask file of its own for each scan, but {path} holds a "
            "whole stack; split it into one file per scan, named by the scan's id"
        )
    owners: dict[int, list[ClassSource]] = {}
    for source in sources:
        for number in claimed_values(source):
            owners.setdefault(number, []).append(source)
    count = plane_count(path)
    if beyond := [number for number in sorted(owners) if number >= count]:
        raise BadFileError(
            f"{path}: class {owners[beyond[0]][0].name!r} is page {beyond[0]}, but the file has {count} pages, counted "
            "from 0; correct the class's values or the file"
        )
    _check_black(path, [number for number in range(count) if number not in owners], frame)
    for number, members in owners.items():
        yield _open_layer(path, number, members, frame, stack)


def _check_black(path: Path, pages: Sequence[int], frame: MaskFrame) -> None:
    counts: dict[str, int] = {}
    for number in pages:
        with _open_mask(path, number, frame) as plane:
            values = _survey(path, plane, "binary")
            if marked := int(values.counts[values.codes != 0].sum()):
                counts[str(number)] = marked
    if counts:
        raise unclaimed(path, "pages", counts)


def _open_layer(
    path: Path, page: int | None, sources: Sequence[ClassSource], frame: MaskFrame, stack: ExitStack
) -> Layer:
    """The layer of classes that read a plane's pixels alike."""
    encoding = sources[0].encoding
    plane = stack.enter_context(_open_mask(path, page, frame))
    values = _survey(path, plane, encoding)
    check_claimed(sources, values)
    bits = np.zeros(len(values.codes), frame.dtype)
    soft = list[str]()
    for source in sources:
        claimed, is_soft = claims(source, values)
        bits[claimed] |= frame.dtype.type(frame.bit(source))
        soft += [source.name] if is_soft else []
    codes = partial(pixel_codes, encoding=encoding, path=path)
    return _Coded(plane, codes, _table(values, bits), frame.shape, tuple(soft))


def _survey(path: Path, plane: OpenPlane, encoding: MaskEncoding) -> Values:
    """The codes of a whole plane."""
    header = plane.header
    step = max(1, _BAND_PIXELS // header.width)
    starts = range(0, header.height, step)
    parts = (plane.rows(start, min(start + step, header.height)) for start in starts)
    return Values(path, *count_values(pixel_codes(part, encoding, path) for part in parts))


def _table(values: Values, bits: Fields) -> Callable[[NDArray[Any]], Fields]:
    """How codes become bits: by a comparison, which most masks need; by a table; or by a search."""
    marked = np.flatnonzero(bits)
    if not marked.size:
        return lambda codes: np.zeros(codes.shape, bits.dtype)
    least, mark = values.codes[marked[0]], bits[marked[0]]
    if (bits[marked[0] :] == mark).all():
        return lambda codes: (codes >= least).view(np.uint8).astype(bits.dtype, copy=False) * mark
    size = int(values.codes[-1]) + 1
    if values.codes.dtype.kind in "iu" and values.codes[0] >= 0 and size <= _COLOURS:
        table = np.zeros(size, bits.dtype)  # touched only where codes occur
        table[values.codes.astype(np.intp)] = bits
        return lambda codes: table.take(codes, mode="clip")
    return lambda codes: bits[np.searchsorted(values.codes, codes)]


# --------------------------------------------------------------------------- reading


@contextmanager
def _open_mask(path: Path, page: int | None, frame: MaskFrame) -> Iterator[OpenPlane]:
    """Open a mask that has the size of its scan, or may be brought to it."""
    limit = max(_LEAST_BYTES, frame.shape[0] * frame.shape[1] * _BYTES_PER_PIXEL)
    with open_plane(path, page, max_bytes=limit) as plane:
        check_size(path, plane.header, frame.ref, frame.shape, resize=frame.resize)
        yield plane


def check_size(path: Path, header: ScanHeader, ref: ScanRef, shape: tuple[int, int], *, resize: bool) -> None:
    """Refuse a mask of another size than its scan; where masks are resized, only one of other proportions.

    Args:
        path: The mask file.
        header: What it says of itself.
        ref: The scan.
        shape: Its ``(H, W)``.
        resize: Whether a mask of another size is brought to the scan's.

    Raises:
        BadFileError: when it cannot be the scan's.
    """
    found, (height, width) = (header.height, header.width), shape
    if found == shape:
        return
    sizes = f"scan {ref.id}: mask {path} has {found[0]}x{found[1]} pixels, the scan {height}x{width}"
    if not resize:
        raise BadFileError(
            f"{sizes}; make them equal, or set ingest.resize_masks=true where masks were drawn on smaller copies"
        )
    if abs(found[0] * width / (found[1] * height) - 1) > _SAME_SHAPE + 1 / min(found):
        raise BadFileError(f"{sizes}: it has other proportions, so it is no smaller or larger copy; make them equal")


def _nearest(plane: OpenPlane, start: int, stop: int, shape: tuple[int, int]) -> NDArray[Any]:
    """The mask's pixels nearest to some rows of a scan, ``(stop - start, W, C)``."""
    header = plane.header
    if (header.height, header.width) == shape:
        return plane.rows(start, stop)
    rows = _centres(start, stop, header.height, shape[0])
    columns = _centres(0, shape[1], header.width, shape[1])
    part = plane.rows(int(rows[0]), int(rows[-1]) + 1)
    return np.asarray(part[rows - rows[0]][:, columns])


def _centres(start: int, stop: int, have: int, wanted: int) -> NDArray[np.intp]:
    """Which of ``have`` pixels lies under the centre of each of ``wanted``; in whole numbers, so that ties are even."""
    return ((2 * np.arange(start, stop) + 1) * have // (2 * wanted)).astype(np.intp)
