"""The U-Net.

One function, :func:`build_unet`, makes every network of this project from a :class:`~unetseg.config.ModelConfig`. It
uses plain Keras layers only, so that a saved model loads in safe mode, without custom objects, on any Keras backend.

Reference:
    Ronneberger, Fischer and Brox (2015). U-Net: convolutional networks for biomedical image segmentation.
    https://doi.org/10.1007/978-3-319-24574-4_28
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from unetseg.blocks import attention_gate, conv_block, double, dropout, filters_of, fused, guide_branches
from unetseg.config import ModelConfig
from unetseg.heads import heads_of
from unetseg.model_rules import check_count, checked_shape, prior_logits, resolved

__all__ = ["build_unet"]


def build_unet(
    config: ModelConfig = ModelConfig(),
    *,
    input_shape: Sequence[int | None] = (None, None, 1),
    classes: int = 1,
    guides: int = 0,
    class_prior: Sequence[float] | None = None,
) -> keras.Model:
    """Build a U-Net that gives each pixel one probability per class.

    *Input shape*: ``image``, ``(N, H, W, C)``; with guides also ``guides``, ``(N, H, W, G)``. Arrays are passed by
    position or, in a dict, by these names. A height or width that is given may be any: the graph pads with zeros at
    the bottom and on the right up to a multiple of ``2 ** depth``, and cuts its outputs. Where None is given, arrays
    must have multiples of ``2 ** depth``; :func:`unetseg.any_size.predict_any_size` pads others.

    *Output shape*: ``probabilities``, ``(N, H, W, K)`` float32 in [0, 1]. With ``head="sigmoid"`` each class is judged
    on its own. With ``head="softmax"`` classes and an unlisted background exclude each other: the softmax runs over
    K + 1 channels and the background (the first of them) is left out, so that the K probabilities sum to at most 1.
    With ``outputs=3`` the output is a dict of ``probabilities``, ``probabilities_2`` and ``probabilities_4`` of 1, 1/2
    and 1/4 of the size, rounded up; see :func:`unetseg.heads.main_output`.

    Guides are extra masks. Each passes through convolutions of its own and joins the image's features after the first
    pooling: stacked onto the image channels, a few binary planes would be lost among the intensities.

    Args:
        config: Everything about the layers. A depth of 0 follows from the shorter side that is given.
        input_shape: Height, width and channels of the image; None for a height or width that varies.
        classes: Number of classes, K.
        guides: Number of guide planes, G; 0 for a network without guides.
        class_prior: Share of the pixels that belongs to each class. The untrained network then predicts about these
            shares, at every scale, which spares a rare class the first epochs. None: all logits start at 0.

    Returns:
        An uncompiled ``keras.Model``. Its weights start from Keras' global seed.

    Raises:
        UsageError: An argument breaks its rule, or settings contradict each other.

    Example:
        >>> model = build_unet(ModelConfig(depth=2, width=8), input_shape=(64, 64, 3), classes=2)
        >>> model.output_shape
        (None, 64, 64, 2)
    """
    check_count("classes", classes, 1)
    check_count("guides", guides, 0)
    height, width, channels = checked_shape(input_shape)
    config = resolved(config, height, width)
    bias = None if class_prior is None else prior_logits(class_prior, classes, config)

    inputs = [keras.Input((height, width, channels), name="image")]
    if guides:
        inputs.append(keras.Input((height, width, guides), name="guides"))
    padded = [_padded(x, 2**config.depth) for x in inputs]
    lowest, skips = _encoder(padded[0], padded[1] if guides else None, config)
    features = _decoder(lowest, skips, config)
    return keras.Model(inputs, heads_of(features, classes, (height, width), config, bias), name="unet")


def _padded(x: keras.KerasTensor, stride: int) -> keras.KerasTensor:
    """Zeros at the bottom and on the right of given sizes that the poolings do not divide."""
    missing = tuple((0, 0 if size is None else -size % stride) for size in x.shape[1:3])
    if missing == ((0, 0), (0, 0)):
        return x
    return keras.layers.ZeroPadding2D(missing, name=f"{x.name}_pad")(x)


def _encoder(
    image: keras.KerasTensor, guides: keras.KerasTensor | None, config: ModelConfig
) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """Halve ``depth`` times; returns the lowest features and the features to skip across, finest first."""
    x, skips = image, []
    for level in range(1, config.depth + 1):
        stage = f"encoder_{level}"
        x = conv_block(x, filters_of(level, config), stage, config)
        x = dropout(x, config.dropout[level - 1], stage)
        skips.append(x)
        x = keras.layers.MaxPooling2D(2, name=f"{stage}_pool")(x)
        if level == 1 and guides is not None:
            x = keras.layers.Concatenate(name="guide_merge")([x, *guide_branches(guides, config)])
    x = conv_block(x, filters_of(config.depth + 1, config), "bottleneck", config)
    return dropout(x, config.dropout[-1], "bottleneck"), skips


def _decoder(x: keras.KerasTensor, skips: list[keras.KerasTensor], config: ModelConfig) -> list[keras.KerasTensor]:
    """Double as often as the encoder halved, joining the features of each level; returns all levels, finest first."""
    features: list[keras.KerasTensor] = []
    for level in range(config.depth, 0, -1):
        stage, filters = f"decoder_{level}", filters_of(level, config)
        x = double(x, filters, config.upsampling[level - 1], f"{stage}_up")
        skip = skips[level - 1]
        if config.attention:
            skip = attention_gate(skip, x, stage)
        x = keras.layers.Concatenate(name=f"{stage}_skip")([x, skip, *fused(skips, level, config)])
        x = conv_block(x, filters, stage, config)
        features.insert(0, x)
    return features
