"""How much memory networks may take: a share of the machine's, whatever else runs there.

So the same command cuts the same tiles on one machine, and gives the same masks to the last bit.
"""

from __future__ import annotations

import os
from typing import Final

from unetseg.config import ModelConfig
from unetseg.share import cores, memory_share

__all__ = ["calls_at_once", "memory_set_aside", "network_memory", "physical_memory", "pixel_bytes"]

_LEAST: Final = 1.3e9  # bytes: with it, default networks segment any scan in less than 2 GB
_SHARE: Final = 1 / 24  # of larger machines
_BYTES_PER_FILTER: Final = 20  # and pixel, of the first level: what OpenVINO takes, TensorFlow takes no less
_BYTES_PER_FUSED: Final = 2 * 4  # and filter of a fused level: 32-bit features, and their copy among those joined
_LEAST_FILTERS: Final = 16  # of what is reckoned with: bundles made by hand may not say how many


def physical_memory() -> float:
    """Bytes that this machine has."""
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def memory_set_aside() -> float:
    """Bytes that are set aside for all calls of a network that run at once on this machine."""
    return max(_LEAST, _SHARE * physical_memory())


def network_memory() -> float:
    """Bytes of those that are this process's: of several that work together, each has its share."""
    return memory_set_aside() * memory_share()


def pixel_bytes(model: ModelConfig) -> float:
    """Memory that a call takes per pixel, about, which can be told without opening the network.

    Within 5 % of what `unetseg.engines.OpenVinoEngine` reckons from the graph of plain and residual networks, with
    attention, several outputs and fusion. Most is alive where the finest level of the decoder joins what comes to it,
    and each encoder level that is fused there brings as many features as the first level has filters.

    Args:
        model: its filters and the levels that it fuses count.
    """
    below = model.depth - 1 if model.depth else model.fusion  # levels that the finest one could fuse
    fused = min(model.fusion, below)
    return float((_BYTES_PER_FILTER + _BYTES_PER_FUSED * fused) * max(model.width, _LEAST_FILTERS))


def calls_at_once(call_bytes: float) -> int:
    """How many calls run at once: one per processor core, fewer where that would take too much memory."""
    return int(min(max(network_memory() // call_bytes, 1), cores()))
