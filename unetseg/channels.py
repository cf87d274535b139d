"""From the channels that files have to those that the network takes.

Whether an alpha channel says anything, or a colour image is grey, is a matter of all its pixels: facts that are
collected before the first row is converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError

__all__ = ["ChannelFacts", "channel_numbers", "pick_channels", "to_channels"]


@dataclass
class ChannelFacts:
    """What is true of all pixels seen so far.

    Attributes:
        equal: all channels are the same.
        last: the one value of the last channel; None when it varies.
    """

    equal: bool = True
    last: Any = None
    _seen: bool = False

    def add(self, band: NDArray[Any]) -> None:
        """Look at the next rows, ``(h, W, C)``."""
        if band.shape[-1] == 1:
            return
        last = band[..., -1]
        self.last = last.flat[0] if not self._seen else self.last
        self._seen = True
        if self.last is not None and (last != self.last).any():
            self.last = None
        colours = band[..., :3]
        self.equal = self.equal and bool((colours == colours[..., :1]).all())


def channel_numbers(found: int, channels: int, facts: ChannelFacts, path: Path) -> tuple[int, ...]:
    """Which channel of a file each channel of the network is.

    Grey is repeated to colour, colour with three equal channels becomes grey, an opaque alpha goes.

    Args:
        found: Channels of the file.
        channels: Channels wanted.
        facts: Of the whole scan.
        path: The file, for the message.

    Returns:
        A number per channel wanted.

    Raises:
        BadFileError: when the scan has other channels.
    """
    kept = found - 1 if found in (2, 4) and found != channels and facts.last is not None else found
    if kept == 1 and channels == 3:
        return (0, 0, 0)
    if kept == 3 and channels == 1 and facts.equal:
        return (0,)
    if kept != channels:
        raise BadFileError(
            f"{path}: has {found} channels where {channels} are expected; convert the file, or name {found} channels "
            "in scans.channels and train on such scans"
        )
    return tuple(range(channels))


def pick_channels(pixels: NDArray[Any], numbers: Sequence[int]) -> NDArray[Any]:
    """Some channels of ``(h, W, C)``, in that order; bilevel pixels become 0 and 1 (uint8)."""
    if pixels.dtype == np.bool_:
        pixels = pixels.view(np.uint8)
    if list(numbers) == list(range(len(numbers))):
        return pixels[..., : len(numbers)]  # as it lies in memory
    return pixels[..., list(numbers)]


def to_channels(pixels: NDArray[Any], channels: int, path: Path) -> NDArray[Any]:
    """A whole scan in memory, ``(H, W, C)``, brought to the network's channels as `channel_numbers` says.

    Raises:
        BadFileError: when the scan has other channels.
    """
    facts = ChannelFacts()
    facts.add(pixels)
    return pick_channels(pixels, channel_numbers(pixels.shape[-1], channels, facts, path))
