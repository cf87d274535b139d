"""The U-Net.

One function, :func:`build_unet`, makes every network of this project from a :class:`~unetseg.config.ModelConfig`. It
uses plain Keras layers only, so that a saved model loads in safe mode, without custom objects, on any Keras backend.

Reference:
    Ronneberger, Fischer and Brox (2015). U-Net: convolutional networks for biomedical image segmentation.
    https://doi.org/10.1007/978-3-319-24574-4_28
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Final

import keras
import numpy as np

from unetseg.config import ModelConfig
from unetseg.errors import UsageError

__all__ = ["build_unet"]

_DEFAULT_CONFIG: Final = ModelConfig()

# Keras' 0.99 needs some 500 steps before the stored statistics are those of the data: short trainings would validate,
# and predict, with wrong ones.
_MOMENTUM: Final = 0.9

# A prior of 0 or 1 would be an infinite bias, from which no gradient comes back.
_SMALLEST_PRIOR: Final = 1e-4
# Shares of exclusive classes that fill the image may sum to a little more than 1, rounded or lifted off 0 one by one.
_PRIOR_SLACK: Final = 0.01


# --------------------------------------------------------------------------- layers


def _block(x: keras.KerasTensor, filters: int, stage: str, config: ModelConfig) -> keras.KerasTensor:
    """Two times convolution, normalisation, ReLU."""
    normalise = config.normalisation == "batch"
    for i in (1, 2):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=not normalise,  # batch normalisation subtracts any bias again
            kernel_initializer="he_normal",
            name=f"{stage}_conv_{i}",
        )(x)
        if normalise:
            x = keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{stage}_norm_{i}")(x)
        x = keras.layers.ReLU(name=f"{stage}_relu_{i}")(x)
    return x


def _encoder(
    image: keras.KerasTensor, guides: keras.KerasTensor | None, config: ModelConfig
) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """Halve ``depth`` times; returns the lowest features and the features to skip across, finest first."""
    x, skips = image, []
    for level in range(1, config.depth + 1):
        x = _block(x, _filters(level, config), f"encoder_{level}", config)
        skips.append(x)
        x = keras.layers.MaxPooling2D(2, name=f"encoder_{level}_pool")(x)
        if level == 1 and guides is not None:
            x = keras.layers.Concatenate(name="guide_merge")([x, _guide_branch(guides, config)])
    return x, skips


def _guide_branch(guides: keras.KerasTensor, config: ModelConfig) -> keras.KerasTensor:
    """Features of the guides at half resolution, from convolutions of their own."""
    x = _block(guides, _filters(1, config), "guide", config)
    return keras.layers.MaxPooling2D(2, name="guide_pool")(x)


def _bottleneck(x: keras.KerasTensor, config: ModelConfig) -> keras.KerasTensor:
    x = _block(x, _filters(config.depth + 1, config), "bottleneck", config)
    if config.dropout > 0:
        x = keras.layers.Dropout(config.dropout, name="bottleneck_dropout")(x)
    return x


def _decoder(x: keras.KerasTensor, skips: list[keras.KerasTensor], config: ModelConfig) -> keras.KerasTensor:
    """Double as often as the encoder halved, joining the features of each level."""
    for level in range(config.depth, 0, -1):
        stage = f"decoder_{level}"
        x = _up(x, _filters(level, config), f"{stage}_up", config)
        x = keras.layers.Concatenate(name=f"{stage}_skip")([x, skips[level - 1]])
        x = _block(x, _filters(level, config), stage, config)
    return x


def _up(x: keras.KerasTensor, filters: int, name: str, config: ModelConfig) -> keras.KerasTensor:
    """Double height and width, and halve the features, as the first U-Net did."""
    if config.upsampling == "transposed":
        return keras.layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer="he_normal", name=name)(x)
    x = keras.layers.Conv2D(filters, 1, kernel_initializer="he_normal", name=f"{name}_halve")(x)  # while it is small
    return keras.layers.UpSampling2D(2, interpolation=config.upsampling, name=name)(x)


def _head(x: keras.KerasTensor, classes: int, config: ModelConfig) -> keras.KerasTensor:
    """Probabilities of the classes, float32 whatever the precision policy."""
    softmax = config.head == "softmax"
    logits = classes + 1 if softmax else classes
    x = keras.layers.Conv2D(logits, 1, kernel_initializer="he_normal", dtype="float32", name="head")(x)
    x = keras.layers.Activation(config.head, dtype="float32", name="softmax" if softmax else "probabilities")(x)
    if softmax:
        x = keras.layers.Identity(dtype="float32", name="probabilities")(x[..., 1:])  # channel 0 is the background
    return x


def _filters(level: int, config: ModelConfig) -> int:
    return int(config.width * 2 ** (level - 1))


# --------------------------------------------------------------------------- functional model


def build_unet(
    config: ModelConfig = _DEFAULT_CONFIG,
    *,
    input_shape: Sequence[int | None] = (None, None, 1),
    classes: int = 1,
    guides: int = 0,
    class_prior: Sequence[float] | None = None,
) -> keras.Model:
    """Build a U-Net that gives each pixel one probability per class.

    *Input shape*: ``image``, ``(N, H, W, C)``; with guides also ``guides``, ``(N, H, W, G)``. H and W are multiples of
    ``2 ** config.depth``. Arrays are passed by position or, in a dict, by these names.

    *Output shape*: ``probabilities``, ``(N, H, W, K)`` float32 in [0, 1]. With ``head="sigmoid"`` each class is judged
    on its own. With ``head="softmax"`` classes and an unlisted background exclude each other: the softmax runs over
    K + 1 channels and the background (the first of them) is left out, so that the K probabilities sum to at most 1.

    Guides are extra masks. They pass through convolutions of their own and join the image's features after the first
    pooling: stacked onto the image channels, a few binary planes would be lost among the intensities.

    Args:
        config: Depth, width, normalisation, upsampling, dropout and head.
        input_shape: Height, width and channels of the image; None for a height or width that varies.
        classes: Number of classes, K.
        guides: Number of guide planes, G; 0 for a network without guides.
        class_prior: Share of the pixels that belongs to each class. The untrained network then predicts about these
            shares, which spares a rare class the first epochs. None: all logits start at 0.

    Returns:
        An uncompiled ``keras.Model``. Its weights start from Keras' global seed.

    Raises:
        UsageError: An argument breaks its rule.

    Example:
        >>> model = build_unet(ModelConfig(depth=2, width=8), input_shape=(64, 64, 3), classes=2)
        >>> model.output_shape
        (None, 64, 64, 2)
    """
    _check_count("classes", classes, 1)
    _check_count("guides", guides, 0)
    height, width, channels = _checked_shape(input_shape, 2**config.depth)
    bias = None if class_prior is None else _prior_logits(class_prior, classes, config)

    inputs = [keras.Input((height, width, channels), name="image")]
    if guides:
        inputs.append(keras.Input((height, width, guides), name="guides"))
    x, skips = _encoder(inputs[0], inputs[1] if guides else None, config)
    x = _decoder(_bottleneck(x, config), skips, config)
    model = keras.Model(inputs, _head(x, classes, config), name="unet")
    if bias is not None:
        model.get_layer("head").bias.assign(bias)
    return model


def _check_count(argument: str, value: int, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise UsageError(f"{argument}: must be an integer of at least {least}, received {value!r}")


def _checked_shape(shape: Sequence[int | None], stride: int) -> tuple[int | None, int | None, int]:
    shape = tuple(shape)
    if len(shape) == 2:
        cure = ", ".join(map(str, (*shape, 1)))
        raise UsageError(f"input_shape: must have a channel axis, received {shape}; for grey images write ({cure})")
    if len(shape) != 3:
        raise UsageError(f"input_shape: must be (height, width, channels), received {shape}")
    height, width, channels = shape
    _check_side("height", height, stride)
    _check_side("width", width, stride)
    if channels is None:
        raise UsageError(f"input_shape: the number of channels must be given, received {shape}")
    _check_count("input_shape: channels", channels, 1)
    return height, width, channels


def _check_side(side: str, size: int | None, stride: int) -> None:
    """A side that the poolings do not divide would come back smaller than it went in."""
    if size is None:
        return
    _check_count(f"input_shape: {side}", size, 1)
    if size % stride:
        below = size // stride * stride
        nearest = f"{below} and {below + stride}" if below else f"{stride}"
        raise UsageError(
            f"input_shape: {side} must be a multiple of {stride} (2 ** depth), received {size}; "
            f"nearest valid: {nearest}, or None for sizes that vary"
        )


def _prior_logits(prior: Sequence[float], classes: int, config: ModelConfig) -> Sequence[float]:
    """Biases of the head from which it predicts ``prior`` where the features say nothing."""
    p = np.asarray(prior, dtype=np.float64)
    if p.shape != (classes,) or not np.all((p >= 0) & (p <= 1)):
        raise UsageError(f"class_prior: must be {classes} shares in [0, 1], one per class, received {prior!r}")
    p = np.clip(p, _SMALLEST_PRIOR, 1 - _SMALLEST_PRIOR)
    if config.head == "sigmoid":
        return list(np.log(p) - np.log1p(-p))
    if sum(prior) > 1 + _PRIOR_SLACK:
        raise UsageError(f"class_prior: exclusive classes (softmax) must sum to at most 1, received {prior!r}")
    background = max(1 - p.sum(), _SMALLEST_PRIOR)
    return list(np.log([background, *p]))
