"""One network, run by all: OpenVINO as `unetseg predict` uses it, Keras, and PyTorch. Unequal ones are not compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers.torch_unet import TorchUnet, channels_first, channels_last
from unetseg.bundle import BundleInfo, load_bundle
from unetseg.engines import Engine, load_network, open_engine

__all__ = ["MOST_OFF", "SameNetwork", "check_equal", "open_everywhere"]

MOST_OFF: Final = 1e-4  # of any probability


@dataclass(frozen=True)
class SameNetwork:
    """One bundle, opened by each.

    Attributes:
        bundle: its folder.
        info: what it says of itself.
        engine: of unetseg, in float32.
        keras: as Keras loads it.
        torch: its copy.
        off: largest difference of a probability between any of them and Keras, on a scan.
    """

    bundle: Path
    info: BundleInfo
    engine: Engine
    keras: keras.Model
    torch: TorchUnet
    off: float

    def by_torch(self, image: NDArray[np.floating]) -> NDArray[np.float32]:
        """Probabilities ``(H, W, K)`` of ``(H, W, C)`` in one piece, by PyTorch."""
        with torch.inference_mode():
            return channels_last(self.torch(channels_first(image[None])))[0]

    def by_keras(self, image: NDArray[np.floating]) -> NDArray[np.float32]:
        """The same by ``model.predict``."""
        return np.asarray(self.keras.predict(image[None], verbose=0)[0], np.float32)

    def __str__(self) -> str:
        """Depth, width, weights, halo."""
        config = self.info.settings.model
        return (
            f"a U-Net of depth {config.depth}, {config.width} filters in the first level and "
            f"{self.keras.count_params():,} weights, that sees {self.info.halo} pixels on each side"
        )


def open_everywhere(bundle: Path, image: NDArray[np.floating]) -> SameNetwork:
    """Open a bundle in all ways.

    Args:
        bundle: its folder.
        image: ``(H, W, C)``, on which all must agree.

    Raises:
        ValueError: they do not.
    """
    network = load_network(bundle)
    same = SameNetwork(bundle, load_bundle(bundle).info, open_engine(bundle), network, TorchUnet(network), off=0.0)
    found = {"OpenVINO": same.engine({"image": image[None]})[0], "PyTorch": same.by_torch(image)}
    off = check_equal(found, same.by_keras(image))
    return SameNetwork(**vars(same) | {"off": off})


def check_equal(found: dict[str, NDArray[np.floating]], expected: NDArray[np.floating]) -> float:
    """The largest difference of a probability.

    Args:
        found: probabilities, by who calculated them.
        expected: those that they should be.

    Raises:
        ValueError: it is above 1e-4, or is no number.
    """
    worst = 0.0
    for who, probabilities in found.items():
        off = float(np.abs(probabilities - expected).max())
        if not off <= MOST_OFF:
            raise ValueError(
                f"{who}: probabilities must be Keras' within {MOST_OFF:g}, found {off:g} off; not compared"
            )
        worst = max(worst, off)
    return worst
