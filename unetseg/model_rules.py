"""What `build_unet` accepts: its arguments checked, and what they leave open filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Final

import numpy as np

from unetseg.config import ModelConfig
from unetseg.errors import UsageError
from unetseg.plan import planned_depth, planned_width

__all__ = ["check_count", "checked_shape", "prior_logits", "resolved"]

# A prior of 0 or 1 would be an infinite bias, from which no gradient comes back.
_SMALLEST_PRIOR: Final = 1e-4
# Shares of exclusive classes that fill the image may sum to a little more than 1, rounded or lifted off 0 one by one.
_PRIOR_SLACK: Final = 0.01


def resolved(config: ModelConfig, height: int | None, width: int | None) -> ModelConfig:
    """The config with nothing left open.

    Args:
        config: depth and width may be 0, upsampling and dropout may be one value for all levels.
        height: of the image in pixels; None where it varies.
        width: the same.

    Returns:
        The config with depth and width above 0, ``depth`` ways of upsampling, and ``depth + 1`` shares of dropout.

    Raises:
        UsageError: Settings contradict the depth.
    """
    depth = config.depth or planned_depth(min((side for side in (height, width) if side), default=None))
    _check_length("upsampling", config.upsampling, depth, "one per decoder level, finest first")
    _check_length("dropout", config.dropout, depth + 1, "one per encoder level, finest first, and the lowest")
    for name in ("outputs", "fusion"):
        if (value := getattr(config, name)) > depth:
            raise UsageError(
                f"model.{name}: must be at most the depth of the network, {depth}, received {value}; "
                f"use {depth} or less, or a larger model.depth"
            )
    dropout = config.dropout if len(config.dropout) > 1 else (0.0,) * depth + config.dropout
    upsampling = config.upsampling if len(config.upsampling) > 1 else config.upsampling * depth
    filters = config.width or planned_width(gpu=False)
    return replace(config, depth=depth, width=filters, upsampling=upsampling, dropout=dropout)


def _check_length(name: str, values: tuple[Any, ...], wanted: int, meaning: str) -> None:
    if len(values) not in {1, wanted}:
        raise UsageError(
            f"model.{name}: must be 1 value or {wanted} ({meaning}), received {len(values)}: {values}; "
            f"give 1 or {wanted}, or another model.depth"
        )


def check_count(argument: str, value: int, least: int) -> None:
    """Refuse anything but an integer of at least ``least``."""
    if not isinstance(value, Integral) or value < least:
        raise UsageError(f"{argument}: must be an integer of at least {least}, received {value!r}")


def checked_shape(shape: Sequence[int | None]) -> tuple[int | None, int | None, int]:
    """Height, width and channels of an image.

    Raises:
        UsageError: There are not three, a side is below 1, or there is no number of channels.
    """
    shape = tuple(shape)
    if len(shape) == 2:
        cure = ", ".join(map(str, (*shape, 1)))
        raise UsageError(f"input_shape: must have a channel axis, received {shape}; for grey images write ({cure})")
    if len(shape) != 3:
        raise UsageError(f"input_shape: must be (height, width, channels), received {shape}")
    height, width, channels = shape
    for name, side in (("height", height), ("width", width)):
        if side is not None:
            check_count(f"input_shape: {name}", side, 1)
    if channels is None:
        raise UsageError(f"input_shape: the number of channels must be given, received {shape}")
    check_count("input_shape: channels", channels, 1)
    return height, width, channels


def prior_logits(prior: Sequence[float], classes: int, config: ModelConfig) -> list[float]:
    """Biases of a head from which it predicts ``prior`` where the features say nothing.

    Args:
        prior: share of the pixels of each class, in [0, 1].
        classes: their number, K.
        config: of the network: with softmax the background comes first.

    Returns:
        K logits, K + 1 with softmax.

    Raises:
        UsageError: There are not K shares, or exclusive classes sum to more than 1.
    """
    p = np.asarray(prior, dtype=np.float64)
    if p.shape != (classes,) or not np.all((p >= 0) & (p <= 1)):
        raise UsageError(f"class_prior: must be {classes} shares in [0, 1], one per class, received {prior!r}")
    p = np.clip(p, _SMALLEST_PRIOR, 1 - _SMALLEST_PRIOR)
    if config.head == "sigmoid":
        return list(np.log(p) - np.log1p(-p))
    if sum(prior) > 1 + _PRIOR_SLACK:
        raise UsageError(
            f"class_prior: exclusive classes (softmax) must sum to at most 1, received {prior!r}; "
            "for classes that overlap set model.head to sigmoid"
        )
    background = max(1 - p.sum(), _SMALLEST_PRIOR)
    return list(np.log([background, *p]))
