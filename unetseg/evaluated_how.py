"""How the network ran when a model was evaluated, and what bfloat16 changes in its probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from unetseg.bundle import Bundle
from unetseg.config import PredictConfig
from unetseg.dataset import Dataset
from unetseg.engine_choice import settled
from unetseg.engines import engine_for
from unetseg.same_scans import inference_today
from unetseg.scoring import scan_probabilities
from unetseg.tile_size import tile_side

__all__ = ["bfloat16_change", "inference_record"]


def inference_record(bundle: Bundle, config: PredictConfig, dataset: Dataset | None = None) -> dict[str, Any]:
    """What an evaluation keeps of how the network ran.

    Args:
        bundle: the model.
        config: the settings of prediction.
        dataset: on whose validation scans float32 is compared, where the network runs in bfloat16; None: on none.

    Returns:
        ``flips`` and ``tile``: as `inference_today` has them; ``precision``; ``change``: as `bfloat16_change` has it,
        None where nothing is compared.
    """
    config = settled(config, bundle.folder)
    compared = dataset is not None and config.precision == "bfloat16"
    change = bfloat16_change(bundle, dataset, config) if dataset is not None and compared else None
    return inference_today(bundle.info, config) | {"precision": config.precision, "change": change}


def bfloat16_change(bundle: Bundle, dataset: Dataset, config: PredictConfig) -> dict[str, Any]:
    """How far probabilities in bfloat16 are from those in float32, on the validation scans.

    Returns:
        ``max`` and ``mean`` of the absolute differences over all pixels and classes, and the number of ``scans``.
    """
    exact, rounded = (engine_for(bundle.folder, replace(config, precision=name)) for name in ("float32", "bfloat16"))
    tile = tile_side(bundle.info, config.tile)
    largest, total, pixels = 0.0, 0.0, 0
    scans = dataset.scans("validation")
    for scan in scans:
        pieces = (scan_probabilities(engine, bundle, dataset, scan, tile) for engine in (exact, rounded))
        for (_, before), (_, after) in zip(*pieces, strict=True):
            difference = np.abs(after - before)
            largest = max(largest, float(difference.max()))
            total += float(difference.sum(dtype=np.float64))
            pixels += difference.size
    return {"max": largest, "mean": total / max(pixels, 1), "scans": len(scans)}
