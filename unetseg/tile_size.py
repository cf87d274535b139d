"""How large the tiles of large scans are.

Tiles overlap by twice the halo, so small ones compute much twice, and large ones take much memory. Where tiles are
exact their size is a matter of the machine; where they are blended it changes what is found, so it follows from the
network alone (docs/adr/0013-tiles-are-settled-once.md). Either way it is told without opening the network, and does not
depend on how many processes share the machine: so a run that was killed goes on with any number of them.
"""

from __future__ import annotations

import math
from typing import Final

from unetseg.bundle import BundleInfo
from unetseg.memory import memory_set_aside, physical_memory, pixel_bytes
from unetseg.share import machine_cores
from unetseg.tiling import padded_size

__all__ = ["band_height", "blended_tile", "tile_side", "waste"]

_MOST_WASTE: Final = 0.35  # of the pixels that are kept
_LARGEST: Final = 4096  # pixels: beyond, nothing is gained
_LEAST_KEPT: Final = 256  # pixels of a tile's side, however little memory there is
_BEYOND: Final = 4  # times the memory set aside: what a call may take so that little is computed twice
_FOR_PROCESSES: Final = 1 / 2  # of the machine's memory: what calls may take, one in each of a process per core
_BLENDED: Final = 0.65e9  # bytes of a call: half of what the smallest machine sets aside, for either of two cores


def tile_side(info: BundleInfo, wanted: int = 0) -> int:
    """Side of a tile in pixels, halo included: a multiple of the stride.

    Args:
        info: of the bundle.
        wanted: what the settings say, which holds; 0: chosen here.
    """
    if wanted:
        return wanted
    halo, stride = padded_size(info.halo, info.stride), info.stride
    side = _exact_side(info) if info.exact else _blended_side(info)
    least = 2 * halo + padded_size(_LEAST_KEPT, stride)
    return max(int(side) // stride * stride, least)


def blended_tile(info: BundleInfo, wanted: int = 0) -> int | None:
    """Side of a tile in pixels where it changes what is found; None where tiles are exact.

    Args:
        info: of the bundle.
        wanted: what the settings say; 0: chosen here.
    """
    return None if info.exact else tile_side(info, wanted)


def _exact_side(info: BundleInfo) -> float:
    """Such that every processor core has a tile within the memory that is set aside for networks.

    Larger where more than 35 % would be computed twice, unless a process per core would take too much then.
    """
    size, cores, stride = pixel_bytes(info.settings.model), machine_cores(), info.stride
    pixels = memory_set_aside() / size
    most = min(_BEYOND * pixels, _FOR_PROCESSES * physical_memory() / cores / size)
    frugal = math.ceil(_side_for(_MOST_WASTE, padded_size(info.halo, stride)) / stride) * stride
    return min(max(math.sqrt(pixels / cores), frugal), math.sqrt(most), _LARGEST)


def _blended_side(info: BundleInfo) -> float:
    """The same on all machines; no smaller than the patches whose statistics the network was trained with."""
    settings = info.settings
    return max(math.sqrt(_BLENDED / pixel_bytes(settings.model)), padded_size(settings.train.patch, info.stride))


def band_height(side: int, *, halo: int, multiple: int) -> int:
    """Rows kept of a band of tiles of that side: a multiple of what is stored together."""
    return max((side - 2 * halo) // multiple, 1) * multiple


def waste(side: int, halo: int) -> float:
    """What is computed twice, as a share of the pixels of a large scan."""
    return (side / (side - 2 * halo)) ** 2 - 1


def _side_for(most: float, halo: int) -> float:
    """The smallest side that wastes no more."""
    growth = math.sqrt(1 + most)
    return 2 * halo * growth / (growth - 1)
