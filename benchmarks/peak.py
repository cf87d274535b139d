"""The most memory that a process has held, and commands that tell their own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["peak_bytes", "run_alone"]

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most memory that this process has held; Linux' ``ru_maxrss`` would count the one that started it too."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_alone(module: str, *arguments: object) -> dict[str, Any]:
    """What a module prints as JSON in a process of its own, such as its `peak_bytes`."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found
