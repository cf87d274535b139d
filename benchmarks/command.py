"""How long the command takes to say anything."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import seconds

_HELP_TARGET = 0.5  # seconds


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """``unetseg --help`` as a whole process."""

    def call() -> object:
        return subprocess.run([sys.executable, "-m", "deployments.cli", "--help"], capture_output=True, check=True)

    call()
    taken = statistics.median(seconds(call) for _ in range(7))
    yield "unetseg --help", taken, "s", f"< {_HELP_TARGET} s", taken < _HELP_TARGET
