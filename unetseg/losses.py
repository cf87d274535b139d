"""Losses for overlapping classes, rare classes and pixels that do not count, as Keras losses.

The arithmetic, and the contract that all share, is in `unetseg.loss_functions`; its functions can be had from here.
Each class is a thin ``keras.losses.Loss`` around one of them; :class:`CompositeLoss` adds several by name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import keras
import numpy as np
from keras import ops

from unetseg.loss_arguments import (
    check_class_weights,
    check_focal,
    check_focal_tversky,
    check_shapes,
    check_tversky,
    require,
)
from unetseg.loss_functions import (
    dice_loss,
    focal,
    focal_tversky,
    mean_over_measurable,
    measurable_classes,
    tversky,
    weighted_binary_crossentropy,
)

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

_Option: TypeAlias = float | Sequence[float] | None


# --------------------------------------------------------------------------- one loss each


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

    def call_by_class(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, weights: Sequence[float]
    ) -> keras.KerasTensor:
        """Mean over the classes that can be measured of weight times loss on the class alone, ``(N,)`` or ``()``."""
        y_true = ops.convert_to_tensor(y_true, dtype="float32")
        y_pred = ops.convert_to_tensor(y_pred, dtype="float32")
        each = [self._call_one(y_true, y_pred, k) * weight for k, weight in enumerate(weights)]
        per_batch = bool(self._options.get("per_batch", True))
        return mean_over_measurable(ops.stack(each, axis=-1), measurable_classes(y_true, per_batch=per_batch))

    def _call_one(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, k: int) -> keras.KerasTensor:
        options = {key: value[k : k + 1] if isinstance(value, list) else value for key, value in self._options.items()}
        return self._function(y_true[..., k : k + 1], y_pred[..., k : k + 1], **options)

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
        check_class_weights(class_weights)
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
        check_focal(gamma, alpha)
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
        check_tversky(0.5, 0.5, smooth)
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
        check_tversky(alpha, beta, smooth)
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
        check_tversky(alpha, beta, smooth)
        check_focal_tversky(gamma)
        options = {"alpha": alpha, "beta": beta, "gamma": gamma, "smooth": smooth, "per_batch": per_batch}
        super().__init__(focal_tversky, name, reduction, **options)


# A new loss is added here; a setting of this name in `LossConfig` weighs it in training.
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
    """A weighted sum of losses by name, and within each name by class.

    *Formula*, the weight of a name being one number, or one number w_k for each class::

        loss = sum over names of  weight * name(y_true, y_pred)
                              or  mean over k of w_k * name(y_true of class k, y_pred of class k)

    The mean is over the K classes of which some entry counts: a class that is ignored altogether is left out of the
    sum and of the divisor, and one that weighs 0 of the sum alone. So ``[w, w, w]`` is the same as ``w`` for ``dice``,
    ``tversky`` and ``focal_tversky``; for the others it is where classes ignore equally many pixels, since by
    themselves these count every pixel alike, and here every class.

    Args:
        weights: Weight by the default name of each loss, such as ``dice`` of :class:`Dice`. What weighs 0 for all
            classes is not computed.
        class_weights: One weight per class for the foreground of the cross-entropy, on top of ``weights``; None: 1.
        options: Arguments of single losses by name, as ``{"focal": {"gamma": 3.0}}``.
        reduction: As in every Keras loss.
        name: As in every Keras loss.

    Raises:
        UsageError: A name is unknown, a weight is negative, nothing weighs more than 0, or there are not as many
            weights as ``y_pred`` has classes.

    Example:
        >>> loss = CompositeLoss({"weighted_binary_crossentropy": 1.0, "dice": [0.5, 2.0]}, class_weights=[1.0, 4.0])
        >>> model.compile(optimizer="adam", loss=loss)  # doctest: +SKIP
    """

    def __init__(
        self,
        weights: Mapping[str, float | Sequence[float]],
        *,
        class_weights: Sequence[float] | None = None,
        options: Mapping[str, Mapping[str, _Option]] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "composite",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        require("weights", sorted(weights), set(weights) <= set(_TERMS), f"named among {sorted(_TERMS)}")
        self._weights = {term: _plain_weight(weight) for term, weight in weights.items()}
        _check_weights(self._weights)
        _check_addressees(weights, class_weights, options or {})
        self._class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        self._options = {term: dict(arguments) for term, arguments in (options or {}).items()}
        self._terms = {term: self._build(term) for term in self._weights}

    def _build(self, term: str) -> _FunctionLoss:
        arguments = self._options.get(term, {})
        known = set(inspect.signature(_TERMS[term]).parameters) - {"class_weights", "name", "reduction"}
        require(f"options: {term}", sorted(arguments), set(arguments) <= known, f"among {sorted(known)}")
        if term == _CROSS_ENTROPY:
            arguments = {"class_weights": self._class_weights}
        return _TERMS[term](**arguments)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """The weighted sum, ``(N,)`` or ``()``."""
        check_shapes(y_true.shape, y_pred.shape)
        used = [term for term, weight in self._weights.items() if _is_used(weight)]
        return sum(self._weighted_term(term, y_true, y_pred) for term in used)

    def _weighted_term(self, term: str, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        loss, weight = self._terms[term], self._weights[term]
        if isinstance(weight, float):
            return weight * loss.call(y_true, y_pred)
        classes = y_pred.shape[-1]
        fits = len(weight) == classes
        require(f"weights: {term}", weight, fits, f"one number, or {classes} in all, one per class")
        check_class_weights(self._class_weights, classes)
        return loss.call_by_class(y_true, y_pred, weight)

    def get_config(self) -> dict[str, Any]:
        """All arguments, as plain numbers, lists and dicts."""
        own = {"weights": self._weights, "class_weights": self._class_weights, "options": self._options}
        return {**super().get_config(), **own}


def _plain_weight(weight: float | Sequence[float]) -> float | list[float]:
    """A number as float, the numbers of classes as list of floats: what JSON gives back."""
    plain: float | list[float] = np.asarray(weight, np.float64).tolist()
    return plain


def _check_weights(weights: Mapping[str, float | list[float]]) -> None:
    given = [weight if isinstance(weight, list) else [weight] for weight in weights.values()]
    fits = all(given) and all(0 <= part < math.inf for parts in given for part in parts) and any(map(any, given))
    rule = "finite and at least 0, a number or one per class, one of them above 0"
    require("weights", dict(weights), fits, rule)


def _is_used(weight: float | list[float]) -> bool:
    return any(weight) if isinstance(weight, list) else weight > 0


def _check_addressees(
    weights: Mapping[str, object], class_weights: Sequence[float] | None, options: Mapping[str, Mapping[str, _Option]]
) -> None:
    """What nobody would read is refused: it was meant to do something."""
    require("options", sorted(options), set(options) <= set(weights), f"for losses named in weights, {sorted(weights)}")
    used = class_weights is None or _CROSS_ENTROPY in weights
    require("class_weights", class_weights, used, f"None unless weights names {_CROSS_ENTROPY!r}")
