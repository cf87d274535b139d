"""How much memory networks may take: a share of the machine's, whatever else runs there.

So the same command cuts the same tiles on one machine, and gives the same masks to the last bit.
"""

from __future__ import annotations

import os
from typing import Final

from unetseg.share import cores, memory_share

__all__ = ["calls_at_once", "network_memory"]

_LEAST: Final = 1.3e9  # bytes: with it, default networks segment any scan in less than 2 GB
_SHARE: Final = 1 / 24  # of larger machines


def network_memory() -> float:
    """Bytes that are set aside for all calls of a network that run at once in this process.

    Of several processes that work together, each has its share.
    """
    return max(_LEAST, _SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) * memory_share()


def calls_at_once(call_bytes: float) -> int:
    """How many calls run at once: one per processor core, fewer where that would take too much memory."""
    return int(min(max(network_memory() // call_bytes, 1), cores()))
