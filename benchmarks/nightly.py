"""A night on 10,000 scans of which none changed: as a command, and as a flow of Prefect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import tifffile

from benchmarks.timing import seconds
from unetseg.init import init
from unetseg.nightly import nightly
from unetseg.project import load_project
from unetseg.synth import write_eyes

_SCANS, _DIFFERENT, _SIDE = 10_000, 40, 64
_MOST = 30.0  # seconds
_TINY = (
    "model.width=2", "model.depth=2", "train.epochs=1", "train.steps_per_epoch=2", "train.max_minutes=0",
    "gate.floor=0", "evaluate.draws=100",
)  # fmt: skip


def measure(folder: Path, scans: int = _SCANS) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Eyes of 64 x 64 pixels, three classes, and a network of two filters; the first night is not measured."""
    _many(folder, scans)
    project = folder / "project"
    init(folder / "scans", folder / "masks", project=project, overrides=_TINY)
    nightly(load_project(project))

    def command() -> None:
        subprocess.run([sys.executable, "-m", "flows.cli", "nightly", "--project", project], check=True)

    taken = seconds(command)
    yield f"nightly, {scans} scans, nothing changed, the whole command", taken, "s", f"< {_MOST:g}", taken < _MOST
    taken = _by_prefect(project)
    yield f"nightly, {scans} scans, nothing changed, as a flow of Prefect", taken, "s", f"< {_MOST:g}", taken < _MOST


def _many(folder: Path, scans: int) -> None:
    """Copies of some eyes that differ in two pixels: equal pictures would each be told of."""
    eyes = write_eyes(folder / "few", subjects=_DIFFERENT, scans_per_subject=1, size=(_SIDE, _SIDE))
    few = sorted(eyes.scans.glob("*.tif"))
    pictures = [tifffile.imread(path) for path in few]
    masks = [
        {path.relative_to(eyes.masks): path.read_bytes() for path in eyes.masks.rglob(f"{scan.stem}.*")} for scan in few
    ]
    for number in range(scans):
        picture = pictures[number % _DIFFERENT].copy()
        picture[0, :2] = divmod(number, 256)
        _write(folder / "scans" / f"{number:05d}.tif", picture)
        for name, data in masks[number % _DIFFERENT].items():
            path = folder / "masks" / name.with_name(f"{number:05d}{name.suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _write(path: Path, picture: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, picture)


def _by_prefect(project: Path) -> float:
    """On a server that is there already, on the same cores."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")  # read when Prefect is imported
    from prefect.testing.utilities import prefect_test_harness

    from flows.nightly import nightly as flow

    with prefect_test_harness(server_startup_timeout=120):
        return seconds(lambda: flow(str(project)))
