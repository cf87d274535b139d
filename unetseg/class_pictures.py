"""Which pictures show the classes of a dataset: some cut-outs of each class, from every split that holds it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from unetseg.cutouts import Window, draw_cutout, find_cutout, sides
from unetseg.dataset import Dataset
from unetseg.scan_record import ScanRecord
from unetseg.splits import SPLITS

__all__ = ["ClassPicture", "class_pictures"]

logger = logging.getLogger(__name__)

_SEED = 0  # the same dataset gives the same pictures
_PICTURES = 4  # of a class
_ALL_PICTURES = 36  # of all classes: with more, a page would be slow to write and too large to send
_CANDIDATES = 8  # scans in which a class is looked for, where it is so rare that windows may miss it
_SIDE = 512  # pixels


@dataclass(frozen=True)
class ClassPicture:
    """One cut-out: its scan, where in it, and the picture as a ``data:`` address."""

    scan: ScanRecord
    window: Window
    source: str

    @property
    def caption(self) -> str:
        """Which part of the scan it is; empty where it is the whole scan."""
        rows, columns = self.window
        if sides(self.window) == self.scan.shape:
            return ""
        height, width = self.scan.shape
        return f"rows {rows.start}–{rows.stop} of {height:,}, columns {columns.start}–{columns.stop} of {width:,}"


def class_pictures(dataset: Dataset, scans: Sequence[ScanRecord]) -> dict[str, list[ClassPicture]]:
    """Draw some cut-outs of each class.

    Args:
        dataset: that holds the scans.
        scans: to choose from.

    Returns:
        Pictures by class; none for a class that no scan holds, or of which none was found.
    """
    classes = dataset.index.classes
    number = max(1, min(_PICTURES, _ALL_PICTURES // max(len(classes), 1)))
    found = {}
    for k, name in enumerate(classes):
        random = np.random.default_rng((_SEED, k))
        candidates = _in_turn([scan for scan in scans if scan.class_pixels[name]], random)
        pictures = (_picture_of_class(dataset, scan, k, random) for scan in candidates[:_CANDIDATES])
        # islice: what is not shown is not read.
        found[name] = list(islice((picture for picture in pictures if picture), number))
    return found


def _in_turn(scans: Sequence[ScanRecord], random: np.random.Generator) -> list[ScanRecord]:
    """Scans in random order: one of each split, then a second one of each, and so on."""
    shuffled = [scans[place] for place in random.permutation(len(scans))]
    rounds: Counter[str] = Counter()
    order = []
    for scan in shuffled:
        order.append((rounds[scan.split], SPLITS.index(scan.split), scan.id))
        rounds[scan.split] += 1
    by_id = {scan.id: scan for scan in shuffled}
    return [by_id[name] for _, _, name in sorted(order)]


def _picture_of_class(dataset: Dataset, scan: ScanRecord, k: int, random: np.random.Generator) -> ClassPicture | None:
    """A cut-out around a class; None where none was found, or the scan cannot be read: the page has others."""
    try:
        window = find_cutout(dataset, scan, k, random)
        return ClassPicture(scan, window, draw_cutout(dataset, scan, window, side=_SIDE, only=k)) if window else None
    except (OSError, ValueError) as error:
        logger.warning("no picture of %s: %s", scan.id, error)
        return None
