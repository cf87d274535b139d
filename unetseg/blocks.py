"""The parts of the U-Net: blocks of convolutions, doubling, attention gates, guide branches and multi-scale fusion.

Plain Keras layers only, so that a saved model loads in safe mode. Each part is a function of tensors; its layers are
named after the place where they sit: ``encoder_1_conv_1``, ``decoder_2_attention``, ``guide_1_pool``.
All take a config that :func:`unetseg.model_rules.resolved` has filled in.
"""

from __future__ import annotations

import math
from typing import Final

import keras

from unetseg.config import ModelConfig, Upsampling

__all__ = ["attention_gate", "conv_block", "double", "dropout", "filters_of", "fused", "guide_branches"]

# Keras' 0.99 needs some 500 steps before the stored statistics are those of the data: short trainings would validate,
# and predict, with wrong ones.
_MOMENTUM: Final = 0.9
_GROUPS: Final = 8  # at most; the paper's 32 would leave the first levels one or two channels a group
_LEAK: Final = 0.01  # slope below zero, as in nnU-Net; Keras' 0.2 or 0.3 is meant for generators


def filters_of(level: int, config: ModelConfig) -> int:
    """Filters of a level: the finest is 1, the bottleneck ``depth + 1``."""
    return min(config.width << (level - 1), config.max_width)


# --------------------------------------------------------------------------- blocks


def conv_block(x: keras.KerasTensor, filters: int, stage: str, config: ModelConfig) -> keras.KerasTensor:
    """Two times convolution, normalisation, activation; size kept.

    A residual block adds its input before the last activation (He et al. 2016,
    https://doi.org/10.1109/CVPR.2016.90); a 1x1 convolution brings the input to the same number of features where
    that differs.
    """
    shortcut = x
    for i in (1, 2):
        summed = i == 2 and config.block == "residual"
        x = _convolution(x, filters, 3, f"{stage}_conv_{i}", config, summed=summed)
        x = _normalised(x, f"{stage}_norm_{i}", config)
        if summed:
            x = keras.layers.Add(name=f"{stage}_sum")([x, _projected(shortcut, filters, stage, config)])
        x = _activated(x, f"{stage}_{config.activation}_{i}", config)
    return x


def _convolution(
    x: keras.KerasTensor, filters: int, size: int, name: str, config: ModelConfig, *, summed: bool = False
) -> keras.KerasTensor:
    """A convolution; of two that are ``summed`` each starts with half the variance, so that the sum has all of it."""
    return keras.layers.Conv2D(
        filters,
        size,
        padding="same",
        use_bias=config.normalisation == "none",  # normalisation brings an offset of its own
        kernel_initializer="lecun_normal" if summed else "he_normal",
        name=name,
    )(x)


def _projected(x: keras.KerasTensor, filters: int, stage: str, config: ModelConfig) -> keras.KerasTensor:
    if x.shape[-1] == filters:
        return x
    x = _convolution(x, filters, 1, f"{stage}_shortcut", config, summed=True)
    return _normalised(x, f"{stage}_shortcut_norm", config)


def _normalised(x: keras.KerasTensor, name: str, config: ModelConfig) -> keras.KerasTensor:
    """Batch, group or instance normalisation.

    Group normalisation: Wu and He (2018), https://doi.org/10.1007/978-3-030-01261-8_1. Instance normalisation is the
    same with one channel a group.
    """
    if config.normalisation == "none":
        return x
    if config.normalisation == "batch":
        return keras.layers.BatchNormalization(momentum=_MOMENTUM, name=name)(x)
    groups = math.gcd(_GROUPS, x.shape[-1]) if config.normalisation == "group" else -1
    return keras.layers.GroupNormalization(groups, name=name)(x)


def _activated(x: keras.KerasTensor, name: str, config: ModelConfig) -> keras.KerasTensor:
    if config.activation == "relu":
        return keras.layers.ReLU(name=name)(x)
    if config.activation == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=_LEAK, name=name)(x)
    return keras.layers.Activation(config.activation, name=name)(x)


def dropout(x: keras.KerasTensor, share: float, stage: str) -> keras.KerasTensor:
    """Drop this share of the features in training; no layer where it is 0."""
    return keras.layers.Dropout(share, name=f"{stage}_dropout")(x) if share > 0 else x


def double(x: keras.KerasTensor, filters: int, how: Upsampling, name: str) -> keras.KerasTensor:
    """Double height and width, and change the number of features, as the first U-Net did."""
    if how == "transposed":
        return _upsampled(x, 2, how, name, filters)
    x = _features(x, filters, f"{name}_halve")  # while it is small
    return _upsampled(x, 2, how, name, filters)


def _features(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Other features of the same pixels, linear: a convolution that is normalised follows."""
    return keras.layers.Conv2D(filters, 1, kernel_initializer="he_normal", name=name)(x)


def _upsampled(x: keras.KerasTensor, factor: int, how: Upsampling, name: str, filters: int) -> keras.KerasTensor:
    if how == "nearest":
        return keras.layers.UpSampling2D(factor, name=name)(x)
    if how == "transposed":
        layer = keras.layers.Conv2DTranspose(filters, factor, strides=factor, kernel_initializer="he_normal", name=name)
        return layer(x)
    for scale in (2**k for k in range(1, factor.bit_length() - 1)):
        x = _doubled_smoothly(x, f"{name}_{scale}")
    return _doubled_smoothly(x, name)


def _doubled_smoothly(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Bilinear interpolation between the centres of pixels, the edges repeated: what ``UpSampling2D`` calls bilinear.

    Along each axis pixels are repeated and then weighed 1/4, 1/2, 1/4, which is a quarter of each and three quarters
    of the mean of three; the mean leaves out what lies beyond the edge. ``UpSampling2D`` itself cannot be traced by
    TensorFlow for sizes that vary: Keras 3.15 compares them with 0, https://github.com/keras-team/keras/pull/22079.
    """
    for axis, size, window, last in (("rows", (2, 1), (3, 1), f"{name}_rows"), ("columns", (1, 2), (1, 3), name)):
        repeated = keras.layers.UpSampling2D(size, name=f"{name}_{axis}_repeat")(x)
        mean = keras.layers.AveragePooling2D(window, strides=1, padding="same", name=f"{name}_{axis}_mean")(repeated)
        x = keras.layers.Average(name=last)([repeated, mean, mean, mean])
    return x


# --------------------------------------------------------------------------- what joins the decoder


def attention_gate(skip: keras.KerasTensor, gate: keras.KerasTensor, stage: str) -> keras.KerasTensor:
    """Weigh each pixel of the skipped features by a number in (0, 1) that they and the decoder's features agree on.

    *Formula*: ``skip * sigmoid(psi(relu(theta(skip) + phi(gate))))``, all three 1x1 convolutions, theta without bias.
    Both inputs are ``(N, h, w, F)``: the gate is taken after the doubling, so that nothing is resampled here.

    Reference:
        Oktay et al. (2018). Attention U-Net. https://doi.org/10.48550/arXiv.1804.03999
    """
    name, inner = f"{stage}_attention", max(skip.shape[-1] // 2, 1)
    theta = keras.layers.Conv2D(inner, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_theta")(skip)
    phi = _features(gate, inner, f"{name}_phi")
    x = keras.layers.Add(name=f"{name}_sum")([theta, phi])
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    weights = keras.layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_psi")(x)
    return keras.layers.Multiply(name=name)([skip, weights])


def fused(skips: list[keras.KerasTensor], level: int, config: ModelConfig) -> list[keras.KerasTensor]:
    """Features of the neighbouring encoder levels, each brought to ``level`` with ``width`` features.

    Finer levels are max-pooled, coarser ones upsampled; 1x1 convolutions do the rest while the features are small. The
    bottleneck is no encoder level: its features come up through the decoder.

    Args:
        skips: features of the encoder levels, finest first.
        level: of the decoder, from 1.
        config: ``fusion`` says how many levels on either side.

    Reference:
        Huang et al. (2020). UNet 3+. https://doi.org/10.1109/ICASSP40776.2020.9053405
    """
    first, last = max(1, level - config.fusion), min(len(skips), level + config.fusion)
    return [
        _brought(skips[source - 1], source - level, f"decoder_{level}_from_encoder_{source}", config)
        for source in range(first, last + 1)
        if source != level
    ]


def _brought(x: keras.KerasTensor, halvings: int, name: str, config: ModelConfig) -> keras.KerasTensor:
    """Bring features that were halved so often more (or, below 0, less often) to the size of their target."""
    if halvings < 0:
        return _features(keras.layers.MaxPooling2D(2**-halvings, name=f"{name}_pool")(x), config.width, name)
    x = _features(x, config.width, f"{name}_narrow")
    return _upsampled(x, 2**halvings, config.fusion_upsampling, name, config.width)


def guide_branches(guides: keras.KerasTensor, config: ModelConfig) -> list[keras.KerasTensor]:
    """Features of each guide at half resolution, each from convolutions of its own.

    Args:
        guides: ``(N, H, W, G)``.
        config: of the network.

    Returns:
        G tensors, ``(N, H / 2, W / 2, width)``.
    """
    branches = []
    for g in range(guides.shape[-1]):
        stage = f"guide_{g + 1}"
        x = conv_block(guides[..., g : g + 1], filters_of(1, config), stage, config)
        branches.append(keras.layers.MaxPooling2D(2, name=f"{stage}_pool")(x))
    return branches
