"""Losses as pure functions, which `unetseg.losses` makes Keras losses of.

They share one contract:

*Input shape*: ``y_true``, ``(N, H, W, K)``: 1 in the class, 0 outside, negative to ignore the pixel for that class.
``y_pred``, ``(N, H, W, K)``: probabilities in [0, 1].

*Output shape*: ``(N,)``, one value per sample, or ``()`` where the loss is of the batch as a whole.

Ignored entries count neither in sums nor in their divisors, and get no gradient. All arithmetic is float32: a float16
sum overflows on the pixels of one patch. Patches of background only and absent classes give finite values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import keras
from keras import ops

from unetseg.loss_arguments import check_class_weights, check_focal, check_focal_tversky, check_shapes, check_tversky

__all__ = [
    "dice_loss",
    "focal",
    "focal_tversky",
    "mean_over_measurable",
    "measurable_classes",
    "tversky",
    "weighted_binary_crossentropy",
]

# Keeps logarithms and powers finite; the smallest distance from 1 that float32 can still tell.
_EPSILON: Final = 1e-7
_PIXEL_AXES: Final = (1, 2)


def weighted_binary_crossentropy(
    y_true: keras.KerasTensor, y_pred: keras.KerasTensor, *, class_weights: Sequence[float] | None = None
) -> keras.KerasTensor:
    """Binary cross-entropy in which the foreground of rare classes can count more.

    *Formula*, y and p being ``y_true`` and ``y_pred``, w the weight of the class::

        loss = -mean(w * y * log(p) + (1 - y) * log(1 - p))    over the entries that count

    Args:
        y_true: ``(N, H, W, K)``: 1, 0, or negative to ignore.
        y_pred: ``(N, H, W, K)`` probabilities.
        class_weights: One weight per class, multiplied onto its foreground term; None: 1.

    Returns:
        ``(N,)``: the share of each sample; their mean is the mean over the entries of the batch that count.
    """
    y, p, counted = _prepare(y_true, y_pred)
    check_class_weights(class_weights, p.shape[-1])
    p = ops.clip(p, _EPSILON, 1 - _EPSILON)
    weight = 1.0 if class_weights is None else ops.convert_to_tensor(class_weights, dtype="float32")
    return _mean_counted(-(weight * y * ops.log(p) + (1 - y) * ops.log(1 - p)), counted)


def focal(
    y_true: keras.KerasTensor, y_pred: keras.KerasTensor, *, gamma: float = 2.0, alpha: float | None = None
) -> keras.KerasTensor:
    """Cross-entropy in which pixels that are already right hardly count.

    *Formula*::

        loss = -mean(a * y * (1 - p) ** gamma * log(p) + (1 - a) * (1 - y) * p ** gamma * log(1 - p))

    Args:
        y_true: ``(N, H, W, K)``: 1, 0, or negative to ignore.
        y_pred: ``(N, H, W, K)`` probabilities.
        gamma: How fast easy pixels fade; 0: not at all.
        alpha: Weight of the foreground, ``a``, the background having ``1 - a``; None: both 1.

    Returns:
        ``(N,)``: the share of each sample; their mean is the mean over the entries of the batch that count.

    Reference:
        Lin et al. (2017). Focal loss for dense object detection. https://doi.org/10.1109/ICCV.2017.324
    """
    check_focal(gamma, alpha)
    y, p, counted = _prepare(y_true, y_pred)
    p = ops.clip(p, _EPSILON, 1 - _EPSILON)
    foreground, background = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    missed = foreground * y * ops.power(1 - p, gamma) * ops.log(p)
    invented = background * (1 - y) * ops.power(p, gamma) * ops.log(1 - p)
    return _mean_counted(-(missed + invented), counted)


def dice_loss(
    y_true: keras.KerasTensor, y_pred: keras.KerasTensor, *, smooth: float = 1.0, per_batch: bool = True
) -> keras.KerasTensor:
    """One minus the soft Dice coefficient, mean over the classes.

    *Formula*, per class::

        loss = 1 - (2 * sum(y * p) + smooth) / (sum(y) + sum(p) + smooth)

    A class that is absent gives 0 when nothing is predicted and nears 1 as more is.

    Args:
        y_true: ``(N, H, W, K)``: 1, 0, or negative to ignore.
        y_pred: ``(N, H, W, K)`` probabilities.
        smooth: Pixels added to numerator and denominator.
        per_batch: Sum over batch and pixels, which is steadier where a class is in few patches; else over the pixels
            of each sample.

    Returns:
        ``()`` per batch, else ``(N,)``. Classes of which no entry counts are left out of the mean.

    Reference:
        Milletari, Navab and Ahmadi (2016). V-Net. https://doi.org/10.1109/3DV.2016.79
    """
    # Dice is the Tversky index that weighs false positives and false negatives alike, by a half.
    return tversky(y_true, y_pred, alpha=0.5, beta=0.5, smooth=smooth / 2, per_batch=per_batch)


def tversky(
    y_true: keras.KerasTensor,
    y_pred: keras.KerasTensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
    per_batch: bool = True,
) -> keras.KerasTensor:
    """One minus the soft Tversky index, mean over the classes: Dice that can lean to recall or to precision.

    *Formula*, per class, with TP = sum(y * p), FP = sum((1 - y) * p), FN = sum(y * (1 - p))::

        loss = 1 - (TP + smooth) / (TP + alpha * FP + beta * FN + smooth)

    Args:
        y_true: ``(N, H, W, K)``: 1, 0, or negative to ignore.
        y_pred: ``(N, H, W, K)`` probabilities.
        alpha: Weight of false positives.
        beta: Weight of false negatives; above ``alpha`` it leans to recall.
        smooth: Pixels added to numerator and denominator.
        per_batch: Sum over batch and pixels, else over the pixels of each sample.

    Returns:
        ``()`` per batch, else ``(N,)``. Classes of which no entry counts are left out of the mean.

    Reference:
        Salehi, Erdogmus and Gholipour (2017). Tversky loss function for image segmentation using 3D fully
        convolutional deep networks. https://doi.org/10.1007/978-3-319-67389-9_44
    """
    distances, measurable = _tversky_distances(y_true, y_pred, alpha, beta, smooth, per_batch)
    return mean_over_measurable(distances, measurable)


def focal_tversky(
    y_true: keras.KerasTensor,
    y_pred: keras.KerasTensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    smooth: float = 1.0,
    per_batch: bool = True,
) -> keras.KerasTensor:
    """Tversky loss in which classes that are already found still count: small structures are refined to the end.

    *Formula*, per class, TI being the Tversky index of :func:`tversky`::

        loss = (1 - TI) ** (1 / gamma)

    The publication calls the weights the other way round: its alpha is ``beta`` here and everywhere else.

    Args:
        y_true: ``(N, H, W, K)``: 1, 0, or negative to ignore.
        y_pred: ``(N, H, W, K)`` probabilities.
        alpha: Weight of false positives.
        beta: Weight of false negatives; above ``alpha`` it leans to recall.
        gamma: Above 1 the gradient grows as a class gets better; 1: plain Tversky.
        smooth: Pixels added to numerator and denominator.
        per_batch: Sum over batch and pixels, else over the pixels of each sample.

    Returns:
        ``()`` per batch, else ``(N,)``. Classes of which no entry counts are left out of the mean.

    Reference:
        Abraham and Khan (2019). A novel focal Tversky loss function with improved attention U-Net for lesion
        segmentation. https://doi.org/10.1109/ISBI.2019.8759329
    """
    check_focal_tversky(gamma)
    distances, measurable = _tversky_distances(y_true, y_pred, alpha, beta, smooth, per_batch)
    # At 0 the gradient of the power would be infinite.
    return mean_over_measurable(ops.power(ops.maximum(distances, _EPSILON), 1 / gamma), measurable)


# --------------------------------------------------------------------------- what they share


def _prepare(
    y_true: keras.KerasTensor, y_pred: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Masks and probabilities, 0 where ignored, and 1 for each entry that counts, all float32."""
    y_true = ops.convert_to_tensor(y_true, dtype="float32")
    y_pred = ops.convert_to_tensor(y_pred, dtype="float32")
    check_shapes(y_true.shape, y_pred.shape)
    counts = y_true >= 0
    # `where`, not a product: what the network says on ignored pixels may even be NaN.
    return ops.maximum(y_true, 0.0), ops.where(counts, y_pred, 0.0), ops.cast(counts, "float32")


def _mean_counted(terms: keras.KerasTensor, counted: keras.KerasTensor) -> keras.KerasTensor:
    """Per sample, so that Keras' sample weights work; divided so that the batch mean is that of all counted entries."""
    entries_per_sample = ops.mean(ops.sum(counted, axis=(*_PIXEL_AXES, 3)))
    return ops.sum(terms * counted, axis=(*_PIXEL_AXES, 3)) / ops.maximum(entries_per_sample, _EPSILON)


def _tversky_distances(
    y_true: keras.KerasTensor,
    y_pred: keras.KerasTensor,
    alpha: float,
    beta: float,
    smooth: float,
    per_batch: bool,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """One minus the Tversky index of each class, and 1 for each class of which some entry counts."""
    check_tversky(alpha, beta, smooth)
    y, p, _ = _prepare(y_true, y_pred)
    axes = _summed_axes(per_batch)
    hits = ops.sum(y * p, axis=axes)
    errors = alpha * (ops.sum(p, axis=axes) - hits) + beta * (ops.sum(y, axis=axes) - hits)
    return errors / (hits + errors + smooth), measurable_classes(y_true, per_batch=per_batch)


def measurable_classes(y_true: keras.KerasTensor, *, per_batch: bool) -> keras.KerasTensor:
    """1 for each class of which some entry counts, else 0: ``(K,)`` per batch, else ``(N, K)``."""
    counts = ops.convert_to_tensor(y_true, dtype="float32") >= 0
    return ops.cast(ops.any(counts, axis=_summed_axes(per_batch)), "float32")


def _summed_axes(per_batch: bool) -> tuple[int, ...]:
    return (0, *_PIXEL_AXES) if per_batch else _PIXEL_AXES


def mean_over_measurable(values: keras.KerasTensor, measurable: keras.KerasTensor) -> keras.KerasTensor:
    """Mean over the classes (last axis) that can be measured; 0 where none can."""
    return ops.sum(values * measurable, axis=-1) / ops.maximum(ops.sum(measurable, axis=-1), 1.0)
