"""One scan that is cut: exact tiles, MONAI's sliding window, CSBDeep's tiles; and how far each is from one piece."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from csbdeep.internals.predict import predict_tiled, tile_overlap
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray

from benchmarks.peers.comparison import Comparison, largest_difference, race
from benchmarks.peers.same_network import SameNetwork
from benchmarks.peers.torch_unet import channels_first, channels_last
from benchmarks.scan_loop import normalised, write_scans
from unetseg.inference import predict_band
from unetseg.parallel import run_units
from unetseg.predict_scan import wanted_bands
from unetseg.share import machine_cores
from unetseg.tile_size import tile_side
from unetseg.tiling import Span

__all__ = ["compare", "slide"]

_PIECE: Final = 1024  # pixels
_SIDE: Final = 3072  # pixels: three by three of those
_WINDOWS: Final = 512, 1024  # pixels: a usual one, and one about as large as unetseg's tiles
_OVERLAP: Final = 0.25  # MONAI's default
_ROUNDS: Final = 3


def compare(same: SameNetwork, folder: Path) -> Comparison:
    """The same scan and weights; every side leaves the probabilities of all of it."""
    image, tile, pieces = _scan(same, folder), tile_side(same.info), _pieces(same)
    sides = {f"unetseg, exact tiles of at most {tile}": partial(ours, same, image)}
    for window, mode in ((_WINDOWS[0], "constant"), *((_WINDOWS[1], mode) for mode in ("constant", "gaussian"))):
        sides[f"MONAI, windows of {window}, {mode}, PyTorch"] = partial(slide, same, image, window, mode)
    sides[f"CSBDeep, {pieces} x {pieces} tiles, model.predict"] = partial(csbdeep, same, image, pieces)
    return Comparison(
        title="One large scan",
        equal=f"weights, float32, a scan of {_SIDE} x {_SIDE} in memory, all {machine_cores()} cores, the "
        "probabilities of the whole scan as one array. Reading, normalising and writing are in nobody's time.",
        unequal="what runs the network: OpenVINO, PyTorch, Keras. MONAI's windows overlap by "
        f"{_OVERLAP:.0%}, its default, one per call. CSBDeep cuts tiles no larger than unetseg's, with the overlap of "
        f"its own table for such a network, {_halo(same)} pixels. unetseg works on a tile per core, the others on one "
        "with all cores.",
        difference="largest difference to the scan in one piece",
        rounds=_ROUNDS,
        rows=race(sides, largest_difference(same.by_torch(image)), rounds=_ROUNDS, warm_up=False),
    )


def ours(same: SameNetwork, image: NDArray[np.floating]) -> NDArray[np.float32]:
    """Bands of rows as units of work and tiles within them, as `unetseg predict` cuts a large scan."""
    height, width = image.shape[:2]
    whole, tile = np.empty((height, width, len(same.info.classes)), np.float32), tile_side(same.info)

    def segment(rows: Span) -> None:
        band = image[rows.outer[0] : min(rows.outer[1], height)]
        for window, found in predict_band(same.engine, same.info, band, rows=rows, tile=tile):
            whole[slice(*rows.inner)][window] = found

    for _, outcome in run_units(segment, wanted_bands(same.info, tile, height)):
        if isinstance(outcome, Exception):
            raise outcome
    return whole


def slide(same: SameNetwork, image: NDArray[np.floating], window: int, mode: str = "constant") -> NDArray[np.float32]:
    """MONAI's sliding window over ``(H, W, C)``; all that is not said here is its default."""
    with torch.inference_mode():
        found = sliding_window_inference(
            channels_first(image[None]), window, sw_batch_size=1, predictor=same.torch, overlap=_OVERLAP, mode=mode
        )
    return channels_last(found)[0]


def csbdeep(same: SameNetwork, image: NDArray[np.floating], pieces: int) -> NDArray[np.float32]:
    """CSBDeep's tiles, as its models and, in the same way, StarDist's cut large images."""
    blocks = (same.info.stride, same.info.stride, 1)
    overlaps = (_halo(same), _halo(same), 0)
    return predict_tiled(same.keras, image, (pieces, pieces, 1), blocks, overlaps, "YXC", verbose=0)


def _scan(same: SameNetwork, folder: Path) -> NDArray[np.floating]:
    """Eyes side by side."""
    pieces = [normalised(path, same.info) for path in write_scans(folder / "pieces", _PIECE, subjects=1)]
    copies = _SIDE // _PIECE
    rows = [np.concatenate([pieces[(y + x) % len(pieces)] for x in range(copies)], axis=1) for y in range(copies)]
    return np.concatenate(rows)


def _halo(same: SameNetwork) -> int:
    return tile_overlap(same.info.settings.model.depth, kern_size=3)


def _pieces(same: SameNetwork) -> int:
    """Tiles along each side of which none is larger than unetseg's."""
    return -(-_SIDE // (tile_side(same.info) - 2 * same.info.halo))
