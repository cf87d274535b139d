"""What is marked in outputs takes so much of the disk: measured on the pieces that a trial segmented, level by level.

What is not sampled, since it follows from the shape of a scan, is its `unetseg.output_layout.Layout`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.disk_usage import Disk
from unetseg.output_kinds import Kind
from unetseg.output_layout import Layout, Part
from unetseg.outputs import FORMATS
from unetseg.predict_pieces import Piece
from unetseg.pyramid import halve

__all__ = ["Content", "measure_content"]

Floats = NDArray[np.float64]

_WINDOW: Final = 1024  # pixels: images up to this side have no smaller levels
_LEVELS: Final = 3  # that are written; of cut-outs smaller ones would be a few pixels
_SECONDS: Final = 2.0  # no further piece is written later
_LEAST: Final = 4  # pieces: as many as are drawn to know what pictures take
_ALONE: Final = 1.5  # pieces in a file: below, it is as one of them


@dataclass(frozen=True)
class Content:
    """What is marked in pieces.

    Attributes:
        taken: bytes of each piece at each level, ``(levels, pieces)``.
        pixels: of each piece at each level, in one class.
    """

    taken: Floats
    pixels: Floats

    @property
    def pieces(self) -> int:
        """How many there are."""
        return int(self.taken.shape[1])

    def without(self, group: int, groups: int) -> Content:
        """All but one of so many equal groups of pieces."""
        kept = np.arange(self.pieces) % groups != group
        return Content(self.taken[:, kept], self.pixels[:, kept])

    def bytes_of(self, layout: Layout, disk: Disk) -> float:
        """Of the disk, that an output is expected to take."""
        return layout.always(disk) + sum(self._of_part(part, disk) for part in layout.parts)

    def _of_part(self, part: Part, disk: Disk) -> float:
        first = min(part.pixels)
        pieces = part.pixels[first] / self._at(first)[1].mean()
        there, each = self._as_one(part, disk) if pieces < _ALONE else self._as_many(part, pieces, disk)
        folders = sum(number * (1 - (1 - there) ** files) for number, files in part.folders)
        return part.count * each + folders * disk.folder

    def _as_one(self, part: Part, disk: Disk) -> tuple[float, float]:
        """How likely a file is there, and bytes that it takes: as each piece would in its place.

        Those count most that are about as large.
        """
        sizes, shares = np.zeros(self.taken.shape[1]), np.zeros(self.taken.shape[1])
        for level, inside in part.pixels.items():
            taken, pixels = self._at(level)
            sizes += taken * inside / pixels
            shares = np.maximum(shares, np.minimum(pixels / inside, inside / pixels))
        there = (sizes > 0) | (not part.sparse)
        whole = np.ceil((part.fixed + sizes) / disk.block) * disk.block * there
        return float(np.average(there, weights=shares)), float(np.average(whole, weights=shares))

    def _as_many(self, part: Part, pieces: float, disk: Disk) -> tuple[float, float]:
        """The same of a file that holds as much as many pieces: it is left out where each of them is empty."""
        marked = sum(inside * taken.sum() / pixels.sum() for inside, (taken, pixels) in self._by_level(part))
        empty = float(np.mean(self.taken[0] == 0)) ** pieces if part.sparse else 0.0
        return 1 - empty, (1 - empty) * (part.fixed + disk.block / 2) + marked  # half of its last block is free

    def _by_level(self, part: Part) -> Iterator[tuple[float, tuple[Floats, Floats]]]:
        for level, inside in part.pixels.items():
            yield inside, self._at(level)

    def _at(self, level: int) -> tuple[Floats, Floats]:
        """Bytes and pixels at a level; one that was not written has fewer bytes by as much as the last one that was."""
        last = min(level, len(self.taken) - 1)
        above = level - last
        before, now = self.taken[max(last - 1, 0)].sum(), self.taken[last].sum()
        ratio = min(now / before, 1.0) if before else 0.0
        return self.taken[last] * ratio**above, self.pixels[last] / 4**above


def measure_content(folder: Path, pieces: Sequence[Piece], form: str, levels: int) -> Mapping[Kind, Content]:
    """Write what was found on pieces, level by level, until the time is up.

    Args:
        folder: for what is written.
        pieces: that are segmented, at least one.
        form: name of the format of the outputs.
        levels: that the largest of them will have.
    """
    until = time.monotonic() + _SECONDS
    found: dict[Kind, list[tuple[Floats, Floats]]] = {kind: [] for kind in pieces[0].outputs}
    for number, piece in enumerate(pieces):
        if number >= _LEAST and time.monotonic() > until:
            break
        for kind, name in piece.outputs.items():
            planes = FORMATS[piece.job.config.format].planes(piece.job.out / name, kind=kind)
            measured = _measured(folder, np.asarray(planes[:, :]), piece, kind, form, min(levels, _LEVELS))
            found[kind].append(measured)
    return {
        kind: Content(*(np.stack(column, axis=1) for column in zip(*of, strict=True))) for kind, of in found.items()
    }


def _measured(
    folder: Path, planes: NDArray[Any], piece: Piece, kind: Kind, form: str, levels: int
) -> tuple[Floats, Floats]:
    """Bytes and pixels at each level."""
    taken, pixels = np.zeros(levels), np.zeros(levels)
    for level in range(levels):
        for window in _windows(planes):
            taken[level] += _marked_bytes(folder, window, piece, kind, form)
        pixels[level] = planes[0].size
        planes = halve(planes)
    return taken, pixels


def _windows(planes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for top in range(0, planes.shape[1], _WINDOW):
        for left in range(0, planes.shape[2], _WINDOW):
            yield planes[:, top : top + _WINDOW, left : left + _WINDOW]


def _marked_bytes(folder: Path, planes: NDArray[Any], piece: Piece, kind: Kind, form: str) -> int:
    """Of an output, besides what it takes where nothing is marked."""
    if not planes.any():
        return 0
    names = piece.job.info.classes
    path = folder / f"content{FORMATS[form].suffix}"
    FORMATS[form].write(path, planes, names, None, kind=kind)
    classes, height, width = planes.shape
    layout = FORMATS[form].layout("content", (classes, height, width), names, None, kind=kind)
    return max(Disk().taken(path) - layout.fixed, 0)
