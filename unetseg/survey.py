"""One pass over the rows of a scan: which of its channels count, and how their intensities are distributed.

After it every row can be brought to the network's channels and normalised on its own, however large the scan is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.channels import ChannelFacts, channel_numbers, pick_channels
from unetseg.config import IngestConfig
from unetseg.formats import OpenPlane
from unetseg.intensities import Collector, collector
from unetseg.intensity_distance import KNOTS, Profile, profile
from unetseg.normalise import ChannelScale, normalise, scale_of

__all__ = ["Preparation", "Survey", "survey"]


@dataclass(frozen=True)
class Preparation:
    """How the pixels of a file become the network's input.

    Attributes:
        numbers: which channel of the file each channel of the network is.
        scales: of each channel of the network.
        profiles: how the normalised intensities of each are distributed over the whole scan.
    """

    numbers: tuple[int, ...]
    scales: tuple[ChannelScale, ...]
    profiles: tuple[Profile, ...]

    def __call__(self, pixels: NDArray[Any], *, dtype: str = "float32") -> NDArray[np.floating]:
        """Normalised intensities ``(h, W, C)`` of some rows of the file."""
        return normalise(pick_channels(pixels, self.numbers), self.scales, dtype=dtype)


@dataclass(frozen=True, eq=False)
class Survey:
    """What a pass over a scan found.

    Attributes:
        preparation: what its rows need.
        intensities: of each channel of the network.
    """

    preparation: Preparation
    intensities: tuple[Collector, ...]


def survey(
    plane: OpenPlane, channels: int, config: IngestConfig, path: Path, *, bands: Iterable[tuple[int, int]]
) -> Survey:
    """Go over all rows of a scan once.

    Args:
        plane: the scan.
        channels: of the network.
        config: the method of normalisation, and its numbers.
        path: of the file, for errors.
        bands: first and last row of what is read at once; together all rows, in order.

    Raises:
        BadFileError: when the scan has other channels.
    """
    header, facts = plane.header, ChannelFacts()
    collectors = [collector(np.dtype(header.dtype), header.height, header.width) for _ in range(header.channels)]
    for start, stop in bands:
        rows = plane.rows(start, stop)
        facts.add(rows)
        for channel, found in enumerate(collectors):
            found.add(rows[..., channel])
    numbers = channel_numbers(len(collectors), channels, facts, path)
    wanted = tuple(collectors[number] for number in numbers)
    scales = tuple(scale_of(found, config) for found in wanted)
    profiles = tuple(profile(found.percentiles(KNOTS), scale) for found, scale in zip(wanted, scales, strict=True))
    return Survey(Preparation(numbers, scales, profiles), wanted)
