"""How large the tiles of large scans are.

Tiles overlap by twice the halo, so small ones compute much twice, and large ones take much memory.
"""

from __future__ import annotations

import math
from typing import Final

from unetseg.engines import Engine
from unetseg.memory import network_memory
from unetseg.share import cores
from unetseg.tiling import padded_size

__all__ = ["band_height", "tile_side", "waste"]

_MOST_WASTE: Final = 0.35  # of the pixels that are kept
_LARGEST: Final = 4096  # pixels: beyond, nothing is gained
_LEAST_KEPT: Final = 256  # pixels of a tile's side, however little memory there is
_BEYOND: Final = 4  # times the memory set aside: what a call may take so that little is computed twice


def tile_side(engine: Engine, *, halo: int, stride: int, wanted: int = 0) -> int:
    """Side of a tile in pixels, halo included: a multiple of the stride.

    Such that every processor core has a tile within the memory that is set aside for networks; larger where more than
    35 % would be computed twice.

    Args:
        engine: that runs the network.
        halo: pixels that the network sees on each side.
        stride: of the network.
        wanted: what the settings say, which holds; 0: chosen here.
    """
    if wanted:
        return wanted
    pixels = network_memory() / engine.pixel_bytes
    frugal = math.ceil(_side_for(_MOST_WASTE, padded_size(halo, stride)) / stride) * stride
    side = min(max(math.sqrt(pixels / cores()), frugal), math.sqrt(_BEYOND * pixels), _LARGEST)
    least = 2 * padded_size(halo, stride) + padded_size(_LEAST_KEPT, stride)
    return max(int(side) // stride * stride, least)


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
