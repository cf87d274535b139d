"""From probabilities to what a pixel is: chosen once for a model, and the same wherever it is used.

Classes that overlap are decided each by its own threshold. Exclusive classes (``model.head: softmax``) may be decided
so as well, or by the highest probability, where what the classes leave over is the background's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetseg.config import EvaluateConfig, ModelConfig
from unetseg.errors import UsageError

__all__ = ["Decision", "Rule", "decision_rule"]

Rule = Literal["thresholds", "argmax"]


@dataclass(frozen=True)
class Decision:
    """How the classes of a pixel follow from their probabilities.

    Attributes:
        rule: ``thresholds``: each class whose probability is at or above its own; ``argmax``: the most probable of
            the classes and the background, the first of several that are equal, and a class before the background.
        thresholds: of each class, K numbers; argmax does not look at them.
    """

    rule: Rule
    thresholds: tuple[float, ...]

    def __call__(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Decide.

        Args:
            probabilities: ``(..., K)`` in [0, 1]; for argmax the rest up to 1 is the background's.

        Returns:
            ``(..., K)``; for argmax at most one class is true.
        """
        if self.rule == "thresholds":
            marked: NDArray[np.bool_] = probabilities >= np.array(self.thresholds, np.float32)
            return marked
        return _highest(probabilities)


def decision_rule(config: EvaluateConfig, model: ModelConfig) -> Rule:
    """The rule that the settings mean.

    Raises:
        UsageError: argmax for classes that may overlap.
    """
    exclusive = model.head == "softmax"
    if config.decision == "argmax" and not exclusive:
        raise UsageError(
            "evaluate.decision: argmax takes one class per pixel, but the model's classes may overlap "
            "(model.head: sigmoid); use thresholds, or train with model.head=softmax"
        )
    if config.decision == "auto":
        return "argmax" if exclusive else "thresholds"
    return config.decision


def _highest(probabilities: NDArray[Any]) -> NDArray[np.bool_]:
    winner = probabilities.argmax(axis=-1)
    marked = np.zeros(probabilities.shape, bool)
    highest = np.take_along_axis(probabilities, winner[..., None], axis=-1)[..., 0]
    background = 1 - probabilities.sum(axis=-1, dtype=np.float64)
    np.put_along_axis(marked, winner[..., None], (highest >= background)[..., None], axis=-1)
    return marked
