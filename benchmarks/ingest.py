"""Ingest against reading and compressing the same bytes with nothing else; and again with nothing changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tifffile
import zarr
from numcodecs import Zstd

from benchmarks.timing import median_ratio, seconds
from unetseg.dataset import IMAGE, MASKS, open_dataset
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import Project, load_project
from unetseg.synth import write_eyes

_SIZE = (768, 1024)
_SUBJECTS = 60  # four scans each
_RATIO, _AGAIN = 0.8, 0.02


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Scans of 768 x 1024, three classes: so many that what a run does once is a small part of it."""
    threads = os.cpu_count() or 1
    eyes = write_eyes(folder / "eyes", subjects=_SUBJECTS, size=_SIZE)
    init(eyes.scans, eyes.masks, project=folder / "project", overrides=(f"ingest.workers={threads}",))
    project = load_project(folder / "project")

    def fresh() -> object:
        if project.dataset.exists():  # put aside, since its removal is no part of an ingest
            project.dataset.rename(folder / f"before-{time.monotonic_ns()}")
        return ingest(project)

    fresh()
    jobs = _jobs(project)
    ratio = median_ratio(fresh, lambda: _bare(jobs, threads), rounds=3)
    yield (
        "ingest, of the speed of as many threads that only read, compress",
        ratio,
        "x",
        f">= {_RATIO}",
        ratio >= _RATIO,
    )
    ratio = median_ratio(fresh, lambda: _bare(jobs, 1), rounds=3)
    yield "ingest, of the speed of one thread that only reads, compresses", ratio, "x", "", None
    first, again = seconds(fresh), seconds(lambda: ingest(project))
    yield "ingest again, nothing changed, of the first run", again / first, "x", f"<= {_AGAIN}", again / first <= _AGAIN


def _jobs(project: Project) -> list[tuple[list[str], list[bytes]]]:
    """Per scan: the files that ingest reads, and the bytes that it stores, not yet compressed."""
    data = open_dataset(project.dataset)
    return [
        (
            [source.path for source in scan.sources],
            [zarr.open_array(data.folder / "scans" / scan.key / name)[:].tobytes() for name in (IMAGE, MASKS)],
        )
        for scan in data.index.scans.values()
    ]


def _bare(jobs: list[tuple[list[str], list[bytes]]], threads: int) -> None:
    """Read and compress, each once and whole; nothing is looked at, normalised, hashed or written."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_read_and_compress, jobs))


def _read_and_compress(job: tuple[list[str], list[bytes]]) -> None:
    codec = Zstd(level=1)
    files, stored = job
    for file in files:
        tifffile.imread(file)
    for data in stored:
        codec.encode(data)
