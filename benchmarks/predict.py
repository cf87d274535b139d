"""Bulk prediction from folder to folder against the bare engine, and against the loop that people write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.pipeline import quick_bundle
from benchmarks.scan_loop import loop, normalised, write_scans
from benchmarks.timing import median_ratio, seconds
from unetseg.bundle import BundleInfo, load_bundle
from unetseg.config import PredictConfig
from unetseg.engines import load_network, open_engine
from unetseg.inference import predict_tiles
from unetseg.parallel import run_units
from unetseg.predict import predict

__all__ = ["measure"]

_SIDE = 1024
_COPIES = 5
_BARE, _LOOP, _AGAIN, _EXACT = 0.90, 6.0, 0.02, 1e-5


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Scans of 1024 x 1024 and the default network."""
    scans, bundle = write_scans(folder / "new", _SIDE), quick_bundle(folder)
    more = _copies(scans, folder / "more")
    engine, info = open_engine(bundle), load_bundle(bundle).info
    images = [normalised(path, info) for path in scans]
    config = PredictConfig()

    outs = map(folder.joinpath, map("out{}".format, count()))

    def ours(scans: list[Path] = scans) -> object:
        return predict(scans[0].parent, next(outs), bundle=bundle, config=config)

    def bare(times: int) -> None:
        list(run_units(lambda image: engine({"image": image[None]}), images * times))

    ours()
    for given, times in ((scans, 1), (more, _COPIES)):
        ratio = median_ratio(partial(ours, given), partial(bare, times), rounds=3)
        what = f"predict, {len(given)} scans from folder to folder, of the speed of the bare engine"
        yield what, ratio, "x", f">= {_BARE}", ratio >= _BARE
    network = load_network(bundle)

    def theirs() -> object:
        return loop(scans, folder / "loop", info, lambda image: network.predict(image[None], verbose=0)[0])

    ratio = median_ratio(ours, theirs, rounds=3)
    yield "predict, times as fast as imread + model.predict + imwrite", ratio, "x", f">= {_LOOP}", ratio >= _LOOP
    again = partial(predict, scans[0].parent, folder / "twice", bundle=bundle, config=config)
    first = seconds(again)
    ratio = seconds(again) / first
    yield "predict again, nothing changed, of the first run", ratio, "x", f"<= {_AGAIN}", ratio <= _AGAIN
    worst = _tiled_difference(bundle, info)
    yield "tiled against whole scan, largest difference (float32)", worst, "", f"<= {_EXACT}", worst <= _EXACT


def _copies(scans: list[Path], folder: Path) -> list[Path]:
    """More of the same: of few scans, what is done once for a run is a good part of the time."""
    folder.mkdir()
    names = [(scan, folder / f"{scan.stem}_{copy}.tif") for scan in scans for copy in range(_COPIES)]
    return [Path(shutil.copyfile(*pair)) for pair in names]


def _tiled_difference(bundle: Path, info: BundleInfo) -> float:
    engine = open_engine(bundle)
    image = np.random.default_rng(1).random((1000, 1300, 1)).astype(np.float32)
    whole = next(predict_tiles(engine, info, image, tile=4096))[1]
    worst = 0.0
    for window, probabilities in predict_tiles(engine, info, image, tile=512):
        worst = max(worst, float(np.abs(probabilities - whole[window]).max()))
    return worst
