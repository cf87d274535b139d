"""Peak memory of segmenting one scan of a gigapixel against one of 100 megapixels, each in a process of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.big_scan import write_grey
from benchmarks.peak import peak_bytes, run_alone
from benchmarks.pipeline import quick_bundle
from unetseg.config import PredictConfig
from unetseg.predict import predict

__all__ = ["measure"]

_SIDES = (10_000, 31_623)
_MEGA = 1e6
_GROWTH, _GIGABYTES = 1.2, 2.0


def measure(folder: Path, sides: tuple[int, int] = _SIDES) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Two square 8-bit scans and the default network."""
    bundle, peaks = quick_bundle(folder), []
    for side in sides:
        scans = folder / str(side)
        scans.mkdir()
        write_grey(scans / "slide.tif", side, side)
        found = run_alone("benchmarks.large_scan", scans, folder / f"{side}-out", bundle)
        peaks.append(found["peak_bytes"])
        what = f"predict, one scan of {side**2 / _MEGA:.0f} megapixels"
        small = peaks[-1] / 1e9 < _GIGABYTES
        yield f"{what}: peak memory", peaks[-1] / 1e9, "GB", f"< {_GIGABYTES:g}", small
        yield f"{what}: speed", side**2 / _MEGA / found["seconds"], "Mpx/s", "", None
    growth = peaks[1] / peaks[0]
    yield "predict, peak memory of the larger against the smaller", growth, "x", f"<= {_GROWTH}", growth <= _GROWTH


def main() -> None:
    """Segment the folder that is named, and print what it took."""
    scans, out, bundle = map(Path, sys.argv[1:])
    started = time.perf_counter()
    predict(scans, out, bundle=bundle, config=PredictConfig(max_failed_fraction=0))
    print(json.dumps({"seconds": time.perf_counter() - started, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
