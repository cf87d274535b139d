"""The gallery of a prediction: overlays on one page, those to look at first on top."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetseg.bundle import Bundle
from unetseg.channels import to_channels
from unetseg.errors import BadFileError
from unetseg.normalise import fit_scales, normalise
from unetseg.ome import COLOURS
from unetseg.outputs import Format, ObjectRow
from unetseg.pages import render
from unetseg.pictures import data_uri, overlay, to_rgb
from unetseg.readers import BadFile, ScanRef, read_scan
from unetseg.storage import write_bytes

__all__ = ["write_gallery"]

logger = logging.getLogger(__name__)

_SHOWN = 24  # scans with a picture: a page of a few megabytes; the table has all
_SIDE = 320  # pixels of a picture
_NO_LIMIT = float("inf")  # the scan was read a moment ago, within the limit of the settings


@dataclass(frozen=True)
class _Shown:
    scan: str
    uncertainty: float
    classes: tuple[ObjectRow, ...]


def write_gallery(
    path: Path, bundle: Bundle, rows: Sequence[ObjectRow], refs: Sequence[ScanRef], form: Format,
    quarantined: Sequence[BadFile],
) -> None:  # fmt: skip
    """Write the page.

    Args:
        path: of the page, in the folder of the outputs.
        bundle: the model.
        rows: of the table.
        refs: the scans, to draw under the masks.
        form: to read the masks back.
        quarantined: files to list.
    """
    ranked = _ranked(rows)
    known = {ref.id: ref for ref in refs}
    shown = [card for item in ranked[:_SHOWN] if (card := _card(item, known[item.scan], path.parent, bundle, form))]
    html = render(
        "gallery.html",
        bundle=bundle,
        colours={name: COLOURS[k % len(COLOURS)] for k, name in enumerate(bundle.info.classes)},
        cards=shown,
        scans=len(ranked),
        totals=_totals(rows, bundle.info.classes),
        quarantined=quarantined,
    )
    write_bytes(path, html.encode())


def _ranked(rows: Sequence[ObjectRow]) -> list[_Shown]:
    per_scan: dict[str, list[ObjectRow]] = defaultdict(list)
    for row in rows:
        per_scan[row.scan].append(row)
    found = [
        _Shown(scan, float(np.mean([row.uncertainty for row in items])), tuple(items))
        for scan, items in per_scan.items()
    ]
    return sorted(found, key=lambda item: (-item.uncertainty, item.scan))


def _card(item: _Shown, ref: ScanRef, out: Path, bundle: Bundle, form: Format) -> dict[str, Any] | None:
    """What one picture needs; None where scan or masks went away in the meantime: a page must not fail a run."""
    try:
        return _drawn(item, ref, out, bundle, form)
    except (BadFileError, OSError) as error:
        logger.warning("no picture of %s: %s", item.scan, error)
        return None


def _drawn(item: _Shown, ref: ScanRef, out: Path, bundle: Bundle, form: Format) -> dict[str, Any]:
    info = bundle.info
    pixels = to_channels(read_scan(ref, max_gigabytes=_NO_LIMIT).pixels, len(info.channels), ref.path)
    step = max(1, max(pixels.shape[:2]) // (2 * _SIDE))  # thin before normalising: a large scan becomes a thumbnail
    pixels = pixels[::step, ::step]
    rgb = to_rgb(normalise(pixels, fit_scales(pixels, info.settings.ingest)))
    masks = np.moveaxis(form.read(out / f"{item.scan}{form.suffix}")[:, ::step, ::step], 0, -1)
    return {
        "scan": item.scan,
        "uncertainty": item.uncertainty,
        "rows": item.classes,
        "plain": data_uri(rgb, _SIDE),
        "masks": data_uri(overlay(rgb, masks > 0), _SIDE),
    }


def _totals(rows: Sequence[ObjectRow], classes: Sequence[str]) -> list[dict[str, Any]]:
    totals = []
    for name in classes:
        own = [row for row in rows if row.class_name == name]
        totals.append(
            {
                "name": name,
                "scans": sum(row.pixels > 0 for row in own),
                "objects": sum(row.objects for row in own),
                "fraction": float(np.mean([row.fraction for row in own])) if own else 0.0,
            }
        )
    return totals
