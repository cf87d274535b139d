"""What the outputs of large scans take of the disk: their full resolution, and the smaller levels beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from unetseg.disk_usage import Disk
from unetseg.outputs import FORMATS
from unetseg.predict_pieces import Piece
from unetseg.pyramid import halve

__all__ = ["level_bytes"]

_LEVEL: Final = 1024  # pixels: images up to this side have no smaller levels


def level_bytes(folder: Path, pieces: Sequence[Piece], tiny: Piece) -> tuple[float, float]:
    """Bytes per pixel of the full resolution of large scans, and by how much a smaller level has fewer.

    Cut-outs have not as many levels as the scans, so each level is written on its own.

    Args:
        folder: for what is written.
        pieces: that were segmented, cut out of large scans.
        tiny: a segmented piece of hardly any pixels, which tells what an output takes without them.
    """
    nothing = sum(_held(tiny.job.out / name) for name in tiny.outputs.values())
    first, second, pixels = 0.0, 0.0, 0
    for number, piece in enumerate(pieces):
        sizes = [_bytes_at(folder / f"levels{number}", piece, level) - nothing for level in (0, 1)]
        first, second = first + max(sizes[0], 0), second + max(sizes[1], 0)
        pixels += _shown(piece)
    return first / max(pixels, 1), min(second / first, 1.0) if first else 0.0


def _bytes_at(folder: Path, piece: Piece, level: int) -> int:
    """Of the outputs of a piece at one level, without smaller ones."""
    job, total = piece.job, 0
    form = FORMATS[job.config.format]
    for kind, name in piece.outputs.items():
        planes = form.planes(job.out / name, kind=kind)
        shown = np.asarray(planes[:, :_LEVEL])[:, :, :_LEVEL]
        path = folder / str(level) / name
        form.write(path, halve(shown) if level else shown, job.info.classes, None, kind=kind)
        total += _held(path)
    return total


def _shown(piece: Piece) -> int:
    form, (kind, name) = FORMATS[piece.job.config.format], next(iter(piece.outputs.items()))
    height, width = form.planes(piece.job.out / name, kind=kind).shape[1:]
    return min(height, _LEVEL) * min(width, _LEVEL)


def _held(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return Disk().taken(path)
