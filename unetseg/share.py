"""How much of this machine a process may use: all of it, or its part where several processes work together.

Several processes that each take every core, and each the memory of one, only get in each other's way. So whoever hands
out units says how many there are, and what they run, engines above all, asks here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["cores", "is_shared", "machine_cores", "memory_share", "sharing"]


@dataclass(frozen=True)
class _Share:
    """Cores, and the part of the memory that may be set aside, in (0, 1]."""

    cores: int
    memory: float


# Of the unit, not of the process: threads of one process may work for themselves and for a cluster.
_share: ContextVar[_Share | None] = ContextVar("share", default=None)


@contextmanager
def sharing(threads: int, processes: int = 1) -> Iterator[None]:
    """What runs inside is one of several processes of this machine.

    Args:
        threads: units that this process does at once.
        processes: how many there are, at least, that do as many.
    """
    machine = machine_cores()
    mine = max(1, min(threads, machine))
    token = _share.set(_Share(mine, min(mine / machine, 1 / max(1, processes))))
    try:
        yield
    finally:
        _share.reset(token)


def cores() -> int:
    """Processor cores that this process may use."""
    share = _share.get()
    return share.cores if share else machine_cores()


def memory_share() -> float:
    """The part of the memory, in (0, 1], of what all processes set aside together."""
    share = _share.get()
    return share.memory if share else 1.0


def is_shared() -> bool:
    """Whether others use this machine for the same work."""
    return memory_share() < 1


def machine_cores() -> int:
    """Processor cores that all processes on this machine may use together."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
