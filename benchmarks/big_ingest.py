"""Peak memory and time of ingesting one slide of a third of a gigapixel, in a process of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.big_scan import write_mask, write_pyramid
from benchmarks.peak import peak_bytes, run_alone
from unetseg.config import ClassSource, ScanSource, Settings, Sources
from unetseg.ingest import ingest
from unetseg.project import Project, load_project, save_project

__all__ = ["measure"]

_HEIGHT, _WIDTH = 18000, 20000
_SMALL = 512  # side of the others, in pixels
_OTHERS = ("a", "b", "c")  # three, so that there are enough to split
_GIGABYTES = 2.0


def measure(
    folder: Path, height: int = _HEIGHT, width: int = _WIDTH
) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """One 8-bit RGB pyramid with its mask, and three small scans besides it."""
    project = _write_project(folder, height, width)
    found = run_alone("benchmarks.big_ingest", project)
    what, peak = f"ingest of {width} x {height} RGB", found["peak_bytes"] / 1e9
    yield f"{what}: peak memory", peak, "GB", f"< {_GIGABYTES:g}", peak < _GIGABYTES
    yield f"{what}: time", found["seconds"], "s", "", None


def _write_project(folder: Path, height: int, width: int) -> Path:
    for name in ("scans", "masks"):
        (folder / name).mkdir()
    for name, shape in {"slide": (height, width), **dict.fromkeys(_OTHERS, (_SMALL, _SMALL))}.items():
        write_pyramid(folder / "scans" / f"{name}.tif", *shape)
        write_mask(folder / "masks" / f"{name}.tif", *shape)
    source = ScanSource(str(folder / "scans"), channels=("red", "green", "blue"))
    sources = Sources(source, (ClassSource("stained", str(folder / "masks")),))
    save_project(Project(folder / "project", sources, Settings()))
    return folder / "project"


def main() -> None:
    """Ingest the project that is named, and print what it took."""
    project = load_project(sys.argv[1])
    started = time.perf_counter()
    result = ingest(project)
    seconds = time.perf_counter() - started
    if result.quarantined or result.failed:
        raise SystemExit(str((*result.quarantined, *result.failed)))
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
