"""The loop that people write around a network: read a scan, run it, write its masks. And scans for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetseg.bundle import BundleInfo
from unetseg.normalise import fit_scales, normalise
from unetseg.synth import write_eyes

__all__ = ["loop", "normalised", "write_scans"]

_CUT = 0.5  # of the probability, as a bundle has it before it is evaluated


def write_scans(folder: Path, side: int, *, subjects: int = 4) -> list[Path]:
    """Square eyes, four of each subject, as 8-bit TIFFs."""
    write_eyes(folder, subjects=subjects, size=(side, side))
    return sorted((folder / "scans").glob("*.tif"))


def normalised(path: Path, info: BundleInfo) -> NDArray[np.floating]:
    """A grey scan as the network takes it, ``(H, W, 1)``."""
    pixels = tifffile.imread(path)[..., None]
    return normalise(pixels, fit_scales(pixels, info.settings.ingest))


def loop(
    scans: Sequence[Path], out: Path, info: BundleInfo, run: Callable[[NDArray[np.floating]], NDArray[np.floating]]
) -> Path:
    """One scan after the other.

    Args:
        scans: grey TIFFs.
        out: where the masks go, one TIFF per scan with a page per class.
        info: of the bundle: how intensities are normalised.
        run: the network, from ``(H, W, 1)`` to probabilities ``(H, W, K)``.
    """
    out.mkdir(exist_ok=True)
    for path in scans:
        masks = np.moveaxis(run(normalised(path, info)), -1, 0) >= _CUT
        tifffile.imwrite(out / path.name, masks.astype(np.uint8), compression="zlib")
    return out
