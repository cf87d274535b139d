"""What the network knows so far: Dice and recall of un-augmented patches, class by class, at the best thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from unetseg.config import TrainConfig
from unetseg.curves import Curve
from unetseg.dataset import Planes
from unetseg.heads import main_output
from unetseg.histograms import Histograms
from unetseg.patches import stack_batch

__all__ = ["Probe", "Scores"]


@dataclass(frozen=True)
class Scores:
    """Of some patches.

    Attributes:
        dice: per class, at the threshold that is best for it; NaN where the patches do not hold it.
        monitored: what chooses the best weights: the mean, over the classes that are there, of Dice or of the recall
            at the wanted precision; NaN where the network does not give numbers any more.
    """

    dice: tuple[float, ...]
    monitored: float


class Probe:
    """Scores a model on fixed patches.

    Args:
        model: with outputs at one or several scales; the largest is scored.
        config: batch size and what is monitored.
    """

    def __init__(self, model: keras.Model, config: TrainConfig) -> None:
        self._model, self._config = main_output(model), config

    def __call__(self, patches: Sequence[Planes]) -> Scores:
        """Score the weights that the model has now."""
        curves = self._curves(patches)
        if not curves:
            return Scores((math.nan,) * patches[0].masks.shape[-1], math.nan)
        dice = tuple(float(curve.f_beta(1.0).max()) if curve.positives else math.nan for curve in curves)
        found = dice if self._config.monitor == "dice" else tuple(map(self._recall, curves))
        known = [value for value in found if not math.isnan(value)]
        return Scores(dice, float(np.mean(known)) if known else 0.0)

    def _curves(self, patches: Sequence[Planes]) -> list[Curve]:
        """One per class; none where a probability is no number."""
        classes, batch = patches[0].masks.shape[-1], self._config.batch
        histograms = Histograms.empty(classes)
        for start in range(0, len(patches), batch):
            some = patches[start : start + batch]
            # Devices that share a batch want as many patches each; some answer once per device.
            inputs, masks = stack_batch([*some, *[some[-1]] * (-len(some) % self._config.devices)])
            found = np.asarray(self._model.predict_on_batch(inputs), dtype=np.float32)[: len(some)]
            if not np.isfinite(found).all():
                return []
            histograms.add(masks[: len(some)], found)
        return [histograms.curve(k) for k in range(classes)]

    def _recall(self, curve: Curve) -> float:
        """Highest recall at the wanted precision; 0 where no threshold gives that precision."""
        if not curve.positives:
            return math.nan
        allowed = curve.precision >= self._config.monitor_precision
        return float(curve.recall[allowed].max(initial=0.0))
