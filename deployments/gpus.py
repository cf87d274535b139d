"""How many GPUs this machine has, without a framework that would take hold of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["gpus"]

_DEVICE = re.compile(r"nvidia\d+")


def gpus(devices: Path = Path("/dev"), environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """What ``CUDA_VISIBLE_DEVICES`` calls each GPU that may be used; empty where there is none.

    The driver makes a file ``/dev/nvidia0`` and so on for each GPU; in a container only those that it was given. A
    ``CUDA_VISIBLE_DEVICES`` that is set counts instead. Other makes are not counted: there, one run at a time trains.

    Args:
        devices: folder of device files.
        environment: variables to look at; those of this process by default.
    """
    environment = os.environ if environment is None else environment
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # As CUDA reads it: what follows an invalid number does not count.
        valid = [name for name in names[: names.index("-1") if "-1" in names else None] if name]
        return tuple(valid)
    found = [path for path in devices.iterdir() if _DEVICE.fullmatch(path.name)] if devices.is_dir() else []
    return tuple(str(number) for number in range(len(found)))
