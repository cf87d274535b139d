"""Ingest against reading and compressing the same bytes with nothing else; and again with nothing changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numcodecs import Zstd

from benchmarks.timing import median_ratio, seconds
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import load_project
from unetseg.synth import write_eyes

_SIZE = (768, 1024)
_RATIO, _AGAIN = 0.8, 0.02


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Forty scans of 768 x 1024, three classes."""
    eyes = write_eyes(folder / "eyes", subjects=10, size=_SIZE)
    init(eyes.scans, eyes.masks, project=folder / "project")
    project = load_project(folder / "project")

    def fresh() -> object:
        shutil.rmtree(project.dataset, ignore_errors=True)
        return ingest(project)

    def bare() -> None:
        codec = Zstd(level=1)
        for path in sorted(eyes.scans.glob("*.tif")):
            codec.encode(tifffile.imread(path).astype(np.float16).tobytes())
            for mask in sorted(eyes.masks.glob(f"*/{path.name}")):
                codec.encode((tifffile.imread(mask) > 0).tobytes())

    fresh()
    ratio = median_ratio(fresh, bare, rounds=3)
    yield "ingest, of the speed of reading and compressing alone", ratio, "x", f">= {_RATIO}", ratio >= _RATIO
    first, again = seconds(fresh), seconds(lambda: ingest(project))
    yield "ingest again, nothing changed, of the first run", again / first, "x", f"<= {_AGAIN}", again / first <= _AGAIN
