"""``make bench``: run every measurement and write ``latest.json`` and ``latest.md``; with names, only those modules'.

Ratios are taken inside one run on one machine, so that a slow or busy machine changes both sides alike.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from benchmarks import (
    big_ingest,
    command,
    curves,
    demo,
    freed_memory,
    ingest,
    large_scan,
    many_scans,
    nightly,
    predict,
    train,
    workers,
)
from benchmarks.machine import machine
from unetseg.bundle import software_versions

_OUT = Path(__file__).parents[1] / "docs" / "benchmarks"
_SECTIONS = (
    command,
    demo,
    curves,
    ingest,
    big_ingest,
    train,
    freed_memory,
    predict,
    many_scans,
    nightly,
    large_scan,
    workers,
)


@dataclass(frozen=True)
class Measurement:
    """One line: what was measured, its value, whether the target holds (None: no target), and where that was."""

    name: str
    value: float
    unit: str
    target: str
    holds: bool | None
    machine: str


def main(*wanted: str) -> None:
    """Measure and write both files.

    Args:
        wanted: names of the modules whose measurements are made anew; those of others stay; none: all.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found = _known() if wanted else {}
    for module in _SECTIONS:
        section = _name(module)
        if wanted and section not in wanted:
            continue
        found[section] = []
        with tempfile.TemporaryDirectory(prefix="unetseg-bench-") as folder:
            for row in module.measure(Path(folder)):
                found[section].append(item := Measurement(*row, machine=machine()))
                print(f"{item.name:<64}{item.value:>10.4g} {item.unit:<8}{item.target}", flush=True)
        _write(found)  # what is measured stays when a later section fails


def _known() -> dict[str, list[Measurement]]:
    """What was measured last, by module."""
    plain = json.loads((_OUT / "latest.json").read_text())
    return {section: [Measurement(**item) for item in items] for section, items in plain.items()}


def _write(found: Mapping[str, Sequence[Measurement]]) -> None:
    _OUT.mkdir(parents=True, exist_ok=True)
    found = {section: found[section] for section in map(_name, _SECTIONS) if section in found}
    plain = {section: [asdict(item) for item in items] for section, items in found.items()}
    (_OUT / "latest.json").write_text(json.dumps(plain, indent=1) + "\n")
    (_OUT / "latest.md").write_text(_markdown([item for items in found.values() for item in items]))


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _markdown(found: list[Measurement]) -> str:
    software = ", ".join(f"{name} {version}" for name, version in software_versions().items())
    parts = ["# Benchmarks", f"Measured by `make bench`, at last with {software}."]
    for where in dict.fromkeys(item.machine for item in found):  # sections may be measured on different ones
        parts += [f"On {where}:", _table([item for item in found if item.machine == where])]
    return "\n\n".join(parts) + "\n"


def _table(found: list[Measurement]) -> str:
    verdict = {True: "yes", False: "**no**", None: ""}
    rows = [f"| {m.name} | {m.value:.4g} {m.unit} | {m.target} | {verdict[m.holds]} |" for m in found]
    return "\n".join(["| what | measured | target | holds |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    main(*sys.argv[1:])
