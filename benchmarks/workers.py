"""Bulk prediction with threads, and with worker processes: throughput, and memory of all together."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.pipeline import quick_bundle
from unetseg.synth import write_eyes

__all__ = ["measure"]

_PROCESSES = (1, 2, 4)
_BETWEEN_LOOKS = 1.0  # seconds: a look at the memory of all processes takes up to a tenth of one


@dataclass(frozen=True)
class _Run:
    """What one command took: seconds in all and between its first and last scan, and bytes at most."""

    seconds: float
    working: float
    memory: float


def measure(
    folder: Path, *, subjects: int = 24, side: int = 1024, rounds: int = 3
) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Scans of a megapixel, four per subject, and the default network.

    Args:
        folder: to work in.
        subjects: whose eyes are segmented, four scans each.
        side: of a scan in pixels.
        rounds: the numbers of processes take turns so often; medians are told.
    """
    scans, bundle = write_eyes(folder / "new", subjects=subjects, size=(side, side)).scans, quick_bundle(folder)
    count = len(list(scans.glob("*.tif")))
    runs: dict[int, list[_Run]] = {number: [] for number in (0, *_PROCESSES)}
    for _ in range(rounds):
        for number, found in runs.items():
            found.append(_run(scans, folder / "out", bundle, number))
    one = _middle(runs[1])
    for number, found in runs.items():
        took, name = _middle(found), _name(number)
        yield f"{name}: speed between first and last scan", count * side**2 / 1e6 / took.working, "Mpx/s", "", None
        yield f"{name}: the same, of one process's", one.working / took.working, "x", "", None
        yield f"{name}: the command, start and gallery included", took.seconds, "s", "", None
        yield f"{name}: peak memory (PSS) of all processes", took.memory / 1e6, "MB", "", None
        yield f"{name}: the same, of one process's", took.memory / one.memory, "x", "", None


def _name(number: int) -> str:
    return f"predict, {number} worker process{'es' * (number > 1)}" if number else "predict, threads of one process"


def _middle(runs: list[_Run]) -> _Run:
    return _Run(*(median(getattr(run, name) for run in runs) for name in ("seconds", "working", "memory")))


def _run(scans: Path, out: Path, bundle: Path, processes: int) -> _Run:
    """The command, watched until it ends."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "flows.cli", "predict", scans, out, "--bundle", bundle, "--processes", processes]
    started, most = time.perf_counter(), 0
    running = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None:
        most = max(most, _memory(running.pid))
        time.sleep(_BETWEEN_LOOKS)
    seconds = time.perf_counter() - started
    if running.returncode:
        raise RuntimeError(f"{command} ended with {running.returncode}")
    times = sorted(path.stat().st_mtime for path in (out / "records").glob("**/*.json"))
    # The first scans also wait for the model; what is counted begins with the first that is done.
    working = (times[-1] - times[0]) * len(times) / (len(times) - 1)
    return _Run(seconds, working, most)


def _memory(pid: int) -> int:
    """Bytes of a process and of all below it, where what they share counts once (PSS)."""
    found = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            found += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended meanwhile
            continue
    return found
