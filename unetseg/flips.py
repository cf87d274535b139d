"""Flips at prediction: the mean over a scan and its mirror images, each turned back.

That is nnU-Net's mirroring at test time (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z). Tiles stay
exact: a tile begins and ends at multiples of the stride, as the padded scan does, so a flipped tile is a tile of the
flipped padded scan, on the same pooling grid. What is padded at the bottom and on the right is flipped with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from unetseg.engines import Engine

__all__ = ["FLIPS", "Flipped"]

Flips = Literal["none", "horizontal", "vertical", "both"]

_ROWS, _COLUMNS = 1, 2  # axes of (N, H, W, C)
FLIPS: Final[Mapping[Flips, tuple[tuple[int, ...], ...]]] = {
    "none": ((),),
    "horizontal": ((), (_COLUMNS,)),
    "vertical": ((), (_ROWS,)),
    "both": ((), (_COLUMNS,), (_ROWS,), (_ROWS, _COLUMNS)),
}
"""Axes along which each of the pictures is flipped whose mean is taken; horizontal: left becomes right."""


class Flipped:
    """An engine that gives the mean over flips of what another one gives; guides are flipped with the image.

    Args:
        engine: that runs the network.
        flips: which ones; the more, the longer it takes: 2 or 4 times.
    """

    def __init__(self, engine: Engine, flips: Flips) -> None:
        self._engine, self._axes = engine, FLIPS[flips]
        self.name, self.precision = engine.name, engine.precision

    @property
    def pixel_bytes(self) -> float:
        """Memory that a call takes, about, per pixel."""
        return self._engine.pixel_bytes

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """See `unetseg.engines.Engine`."""
        total = self._engine(inputs)
        for axes in self._axes[1:]:
            flipped = {name: np.ascontiguousarray(np.flip(array, axes)) for name, array in inputs.items()}
            total = total + np.flip(self._engine(flipped), axes)
        return total / np.float32(len(self._axes))
