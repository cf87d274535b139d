"""From a folder of scans to a folder of masks: `unetseg predict` against a loop around MONAI's sliding window."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
import tifffile

from benchmarks.peers.comparison import Comparison, race
from benchmarks.peers.large_scan import slide
from benchmarks.peers.same_network import SameNetwork
from benchmarks.scan_loop import loop, write_scans
from unetseg.config import PredictConfig
from unetseg.predict import predict

__all__ = ["compare"]

_SIDE: Final = 1024
_SUBJECTS: Final = 2  # of which there are four scans each
_WINDOWS: Final = 512, 1024  # pixels: a usual one, and the whole scan
_ROUNDS: Final = 3


def compare(same: SameNetwork, folder: Path) -> Comparison:
    """Both read TIFF and write one TIFF with a page per class for each scan."""
    scans = write_scans(folder / "scans", _SIDE, subjects=_SUBJECTS)
    config = PredictConfig(format="tiff", precision="float32")
    outs = map(folder.joinpath, map("out{}".format, count()))

    def ours() -> Path:
        predict(scans[0].parent, out := next(outs), bundle=same.bundle, config=config)
        return out

    sides = {"unetseg predict": ours}
    for window in _WINDOWS:
        run = partial(slide, same, window=window)
        sides[f"loop: imread, MONAI, windows of {window}, imwrite"] = partial(loop, scans, next(outs), same.info, run)
    expected = loop(scans, next(outs), same.info, same.by_torch)
    return Comparison(
        title="From folder to folder",
        equal=f"weights, float32, {len(scans)} scans of {_SIDE} x {_SIDE} as TIFF, normalisation, a threshold of one "
        "half, TIFF with deflate as output, networks opened before, one turn before those that count.",
        unequal="what runs the network: OpenVINO, PyTorch. unetseg reads and writes other scans while the network "
        "runs; it also measures objects and writes tables, a gallery and a record of each scan, with which a killed "
        "run goes on. The loop leaves masks only.",
        difference="share of pixels that differ from scans in one piece",
        rounds=_ROUNDS,
        rows=race(sides, partial(_changed, expected), rounds=_ROUNDS, warm_up=True),
    )


def _changed(expected: Path, found: Path) -> float:
    """Of all pixels of all classes."""
    changed = [_masks(path) != _masks(next(found.glob(f"{path.stem}.*"))) for path in sorted(expected.glob("*.tif"))]
    return float(np.mean(changed))


def _masks(path: Path) -> np.ndarray:
    """The masks of a scan, ``(K, H, W)``, without smaller copies."""
    return tifffile.imread(path) > 0
