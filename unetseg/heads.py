"""Where probabilities come out: one head per scale, what they are called, and the network with the main one alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import keras

from unetseg.config import ModelConfig
from unetseg.errors import UsageError

__all__ = ["heads_of", "main_output", "output_scales"]

_MAIN: Final = "probabilities"


def output_scales(model: keras.Model) -> dict[str, int]:
    """By how much each output of a U-Net is smaller than its input, the main one first.

    Args:
        model: from :func:`unetseg.model.build_unet`, or loaded again.

    Returns:
        ``{"probabilities": 1, "probabilities_2": 2, ...}``: sizes are ``ceil(size / scale)``.

    Raises:
        UsageError: The outputs have other names.
    """
    names = set(model.output) if isinstance(model.output, dict) else set(model.output_names)
    scales = {_named(_MAIN, 2**k): 2**k for k in range(len(names))}
    if set(scales) != names:
        raise UsageError(f"model: outputs must be {', '.join(scales)}, received {', '.join(sorted(names))}")
    return scales


def main_output(model: keras.Model) -> keras.Model:
    """The same layers with the full-size output only: what predicts once multi-scale training is over.

    Returns:
        A model of one output tensor, ``(N, H, W, K)``, that shares its weights with ``model`` and is not compiled;
        ``model`` itself where it has one output.
    """
    if not isinstance(model.output, dict):
        return model
    return keras.Model(model.inputs, model.output[_MAIN], name=model.name)


def heads_of(
    features: Sequence[keras.KerasTensor],
    classes: int,
    sides: tuple[int | None, int | None],
    config: ModelConfig,
    bias: Sequence[float] | None,
) -> keras.KerasTensor | dict[str, keras.KerasTensor]:
    """Probabilities from the finest ``config.outputs`` levels of the decoder.

    Several outputs let the lower levels learn from masks of their own size: deep supervision, Lee et al. (2015),
    https://doi.org/10.48550/arXiv.1409.5185.

    Args:
        features: of the decoder levels, finest first.
        classes: number of classes.
        sides: height and width of the image, None where they vary: what was padded is cut off again.
        config: of the network.
        bias: of the logits; None: 0.

    Returns:
        One tensor, or a dict of them by name where there are several.
    """
    found = {}
    for level in range(config.outputs):
        scale = 2**level
        logits = _cropped(_logits(features[level], classes, scale, config, bias), sides, scale)
        found[_named(_MAIN, scale)] = _probabilities(logits, scale, config)
    return found if config.outputs > 1 else found[_MAIN]


def _named(name: str, scale: int) -> str:
    return name if scale == 1 else f"{name}_{scale}"


def _logits(
    x: keras.KerasTensor, classes: int, scale: int, config: ModelConfig, bias: Sequence[float] | None
) -> keras.KerasTensor:
    """Float32 whatever the precision policy: half precision would round probabilities near 1 to 1."""
    count = classes + 1 if config.head == "softmax" else classes
    layer = keras.layers.Conv2D(count, 1, kernel_initializer="he_normal", dtype="float32", name=_named("head", scale))
    logits = layer(x)
    if bias is not None:
        layer.bias.assign(bias)
    return logits


def _cropped(x: keras.KerasTensor, sides: tuple[int | None, int | None], scale: int) -> keras.KerasTensor:
    """Cut off, at the bottom and on the right, what comes from padding alone."""
    excess = [
        0 if side is None else have - math.ceil(side / scale) for have, side in zip(x.shape[1:3], sides, strict=True)
    ]
    if not any(excess):
        return x
    cut = tuple((0, pixels) for pixels in excess)
    return keras.layers.Cropping2D(cut, dtype="float32", name=_named("crop", scale))(x)


def _probabilities(logits: keras.KerasTensor, scale: int, config: ModelConfig) -> keras.KerasTensor:
    name = _named(_MAIN, scale)
    if config.head == "sigmoid":
        return keras.layers.Activation("sigmoid", dtype="float32", name=name)(logits)
    x = keras.layers.Activation("softmax", dtype="float32", name=_named("softmax", scale))(logits)
    return keras.layers.Identity(dtype="float32", name=name)(x[..., 1:])  # channel 0 is the background
