"""The network alone: the same tiles in memory through OpenVINO, PyTorch and Keras."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.peers.comparison import Comparison, largest_difference, race
from benchmarks.peers.same_network import SameNetwork
from benchmarks.peers.torch_unet import channels_first, channels_last
from benchmarks.scan_loop import normalised, write_scans
from unetseg.engine_choice import has_bfloat16
from unetseg.engines import Engine, open_engine
from unetseg.parallel import run_units
from unetseg.share import machine_cores

__all__ = ["compare"]

_SIDE: Final = 512
_SUBJECTS: Final = 2  # of which there are four scans each
_BATCH: Final = 4  # tiles at once, for those that spread each call over all cores
_ROUNDS: Final = 5
_NO_BFLOAT16: Final = " bfloat16 is not compared: this processor has none (avx512_bf16) and would emulate it."

Sides = dict[str, Callable[[], NDArray[np.float32]]]


def compare(same: SameNetwork, folder: Path) -> Comparison:
    """Each side in the way that suits it, weights and tiles the same."""
    scans = write_scans(folder / "tiles", _SIDE, subjects=_SUBJECTS)
    tiles = np.stack([normalised(path, same.info) for path in scans])
    half = has_bfloat16()
    sides = _ours(same, tiles, half=half) | _torch(same, tiles, half=half)
    sides["Keras, model.predict, float32"] = partial(_keras, same, tiles)
    return Comparison(
        title="The network alone",
        equal=f"weights, {len(tiles)} tiles of {_SIDE} x {_SIDE} in memory, all {machine_cores()} cores, results as "
        "arrays in memory, one turn before those that count.",
        unequal=f"unetseg runs a tile per call and a call per core, as its prediction does; PyTorch and Keras take "
        f"{_BATCH} tiles per call, PyTorch with {torch.get_num_threads()} threads. OpenVINO joins layers when it "
        "compiles, eager PyTorch does not; torch.compile, which needs a C++ compiler where it runs, is not measured."
        + ("" if half else _NO_BFLOAT16),
        difference="largest difference to model.predict",
        rounds=_ROUNDS,
        rows=race(sides, largest_difference(_keras(same, tiles)), rounds=_ROUNDS, warm_up=True),
    )


def _ours(same: SameNetwork, tiles: NDArray[np.floating], *, half: bool) -> Sides:
    sides: Sides = {"unetseg, OpenVINO, float32": partial(_by_engine, same.engine, tiles)}
    if half:
        engine = open_engine(same.bundle, precision="bfloat16")
        sides["unetseg, OpenVINO, bfloat16"] = partial(_by_engine, engine, tiles)
    return sides


def _torch(same: SameNetwork, tiles: NDArray[np.floating], *, half: bool) -> Sides:
    tensor = channels_first(tiles)
    nhwc = tensor.to(memory_format=torch.channels_last)
    sides: Sides = {
        "PyTorch, eager, float32": partial(_by_torch, same, tensor),
        "PyTorch, eager, float32, channels_last": partial(_by_torch, same, nhwc),
    }
    if half:
        sides["PyTorch, eager, bfloat16 (autocast)"] = partial(_by_torch, same, tensor, half=True)
        sides["PyTorch, eager, bfloat16 (autocast), channels_last"] = partial(_by_torch, same, nhwc, half=True)
    return sides


def _by_engine(engine: Engine, tiles: NDArray[np.floating]) -> NDArray[np.float32]:
    found: dict[int, NDArray[np.float32]] = {}
    for place, outcome in run_units(lambda place: engine({"image": tiles[place, None]})[0], range(len(tiles))):
        if isinstance(outcome, Exception):
            raise outcome
        found[place] = outcome
    return np.stack([found[place] for place in range(len(tiles))])


def _by_torch(same: SameNetwork, tiles: Tensor, *, half: bool = False) -> NDArray[np.float32]:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        return channels_last(torch.cat([same.torch(part) for part in tiles.split(_BATCH)]))


def _keras(same: SameNetwork, tiles: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(same.keras.predict(tiles, batch_size=_BATCH, verbose=0), np.float32)
