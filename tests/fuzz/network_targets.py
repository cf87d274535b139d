"""Targets that need Keras or OpenVINO; a process of their own, since loading these takes long."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.networks import real_bundle, small_network
from tests.fuzz.samples import put
from tests.fuzz.targets import same
from unetseg.config import TrainConfig

__all__ = ["TARGETS", "prepare"]

_MEMORY = ("memory", "allocat")


def prepare(scratch: Path) -> None:
    """Load both, and have each work once: what they load then is theirs, and not an input's."""
    import os

    sound = put(scratch / "sound", real_bundle())
    for name in ("keras", "openvino"):
        _replay(sound, name)
    _compiled()
    (scratch / "here").mkdir(exist_ok=True)
    os.chdir(scratch / "here")


def network(folder: Path) -> None:
    """A bundle's network, by Keras."""
    _replay(folder / "0001", "keras")


def export(folder: Path) -> None:
    """A bundle's network, by OpenVINO."""
    _replay(folder / "0001", "openvino")


def _replay(folder: Path, name: str) -> None:
    import keras

    from unetseg.bundle import load_bundle
    from unetseg.engines import open_engine
    from unetseg.errors import BundleError

    keras.utils.clear_session()
    try:
        engine = open_engine(folder, name)
    except BundleError as error:
        # What its layers make of a picture is the network's, and its maker's; that it is refused is all there is.
        if any(word in str(error).lower() for word in _MEMORY):
            raise BundleError(f"{folder}: takes more than there is") from None
        raise
    bundle = load_bundle(folder)
    inputs, expected = bundle.replay()
    same(engine(inputs).shape == expected.shape, "another shape")
    same(np.isfinite(engine.pixel_bytes), "memory")


def training(folder: Path) -> None:
    """What a killed training goes on from."""
    from unetseg.checkpoint import Checkpoint
    from unetseg.train import _plan

    plan = _plan(None, folder / "train")  # type: ignore[arg-type]  # a stored one needs no project
    same(all(side == int(side) for side in plan.shape), f"shape {plan.shape}")
    checkpoint = Checkpoint(folder / "train/checkpoint")
    outcome = checkpoint.restore(_compiled())
    same(isinstance(outcome.history, list), "history")
    outcome.progress(TrainConfig(epochs=2, max_minutes=1))
    checkpoint.load_best(_compiled())


@cache
def _compiled() -> Any:
    return small_network(compiled=True)


TARGETS: dict[str, Callable[[Path], None]] = {item.__name__: item for item in (network, export, training)}
