"""Measure everything and write ``docs/benchmarks/peers.json`` and ``peers.md``."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow

from benchmarks.machine import machine
from benchmarks.peers import folders, large_scan, tiles
from benchmarks.peers.comparison import Comparison
from benchmarks.peers.same_network import MOST_OFF, SameNetwork, open_everywhere
from benchmarks.pipeline import quick_bundle
from benchmarks.scan_loop import normalised, write_scans
from unetseg.bundle import load_bundle, software_versions

_OUT: Final = Path(__file__).parents[2] / "docs" / "benchmarks" / "peers.md"
_PEERS: Final = ("monai", "csbdeep")
_CHECKED: Final = 512  # pixels: side of the scan on which all must agree


def main() -> None:
    """Train for a minute, then compare."""
    with tempfile.TemporaryDirectory(prefix="unetseg-peers-") as name:
        same = _network(Path(name))
        found = []
        for section in (tiles, large_scan, folders):
            found.append(section.compare(same, Path(name)))
            print(found[-1].markdown() + "\n", flush=True)
        _write(same, found)


def _network(folder: Path) -> SameNetwork:
    bundle = quick_bundle(folder)
    image = normalised(write_scans(folder / "check", _CHECKED, subjects=1)[0], load_bundle(bundle).info)
    return open_everywhere(bundle, image)


def _write(same: SameNetwork, found: Sequence[Comparison]) -> None:
    software = software_versions() | {name: version(name) for name in _PEERS}
    plain = {"machine": machine(), "software": software, "network": str(same), "off": same.off}
    plain["comparisons"] = [asdict(item) for item in found]
    _OUT.with_suffix(".json").write_text(json.dumps(plain, indent=1) + "\n")
    _OUT.write_text(_page(same, software, found))


def _page(same: SameNetwork, software: dict[str, str], found: Sequence[Comparison]) -> str:
    head = (
        f"Measured by `make bench-peers` with {', '.join(map(' '.join, software.items()))}.\n\n"
        f"On {machine()}; no GPU is used.\n\n"
        f"All run one network: {same}. Its weights were copied to PyTorch; on a scan of {_CHECKED} x {_CHECKED} "
        f"OpenVINO, PyTorch and Keras give probabilities that differ by at most {same.off:.1g}. Above {MOST_OFF:g} "
        "nothing would be compared.\n\n"
        "Sides take turns in one process. Seconds are the median of the rounds; `times the first` is the median of the "
        "ratios within a round: above 1 the peer takes longer than unetseg, below 1 it is faster."
    )
    last = (
        "## Curves\n\nPrecision-recall curves and average precision are compared with scikit-learn's in "
        "[the benchmarks](latest.md), by `make bench`."
    )
    return "\n\n".join(["# Against others", head, *(item.markdown() for item in found), last]) + "\n"


if __name__ == "__main__":
    main()
