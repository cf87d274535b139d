"""The gallery of a prediction: overlays on one page, those to look at first on top."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle
from unetseg.channels import to_channels
from unetseg.class_totals import class_totals
from unetseg.errors import BadFileError
from unetseg.normalise import fit_scales, normalise
from unetseg.object_table import ObjectRow
from unetseg.ome import COLOURS
from unetseg.outputs import Format, Kind
from unetseg.pages import render
from unetseg.parallel import run_units
from unetseg.pictures import data_uri, overlay, to_rgb
from unetseg.readers import BadFile, ScanRef
from unetseg.scan_ranks import ScanRow, to_annotate
from unetseg.scan_rows import open_in_bands
from unetseg.storage import write_bytes

__all__ = ["PICTURES", "Masks", "StoredMasks", "Tell", "write_gallery"]

logger = logging.getLogger(__name__)

PICTURES = 24  # scans with a picture: a page of a few megabytes; the table has all
_PROPOSED = 10  # scans to annotate that are named
_SIDE = 320  # pixels of a picture
_BAND = 1 << 24  # pixels read at once
_NO_LIMIT = float("inf")  # the scan was read a moment ago, within the limit of the settings


@dataclass(frozen=True)
class _Shown:
    ranked: ScanRow
    classes: tuple[ObjectRow, ...]


class Masks(Protocol):
    """What is drawn over scans."""

    def read(self, ref: ScanRef, step: int) -> NDArray[Any]:
        """Every so many pixels, ``(h, w, K)``."""
        ...


@dataclass(frozen=True)
class StoredMasks:
    """Where masks are, and how they are read back.

    Attributes:
        folder: of the outputs.
        form: of their files.
        kind: what their values mean.
    """

    folder: Path
    form: Format
    kind: Kind

    def read(self, ref: ScanRef, step: int) -> NDArray[Any]:
        """Every so many pixels, ``(h, w, K)``; of a page that differed in size from others, from its own output."""
        own, stack = (self.folder / f"{name}{self.form.suffix}" for name in (ref.id, ref.stack))
        alone = ref.page is None or own.exists()
        path, page = (own, 0) if alone else (stack, ref.page or 0)
        masks = self.form.read(path, kind=self.kind, step=step, page=page)
        return np.moveaxis(masks, 0, -1)


Tell = Callable[[ScanRef, Exception], None]


def _warn(ref: ScanRef, error: Exception) -> None:
    logger.warning("no picture of %s: %s", ref.id, error)


def write_gallery(  # noqa: PLR0913 (one option by keyword)
    path: Path,
    bundle: Bundle,
    rows: Sequence[ObjectRow],
    ranked: Sequence[ScanRow],
    refs: Sequence[ScanRef],
    masks: Masks,
    quarantined: Sequence[BadFile],
    *,
    tell: Tell = _warn,
) -> None:
    """Write the page.

    Args:
        path: of the page, in the folder of the outputs.
        bundle: the model.
        rows: of the table.
        ranked: the scans, those to look at first on top.
        refs: the scans, to draw under the masks.
        masks: to draw.
        quarantined: files to list.
        tell: told of each scan that cannot be drawn, and why; a page must not fail a run.
    """
    html = render(
        "gallery.html",
        bundle=bundle,
        colours={name: COLOURS[k % len(COLOURS)] for k, name in enumerate(bundle.info.classes)},
        cards=_cards(_with_classes(_first_pages(ranked, refs)[:PICTURES], rows), refs, bundle, masks, tell),
        scans=len(ranked),
        reasons=sum(bool(item.reasons) for item in ranked),
        proposed=to_annotate(ranked)[:_PROPOSED],
        totals=class_totals(rows, bundle.info.classes),
        quarantined=quarantined,
    )
    write_bytes(path, html.encode())


def _first_pages(ranked: Sequence[ScanRow], refs: Sequence[ScanRef]) -> list[ScanRow]:
    """Of each stack only the page that comes first."""
    stacks, first = {ref.id: ref.stack for ref in refs}, dict[str, ScanRow]()
    for item in ranked:
        first.setdefault(stacks[item.scan], item)
    return list(first.values())


def _with_classes(ranked: Sequence[ScanRow], rows: Sequence[ObjectRow]) -> list[_Shown]:
    per_scan: dict[str, list[ObjectRow]] = defaultdict(list)
    for row in rows:
        per_scan[row.scan].append(row)
    return [_Shown(item, tuple(per_scan[item.scan])) for item in ranked]


def _cards(
    items: Sequence[_Shown], refs: Sequence[ScanRef], bundle: Bundle, masks: Masks, tell: Tell
) -> list[dict[str, Any]]:
    """What the pictures need, in order; drawn by all processor cores."""
    known = {ref.id: ref for ref in refs}
    drawn: dict[str, dict[str, Any] | None] = {}
    for item, card in run_units(lambda item: _card(item, known[item.ranked.scan], bundle, masks, tell), items):
        if isinstance(card, Exception):
            raise card
        drawn[item.ranked.scan] = card
    return [card for item in items if (card := drawn[item.ranked.scan])]


def _card(item: _Shown, ref: ScanRef, bundle: Bundle, masks: Masks, tell: Tell) -> dict[str, Any] | None:
    """What one picture needs; None where scan or masks went away in the meantime: a page must not fail a run."""
    try:
        return _drawn(item, ref, bundle, masks)
    except (BadFileError, OSError) as error:
        tell(ref, error)
        return None


def _drawn(item: _Shown, ref: ScanRef, bundle: Bundle, masks: Masks) -> dict[str, Any]:
    info = bundle.info
    thin, step = _thinned(ref)
    pixels = to_channels(thin, len(info.channels), ref.path)
    rgb = to_rgb(normalise(pixels, fit_scales(pixels, info.settings.ingest)))
    return {
        "scan": item.ranked.scan,
        "rank": item.ranked.look_first,
        "reasons": item.ranked.reasons.split("; ") if item.ranked.reasons else [],
        "rows": item.classes,
        "plain": data_uri(rgb, _SIDE),
        "masks": data_uri(overlay(rgb, masks.read(ref, step) > 0), _SIDE),
    }


def _thinned(ref: ScanRef) -> tuple[NDArray[Any], int]:
    """Every so many pixels of a scan, ``(h, w, C)``, read in bands; a large scan becomes a thumbnail."""
    with open_in_bands(ref, max_gigabytes=_NO_LIMIT) as plane:
        height, width = plane.header.height, plane.header.width
        step = max(1, max(height, width) // _SIDE)
        band = max(_BAND // (width * step), 1) * step
        starts = range(0, height, band) if plane.streamed else [0]
        band = band if plane.streamed else height
        # Copies: a view of every step-th pixel would keep all rows of a large scan in memory.
        parts = [plane.rows(start, min(start + band, height))[::step, ::step].copy() for start in starts]
    return np.concatenate(parts), step
