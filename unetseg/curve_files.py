"""Histograms as small files, so that thresholds can be chosen anew without running the network again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetseg.bit_fields import MOST_CLASSES
from unetseg.errors import BundleError, UsageError
from unetseg.histograms import BINS, Histograms
from unetseg.storage import write_bytes

__all__ = ["load_curves", "pack_curves", "save_curves"]


def save_curves(path: Path, histograms: Histograms, classes: Sequence[str]) -> None:
    """Write histograms as a small ``.npz`` file, so that new thresholds need no inference.

    Readers see the old file or the new.

    Args:
        path: the file; replaced if it exists.
        histograms: of K classes.
        classes: the K names.
    """
    write_bytes(path, pack_curves(histograms, classes))


def pack_curves(histograms: Histograms, classes: Sequence[str]) -> bytes:
    """The content of such a file; the same for the same histograms.

    Only occupied bins are stored: ``slots`` is ``k * 65536 + bin`` of each.

    Args:
        histograms: of K classes.
        classes: the K names.
    """
    if len(classes) != len(histograms.positives):
        raise UsageError(f"classes must be {len(histograms.positives)} names, got {list(classes)}")
    slots = np.flatnonzero(histograms.positives + histograms.negatives)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        bins=np.array(BINS),
        classes=np.array(list(classes), dtype=str),
        slots=slots.astype(np.int64),
        positives=histograms.positives.ravel()[slots],
        negatives=histograms.negatives.ravel()[slots],
    )
    return buffer.getvalue()


def load_curves(path: Path) -> tuple[Histograms, tuple[str, ...]]:
    """Read what `save_curves` wrote: the histograms and the names of their classes.

    Raises:
        FileNotFoundError: if there is no such file.
        BundleError: if the file is damaged, or holds something else. Nothing in it is ever executed (no pickles).
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return _unpack(stored)
    except FileNotFoundError:
        raise
    except Exception as error:  # broken archives make zipfile raise nearly everything
        raise BundleError(f"{path}: not a file of curves, or damaged ({error}); evaluate the model again") from error


def _unpack(stored: Any) -> tuple[Histograms, tuple[str, ...]]:  # noqa: ANN401 (numpy.lib.npyio.NpzFile)
    if int(stored["bins"]) != BINS:
        raise ValueError(f"{stored['bins']} bins instead of {BINS}")
    classes = tuple(str(name) for name in stored["classes"])
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"{len(classes)} classes, more than {MOST_CLASSES}")
    histograms = Histograms.empty(len(classes))
    histograms.positives.reshape(-1)[stored["slots"]] = stored["positives"]
    histograms.negatives.reshape(-1)[stored["slots"]] = stored["negatives"]
    return histograms, classes
