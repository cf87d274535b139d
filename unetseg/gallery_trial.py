"""What the page of overlays takes: some of its pictures are drawn.

Of scans that were not segmented as a whole, what was found on pieces is drawn, side by side; and where all take long to
read, the pieces themselves.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle, load_bundle
from unetseg.gallery import PICTURES, Tell, write_gallery
from unetseg.outputs import FORMATS
from unetseg.parallel import run_units
from unetseg.predict_job import Job
from unetseg.predict_marker import Segmented
from unetseg.predict_pieces import Piece, Work, spread
from unetseg.predict_scan import mask_kind
from unetseg.pyramid import halve, level_count, pick_level, thinned
from unetseg.readers import ScanRef
from unetseg.scan_ranks import rank_scans

__all__ = ["PageRates", "measure_page", "page_bytes"]

_SECONDS: Final = 3.0  # no further picture is begun later
_LEAST: Final = 4  # pictures of scans that come first, so that no single one counts

Found = Sequence[tuple[Piece, Segmented]]


@dataclass(frozen=True)
class PageRates:
    """What the page takes.

    Attributes:
        bare: bytes without pictures.
        picture: bytes that one picture adds, on average.
        scans: that may have one; a stack is one.
    """

    bare: float
    picture: float
    scans: int


def page_bytes(kinds: Sequence[PageRates]) -> float:
    """Bytes of the one page of a prediction, whose scans are of some kinds; each has its share of the pictures.

    Args:
        kinds: what was measured of each kind, such as scans and stacks; none: there is no page.
    """
    total = sum(kind.scans for kind in kinds)
    shown = min(total, PICTURES)
    pictures = sum(shown * kind.scans / total * kind.picture for kind in kinds)
    return max((kind.bare for kind in kinds), default=0.0) + pictures


def measure_page(
    folder: Path, job: Job, works: Sequence[Work], found: Found, *, read_seconds: float, tell: Tell
) -> PageRates:
    """Draw some pictures.

    Args:
        folder: for what is written.
        job: of the prediction.
        works: what is to be done.
        found: pieces that were segmented, and what was found on them, at least one.
        read_seconds: per pixel of a scan that is cut.
        tell: told of each scan that cannot be read, and why.
    """
    model, masks = load_bundle(job.bundle), _PieceMasks(works, [piece for piece, _ in found])
    bare = _page_bytes(folder / "bare.html", model, [], masks, (), tell)
    quick = [work for work in works if work.shape[0] * work.shape[1] * read_seconds <= _SECONDS]
    chosen = _chosen(quick, found, model) if quick else [(piece.ref, one) for piece, one in found]
    until = time.monotonic() + _SECONDS
    due = (item for item in enumerate(chosen) if item[0] == 0 or time.monotonic() < until)
    drawn = run_units(partial(_drawn_bytes, folder, model, masks, tell), due)
    sizes = [size - bare for _, size in drawn if isinstance(size, int)]
    picture = float(np.mean(sizes)) if sizes else 0.0
    return PageRates(bare, picture, len({work.ref.stack for work in works}))


def _chosen(works: Sequence[Work], found: Found, model: Bundle) -> list[tuple[ScanRef, Segmented]]:
    """Scans or pages for pictures, with what may be found on them."""
    whole = {piece.ref: one for piece, one in found if not piece.cut}
    pages = {work.ref.stack: work.ref for work in works} | {ref.stack: ref for ref in whole}
    own = {ref: one for ref, one in whole.items() if pages[ref.stack] == ref}
    if len(pages) > PICTURES and own:
        return _first(own, PICTURES / len(pages), model)
    refs = list(pages.values())
    others = [refs[number] for number, _ in spread(len(refs), 4 * PICTURES)]
    chosen = list(dict.fromkeys([*own, *others, *refs[:PICTURES]]))[:PICTURES]
    return [(ref, own.get(ref, found[k % len(found)][1])) for k, ref in enumerate(chosen)]


def _first(found: Mapping[ScanRef, Segmented], share: float, model: Bundle) -> list[tuple[ScanRef, Segmented]]:
    """That share of scans that come first, as those on the page do; a few at least."""
    refs = {ref.id: ref for ref in found}
    ranked = rank_scans(found.values(), model.info.training_data)
    return [(refs[row.scan], found[refs[row.scan]]) for row in ranked[: max(_LEAST, round(share * len(ranked)))]]


def _drawn_bytes(
    folder: Path, model: Bundle, masks: _PieceMasks, tell: Tell, item: tuple[int, tuple[ScanRef, Segmented]]
) -> int:
    """Bytes of the page with one picture alone."""
    number, (ref, one) = item
    return _page_bytes(folder / f"picture{number}.html", model, [ref], masks, (one,), tell)


def _page_bytes(
    path: Path, model: Bundle, refs: Sequence[ScanRef], masks: _PieceMasks, found: Sequence[Segmented], tell: Tell
) -> int:
    named = [one.named(ref.id) for ref, one in zip(refs, found, strict=True)]
    ranked = rank_scans(named, model.info.training_data)
    write_gallery(path, model, [row for one in named for row in one.rows], ranked, refs, masks, (), tell=tell)
    return path.stat().st_size


class _PieceMasks:
    """Masks of scans that are made of those of pieces.

    Args:
        works: the scans.
        pieces: that were segmented.
    """

    def __init__(self, works: Sequence[Work], pieces: Sequence[Piece]) -> None:
        self._shapes = {work.ref: work.shape for work in works}
        self._pieces = pieces
        self._own = {piece.ref: piece for piece in pieces}

    def read(self, ref: ScanRef, step: int) -> NDArray[Any]:
        """Every so many pixels, ``(h, w, K)``."""
        pieces = [self._own[ref]] if ref in self._own else self._pieces
        shape = self._shapes[ref] if ref in self._shapes else _planes(pieces[0]).shape[1:]
        level = pick_level(step, level_count(*shape))
        found = [_thinned(piece, step, level) for piece in pieces]
        height, width = (len(range(0, side, step)) for side in shape)
        return np.moveaxis(_side_by_side(found, height, width), 0, -1)


def _thinned(piece: Piece, step: int, level: int) -> NDArray[Any]:
    """The masks of a piece as they are read of a scan that has that level, ``(K, h, w)``."""
    planes = _planes(piece)
    size = planes.shape[1:]
    for _ in range(level):
        planes = halve(planes)
    return thinned(planes, size, step=step, level=level)


def _planes(piece: Piece) -> NDArray[Any]:
    """The masks of a piece, ``(K, H, W)``."""
    config = piece.job.config
    kind = mask_kind(config)
    return np.asarray(FORMATS[config.format].planes(piece.job.out / piece.outputs[kind], kind=kind)[:, :])


def _side_by_side(found: Sequence[NDArray[Any]], height: int, width: int) -> NDArray[Any]:
    """Pictures ``(K, h, w)`` beside and below each other, from the first one again after the last, cut to a size."""
    high, wide = (min(one.shape[axis] for one in found) for axis in (1, 2))
    rows, columns = -(-height // high), -(-width // wide)
    parts = [
        [found[(row * columns + column) % len(found)][:, :high, :wide] for column in range(columns)]
        for row in range(rows)
    ]
    return np.block(parts)[:, :height, :width]
