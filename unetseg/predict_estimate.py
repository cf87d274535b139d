"""What a prediction would do and cost, from headers and a short trial."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetseg.bundle import Bundle
from unetseg.config import PredictConfig
from unetseg.engines import engine_for
from unetseg.errors import BadFileError
from unetseg.parallel import run_units
from unetseg.predict_open import open_prediction
from unetseg.readers import BadFile, read_header

__all__ = ["PredictEstimate", "estimate"]

_TRIAL_SIDE, _TRIAL_CALLS = 512, 4  # pixels and number of the calls that estimate the time


@dataclass(frozen=True)
class PredictEstimate:
    """What a prediction would do and cost.

    Attributes:
        scans: that can be read, by their headers.
        pixels: of all of them.
        seconds: expected time, from a short trial of the network.
        disk_bytes: of the outputs before compression: the most they can take.
        memory_bytes: of the largest scans in flight.
        quarantined: files that will fail, with reasons.
    """

    scans: int
    pixels: int
    seconds: float
    disk_bytes: int
    memory_bytes: int
    quarantined: tuple[BadFile, ...]


def estimate(folder: Path, out: Path, *, bundle: Path, config: PredictConfig) -> PredictEstimate:
    """Say from the headers and a short trial what `predict` would do; nothing is written.

    Raises:
        UsageError: as `predict`.
    """
    batch = open_prediction(folder, out, bundle=bundle, config=config)
    model = batch.model
    sizes, unreadable = [], list(batch.bad)
    for ref in batch.refs:
        try:
            header = read_header(ref)
            sizes.append((header.height * header.width, header.channels))
        except BadFileError as error:
            unreadable.append(BadFile(str(ref.path), str(error)))
    pixels = sum(size for size, _ in sizes)
    largest = max((size * (channels * 8 + len(model.info.classes)) for size, channels in sizes), default=0)
    planes = len(model.info.classes) * (2 if config.probabilities else 1)
    return PredictEstimate(
        scans=len(sizes),
        pixels=pixels,
        seconds=pixels * _trial_seconds_per_pixel(model, config),
        disk_bytes=pixels * planes,
        memory_bytes=largest * max(config.workers, 1),
        quarantined=tuple(unreadable),
    )


def _trial_seconds_per_pixel(model: Bundle, config: PredictConfig) -> float:
    engine, info = engine_for(model.folder, config), model.info
    side = max(_TRIAL_SIDE // info.stride, 1) * info.stride
    inputs = {"image": np.zeros((1, side, side, len(info.channels)), np.float32)}
    if info.guides:
        inputs["guides"] = np.zeros((1, side, side, len(info.guides)), np.float32)
    engine(inputs)  # the first call compiles
    started = time.monotonic()
    for _, outcome in run_units(engine, [inputs] * _TRIAL_CALLS, workers=config.workers):
        if isinstance(outcome, Exception):
            raise outcome
    return (time.monotonic() - started) / (_TRIAL_CALLS * side**2)
