"""Recall, precision, Dice and IoU while a model trains, as Keras metrics that add up counts of pixels.

They share one contract:

*Input shape*: ``y_true``, ``(N, H, W, K)``: 1 in the class, 0 outside, negative to ignore the pixel for that class.
``y_pred``, ``(N, H, W, K)``: probabilities in [0, 1]; at least the threshold is foreground.

*Result*: one float32 number; with ``average="none"`` a number for each class under ``<name>_<class>``, which Keras
puts into the logs and the history one by one.

Every class has its own counts, and these are added up over batches: the result is that of all pixels together, however
unequal the batches. The counts are whole numbers, exact up to 2**61 pixels; a float32 counter would stop at 2**24.

Conventions where something is missing, those of `unetseg.score_sums`:

- A class without a single true pixel is not measurable: it is nan by itself, and left out of macro and weighted.
- 0 / 0 is nan and left out likewise: precision where nothing is predicted.
- What nothing measurable is left of is nan. What is wrongly marked of an absent class counts in micro alone.

Source of the definitions: Maier-Hein et al. 2024, "Metrics reloaded", doi:10.1038/s41592-023-02151-z.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final, TypeAlias

import keras
import numpy as np
from keras import ops

from unetseg.loss_arguments import check_shapes, require

__all__ = ["CountMetric", "DiceScore", "IoU", "Precision", "Recall"]

_AVERAGES: Final = ("none", "micro", "macro", "weighted")
_WORD: Final = 1 << 30  # a batch may hold as many pixels before 32 bits overflow; JAX has no others

_Quotient: TypeAlias = tuple[keras.KerasTensor, keras.KerasTensor]


class CountMetric(keras.metrics.Metric):  # type: ignore[misc]  # keras publishes no types
    """A quotient of the true positives, false positives and false negatives of each class.

    Args:
        classes: K.
        threshold: From which probability on a pixel is foreground: one number, or one per class.
        average: How classes become one number. micro: their pixels are taken as one; macro: mean over classes;
            weighted: mean with weights 1 / true pixels of the class, so that rare classes count most (scikit-learn's
            weights of this name are the opposite, the true pixels); none: each class by itself.
        class_names: K names, for ``average="none"``; None: 0, 1, 2 ...
        name: What the logs call it. With ``average="none"`` every output of a network needs a name of its own here,
            since Keras does not put the output before it then.

    Raises:
        UsageError: An argument is out of its limits, or there are not as many as classes.

    Example:
        >>> metric = Recall(2, threshold=[0.5, 0.3], average="none", class_names=["iris", "pupil"])
        >>> metric.update_state([[[[1, 1], [1, 0]]]], [[[[0.9, 0.4], [0.1, 0.2]]]])
        >>> {name: float(value) for name, value in metric.result().items()}
        {'recall_iris': 0.5, 'recall_pupil': 1.0}
    """

    default_name: ClassVar[str]

    def __init__(
        self,
        classes: int,
        *,
        threshold: float | Sequence[float] = 0.5,
        average: str = "macro",
        class_names: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype="float32")
        require("classes", classes, classes >= 1, "at least 1, the number of classes")
        require("average", average, average in _AVERAGES, f"one of {', '.join(_AVERAGES)}")
        self._classes, self._average = int(classes), average
        self._thresholds = _threshold_per_class(threshold, self._classes)
        self._class_names = _checked_names(class_names, self._classes)
        # "int" is the whole number that the backend can keep on the device: TensorFlow keeps int32 on the host.
        self._low = self.add_variable((3, self._classes), "zeros", dtype="int", name="low")
        self._high = self.add_variable((3, self._classes), "zeros", dtype="int", name="high")

    @staticmethod
    @abstractmethod
    def quotient(tp: keras.KerasTensor, fp: keras.KerasTensor, fn: keras.KerasTensor) -> _Quotient:
        """Numerator and denominator, of counts of any one shape."""

    def update_state(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: object = None) -> None:
        """Add the pixels of a batch.

        Args:
            y_true: ``(N, H, W, K)``: 1, 0, or negative to ignore.
            y_pred: ``(N, H, W, K)`` probabilities.
            sample_weight: not supported: counts are of whole pixels.

        Raises:
            UsageError: for other shapes, and for sample weights.
        """
        rule = "None; make y_true negative where pixels do not count, or list the metric under metrics"
        require("sample_weight", sample_weight, sample_weight is None, rule)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_shapes(y_true.shape, y_pred.shape)
        require("y_pred", tuple(y_pred.shape), y_pred.shape[-1] == self._classes, f"of {self._classes} classes")
        total = self._low + ops.cast(self._count(y_true, y_pred), self._low.dtype)
        carried = total // _WORD
        self._high.assign(self._high + carried)
        self._low.assign(total - carried * _WORD)

    def _count(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """True positives, false positives and false negatives of each class, ``(3, K)``."""
        foreground, background = ops.greater(y_true, 0), ops.equal(y_true, 0)
        marked = ops.greater_equal(ops.cast(y_pred, "float32"), ops.convert_to_tensor(self._thresholds, "float32"))
        cases = [
            ops.logical_and(foreground, marked),
            ops.logical_and(background, marked),
            ops.logical_and(foreground, ops.logical_not(marked)),
        ]
        return ops.stack([_sum_pixels(case) for case in cases])

    def result(self) -> keras.KerasTensor | dict[str, keras.KerasTensor]:
        """The score of all pixels so far: a number, or with ``average="none"`` one by ``<name>_<class>``."""
        counts = ops.cast(self._high, "float32") * _WORD + ops.cast(self._low, "float32")
        if self._average == "micro":
            counts = ops.sum(counts, axis=1, keepdims=True)
        tp, fp, fn = counts[0], counts[1], counts[2]
        true_pixels = tp + fn
        scores = ops.where(true_pixels > 0, _divide(*self.quotient(tp, fp, fn)), np.nan)
        if self._average == "none":
            return {f"{self.name}_{label}": scores[k] for k, label in enumerate(self._class_names)}
        return _mean(scores, 1 / ops.maximum(true_pixels, 1) if self._average == "weighted" else ops.ones_like(scores))

    def get_config(self) -> dict[str, Any]:
        """All arguments, as plain numbers, texts and lists."""
        own = {"classes": self._classes, "threshold": list(self._thresholds), "average": self._average}
        return {**own, "class_names": list(self._class_names), "name": self.name}


# --------------------------------------------------------------------------- the metrics


@keras.saving.register_keras_serializable("unetseg")
class Recall(CountMetric):
    """Which share of the true pixels is found, also sensitivity: ``tp / (tp + fn)``.

    The arguments are those of :class:`CountMetric`.
    """

    default_name = "recall"

    @staticmethod
    def quotient(tp: keras.KerasTensor, fp: keras.KerasTensor, fn: keras.KerasTensor) -> _Quotient:
        """Numerator and denominator."""
        return tp, tp + fn


@keras.saving.register_keras_serializable("unetseg")
class Precision(CountMetric):
    """Which share of the marked pixels is true: ``tp / (tp + fp)``.

    The arguments are those of :class:`CountMetric`.
    """

    default_name = "precision"

    @staticmethod
    def quotient(tp: keras.KerasTensor, fp: keras.KerasTensor, fn: keras.KerasTensor) -> _Quotient:
        """Numerator and denominator."""
        return tp, tp + fp


@keras.saving.register_keras_serializable("unetseg")
class DiceScore(CountMetric):
    """Dice coefficient, which is F1 of the same pixels: ``2 tp / (2 tp + fp + fn)`` (doi:10.2307/1932409).

    The arguments are those of :class:`CountMetric`.
    """

    default_name = "dice_score"

    @staticmethod
    def quotient(tp: keras.KerasTensor, fp: keras.KerasTensor, fn: keras.KerasTensor) -> _Quotient:
        """Numerator and denominator."""
        return 2 * tp, 2 * tp + fp + fn


@keras.saving.register_keras_serializable("unetseg")
class IoU(CountMetric):
    """Intersection over union: ``tp / (tp + fp + fn)`` (Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x).

    The arguments are those of :class:`CountMetric`.
    """

    default_name = "iou"

    @staticmethod
    def quotient(tp: keras.KerasTensor, fp: keras.KerasTensor, fn: keras.KerasTensor) -> _Quotient:
        """Numerator and denominator."""
        return tp, tp + fp + fn


# --------------------------------------------------------------------------- helpers


def _sum_pixels(case: keras.KerasTensor) -> keras.KerasTensor:
    """How often a case occurs for each class: ``(N, H, W, K)`` bool to ``(K,)`` int32."""
    # float32 is exact along one side of an image, and adds up twice as fast as whole numbers.
    along_height = ops.sum(ops.cast(case, "float32"), axis=1)
    return ops.sum(ops.cast(along_height, "int32"), axis=(0, 1))


def _divide(numerator: keras.KerasTensor, denominator: keras.KerasTensor) -> keras.KerasTensor:
    """Quotient of counts, nan where the denominator is 0."""
    return ops.where(denominator > 0, numerator / ops.maximum(denominator, 1), np.nan)


def _mean(scores: keras.KerasTensor, weights: keras.KerasTensor) -> keras.KerasTensor:
    """Weighted mean of what is not nan; nan where nothing is left."""
    weights = ops.where(ops.isnan(scores), 0.0, weights)
    total = ops.sum(weights)
    return ops.where(total > 0, ops.sum(weights * ops.nan_to_num(scores)) / total, np.nan)


def _threshold_per_class(threshold: float | Sequence[float], classes: int) -> tuple[float, ...]:
    given = np.asarray(threshold, np.float64)
    thresholds = tuple((given if given.ndim else np.full(classes, given)).tolist())
    fits = len(thresholds) == classes and all(0 <= part <= 1 for part in thresholds)
    require("threshold", threshold, fits, f"in [0, 1]: one number, or {classes} in all, one per class")
    return thresholds


def _checked_names(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """The names, or 0, 1, 2 ... where there are none."""
    names = tuple(map(str, range(classes) if class_names is None else class_names))
    require("class_names", class_names, len(set(names)) == len(names) == classes, f"{classes} different names, or None")
    return names
