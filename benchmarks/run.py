"""``make bench``: run every measurement and write ``latest.json`` and ``latest.md``.

Ratios are taken inside one run on one machine, so that a slow or busy machine changes both sides alike.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import big_ingest, command, curves, ingest, large_scan, many_scans, predict, train, workers
from unetseg.bundle import software_versions

_OUT = Path(__file__).parents[1] / "docs" / "benchmarks"
_SECTIONS: tuple[Callable[[Path], Iterator[tuple[str, float, str, str, bool | None]]], ...] = (
    command.measure,
    curves.measure,
    ingest.measure,
    big_ingest.measure,
    train.measure,
    predict.measure,
    many_scans.measure,
    large_scan.measure,
    workers.measure,
)


@dataclass(frozen=True)
class Measurement:
    """One line: what was measured, its value, and whether the target holds (None: no target)."""

    name: str
    value: float
    unit: str
    target: str
    holds: bool | None


def main() -> None:
    """Measure all and write both files."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found = []
    for section in _SECTIONS:
        with tempfile.TemporaryDirectory(prefix="unetseg-bench-") as folder:
            for row in section(Path(folder)):
                found.append(Measurement(*row))
                print(f"{found[-1].name:<64}{found[-1].value:>10.4g} {found[-1].unit:<8}{found[-1].target}", flush=True)
        _write(found)  # what is measured stays when a later section fails


def _write(found: list[Measurement]) -> None:
    _OUT.mkdir(parents=True, exist_ok=True)
    (_OUT / "latest.json").write_text(json.dumps([asdict(item) for item in found], indent=1) + "\n")
    (_OUT / "latest.md").write_text(_markdown(found))


def _markdown(found: list[Measurement]) -> str:
    verdict = {True: "yes", False: "**no**", None: ""}
    rows = [f"| {m.name} | {m.value:.4g} {m.unit} | {m.target} | {verdict[m.holds]} |" for m in found]
    software = ", ".join(f"{name} {version}" for name, version in software_versions().items())
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Measured by `make bench` on {os.cpu_count()} processor cores ({platform.machine()}, {_processor()}).",
            f"With {software}.",
            "",
            "| what | measured | target | holds |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


if __name__ == "__main__":
    main()
