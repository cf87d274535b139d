"""Losses for overlapping classes, rare classes and pixels that do not count.

Each loss is a pure function and a thin ``keras.losses.Loss`` around it; :class:`CompositeLoss` adds several by name.
They share one contract:

*Input shape*: ``y_true``, ``(N, H, W, K)``: 1 in the class, 0 outside, negative to ignore the pixel for that class.
``y_pred``, ``(N, H, W, K)``: probabilities in [0, 1].

*Output shape*: ``(N,)``, one value per sample, or ``()`` where the loss is of the batch as a whole.

Ignored entries count neither in sums nor in their divisors, and get no gradient. All arithmetic is float32: a float16
sum overflows on the pixels of one patch. Patches of background only and absent classes give finite values.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import keras
from keras import ops

from unetseg.errors import UsageError

__all__ = [
    "CompositeLoss",
    "Dice",
    "Focal",
    "FocalTversky",
    "Tversky",
    "WeightedBinaryCrossentropy",
    "dice_loss",
    "focal",
    "focal_tversky",
    "tversky",
    "weighted_binary_crossentropy",
]

# Keeps logarithms and powers finite; the smallest distance from 1 that float32 can still tell.
_EPSILON: Final = 1e-7
_PIXEL_AXES: Final = (1, 2)

_Option: TypeAlias = float | Sequence[float] | None


# --------------------------------------------------------------------------- functions


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
    _check_class_weights(class_weights, p.shape[-1])
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
    _check_focal(gamma, alpha)
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
    return _mean_measurable(distances, measurable)


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
    _check_focal_tversky(gamma)
    distances, measurable = _tversky_distances(y_true, y_pred, alpha, beta, smooth, per_batch)
    # At 0 the gradient of the power would be infinite.
    return _mean_measurable(ops.power(ops.maximum(distances, _EPSILON), 1 / gamma), measurable)


# --------------------------------------------------------------------------- what the functions share


def _prepare(
    y_true: keras.KerasTensor, y_pred: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Masks and probabilities, 0 where ignored, and 1 for each entry that counts, all float32."""
    y_true = ops.convert_to_tensor(y_true, dtype="float32")
    y_pred = ops.convert_to_tensor(y_pred, dtype="float32")
    _check_shapes(y_true.shape, y_pred.shape)
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
    _check_tversky(alpha, beta, smooth)
    y, p, counted = _prepare(y_true, y_pred)
    axes = (0, *_PIXEL_AXES) if per_batch else _PIXEL_AXES
    hits = ops.sum(y * p, axis=axes)
    errors = alpha * (ops.sum(p, axis=axes) - hits) + beta * (ops.sum(y, axis=axes) - hits)
    measurable = ops.cast(ops.sum(counted, axis=axes) > 0, "float32")
    return errors / (hits + errors + smooth), measurable


def _mean_measurable(values: keras.KerasTensor, measurable: keras.KerasTensor) -> keras.KerasTensor:
    """Mean over the classes (last axis) that can be measured; 0 where none can."""
    return ops.sum(values * measurable, axis=-1) / ops.maximum(ops.sum(measurable, axis=-1), 1.0)


def _require(argument: str, value: object, holds: bool, rule: str) -> None:
    if not holds:
        raise UsageError(f"{argument}: must be {rule}, received {value!r}")


def _check_shapes(true: Sequence[int | None], pred: Sequence[int | None]) -> None:
    """Arrays that differ would be broadcast against each other, and the loss would be quietly wrong."""
    fits = len(true) == len(pred) == 4 and all(
        t == p or t is None or p is None for t, p in zip(true, pred, strict=True)
    )
    _require("y_true", tuple(true), fits, f"of shape (N, H, W, K) like y_pred, {tuple(pred)}")


def _check_class_weights(class_weights: Sequence[float] | None, classes: int | None = None) -> None:
    """``classes`` is None while the arrays are not seen yet."""
    if class_weights is None:
        return
    fits = classes in (None, len(class_weights)) and all(0 <= weight < math.inf for weight in class_weights)
    count = "one" if classes is None else f"{classes} in all, one"
    _require("class_weights", class_weights, fits, f"finite numbers of at least 0, {count} per class")


def _check_focal(gamma: float, alpha: float | None) -> None:
    _require("gamma", gamma, 0 <= gamma < math.inf, "finite and at least 0")
    _require("alpha", alpha, alpha is None or 0 <= alpha <= 1, "in [0, 1], the background having the rest, or None")


def _check_tversky(alpha: float, beta: float, smooth: float) -> None:
    _require("alpha", alpha, 0 <= alpha < math.inf, "finite and at least 0")
    _require("beta", beta, 0 <= beta < math.inf, "finite and at least 0")
    _require("smooth", smooth, 0 < smooth < math.inf, "finite and above 0 (an absent class would be 0 / 0)")


def _check_focal_tversky(gamma: float) -> None:
    _require("gamma", gamma, 0 < gamma < math.inf, "finite and above 0")


# --------------------------------------------------------------------------- Keras losses


class _FunctionLoss(keras.losses.Loss):  # type: ignore[misc]  # keras publishes no types
    """A function of this module with its options, as a Keras loss."""

    def __init__(
        self, function: Callable[..., keras.KerasTensor], name: str, reduction: str | None, **options: _Option
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self._function = function
        self._options = options

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        return self._function(y_true, y_pred, **self._options)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._options}


@keras.saving.register_keras_serializable("unetseg")
class WeightedBinaryCrossentropy(_FunctionLoss):
    """:func:`weighted_binary_crossentropy` as a Keras loss."""

    def __init__(
        self,
        *,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "weighted_binary_crossentropy",
    ) -> None:
        _check_class_weights(class_weights)
        weights = None if class_weights is None else [float(weight) for weight in class_weights]
        super().__init__(weighted_binary_crossentropy, name, reduction, class_weights=weights)


@keras.saving.register_keras_serializable("unetseg")
class Focal(_FunctionLoss):
    """:func:`focal` as a Keras loss."""

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha: float | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "focal",
    ) -> None:
        _check_focal(gamma, alpha)
        super().__init__(focal, name, reduction, gamma=gamma, alpha=alpha)


@keras.saving.register_keras_serializable("unetseg")
class Dice(_FunctionLoss):
    """:func:`dice_loss` as a Keras loss."""

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        per_batch: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "dice",
    ) -> None:
        _check_tversky(0.5, 0.5, smooth)
        super().__init__(dice_loss, name, reduction, smooth=smooth, per_batch=per_batch)


@keras.saving.register_keras_serializable("unetseg")
class Tversky(_FunctionLoss):
    """:func:`tversky` as a Keras loss."""

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 1.0,
        per_batch: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "tversky",
    ) -> None:
        _check_tversky(alpha, beta, smooth)
        super().__init__(tversky, name, reduction, alpha=alpha, beta=beta, smooth=smooth, per_batch=per_batch)


@keras.saving.register_keras_serializable("unetseg")
class FocalTversky(_FunctionLoss):
    """:func:`focal_tversky` as a Keras loss."""

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 4 / 3,
        smooth: float = 1.0,
        per_batch: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "focal_tversky",
    ) -> None:
        _check_tversky(alpha, beta, smooth)
        _check_focal_tversky(gamma)
        options = {"alpha": alpha, "beta": beta, "gamma": gamma, "smooth": smooth, "per_batch": per_batch}
        super().__init__(focal_tversky, name, reduction, **options)


# A new loss is added here, and is then known by this name everywhere.
_TERMS: Final[dict[str, Callable[..., _FunctionLoss]]] = {
    "dice": Dice,
    "focal": Focal,
    "focal_tversky": FocalTversky,
    "tversky": Tversky,
    "weighted_binary_crossentropy": WeightedBinaryCrossentropy,
}
_CROSS_ENTROPY: Final = "weighted_binary_crossentropy"


@keras.saving.register_keras_serializable("unetseg")
class CompositeLoss(keras.losses.Loss):  # type: ignore[misc]  # keras publishes no types
    """A weighted sum of losses by name.

    *Formula*::

        loss = sum over names of weights[name] * name(y_true, y_pred)

    Args:
        weights: Weight by name: ``dice``, ``focal``, ``focal_tversky``, ``tversky``,
            ``weighted_binary_crossentropy``. What weighs 0 is not computed.
        class_weights: One weight per class for the foreground of the cross-entropy; None: 1.
        options: Arguments of single losses by name, as ``{"focal": {"gamma": 3.0}}``.
        reduction: As in every Keras loss.
        name: As in every Keras loss.

    Raises:
        UsageError: A name is unknown, a weight is negative, or nothing weighs more than 0.

    Example:
        >>> loss = CompositeLoss({"weighted_binary_crossentropy": 1.0, "dice": 0.5}, class_weights=[1.0, 4.0])
        >>> model.compile(optimizer="adam", loss=loss)  # doctest: +SKIP
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        class_weights: Sequence[float] | None = None,
        options: Mapping[str, Mapping[str, _Option]] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "composite",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        _check_weights(weights)
        _check_addressees(weights, class_weights, options or {})
        self._weights = {term: float(weight) for term, weight in weights.items()}
        self._class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        self._options = {term: dict(arguments) for term, arguments in (options or {}).items()}
        self._terms = {term: self._build(term) for term in self._weights}

    def _build(self, term: str) -> _FunctionLoss:
        arguments = self._options.get(term, {})
        known = set(inspect.signature(_TERMS[term]).parameters) - {"class_weights", "name", "reduction"}
        _require(f"options: {term}", sorted(arguments), set(arguments) <= known, f"among {sorted(known)}")
        if term == _CROSS_ENTROPY:
            arguments = {"class_weights": self._class_weights}
        return _TERMS[term](**arguments)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """The weighted sum, ``(N,)`` or ``()``."""
        return sum(
            weight * self._terms[term].call(y_true, y_pred) for term, weight in self._weights.items() if weight > 0
        )

    def get_config(self) -> dict[str, Any]:
        """All arguments, as plain numbers, lists and dicts."""
        own = {"weights": self._weights, "class_weights": self._class_weights, "options": self._options}
        return {**super().get_config(), **own}


def _check_weights(weights: Mapping[str, float]) -> None:
    _require("weights", sorted(weights), set(weights) <= set(_TERMS), f"named among {sorted(_TERMS)}")
    fits = all(0 <= weight < math.inf for weight in weights.values()) and any(weights.values())
    _require("weights", dict(weights), fits, "finite and at least 0, one of them above 0")


def _check_addressees(
    weights: Mapping[str, float], class_weights: Sequence[float] | None, options: Mapping[str, Mapping[str, _Option]]
) -> None:
    """What nobody would read is refused: it was meant to do something."""
    _require(
        "options", sorted(options), set(options) <= set(weights), f"for losses named in weights, {sorted(weights)}"
    )
    used = class_weights is None or _CROSS_ENTROPY in weights
    _require("class_weights", class_weights, used, f"None unless weights names {_CROSS_ENTROPY!r}")
