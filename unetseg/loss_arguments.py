"""What the arguments of losses and metrics must be; whatever is wrong is refused before it computes anything."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unetseg.errors import UsageError

__all__ = [
    "check_class_weights",
    "check_focal",
    "check_focal_tversky",
    "check_shapes",
    "check_tversky",
    "require",
]


def require(argument: str, value: object, holds: bool, rule: str) -> None:
    """Raise a `UsageError` that names the argument, the rule and the value, unless the rule holds."""
    if not holds:
        raise UsageError(f"{argument}: must be {rule}, received {value!r}")


def check_shapes(true: Sequence[int | None], pred: Sequence[int | None]) -> None:
    """Arrays that differ would be broadcast against each other, and the loss would be quietly wrong."""
    fits = len(true) == len(pred) == 4 and all(
        t == p or t is None or p is None for t, p in zip(true, pred, strict=True)
    )
    require("y_true", tuple(true), fits, f"of shape (N, H, W, K) like y_pred, {tuple(pred)}")


def check_class_weights(class_weights: Sequence[float] | None, classes: int | None = None) -> None:
    """``classes`` is None while the arrays are not seen yet."""
    if class_weights is None:
        return
    fits = classes in (None, len(class_weights)) and all(0 <= weight < math.inf for weight in class_weights)
    count = "one" if classes is None else f"{classes} in all, one"
    require("class_weights", class_weights, fits, f"finite numbers of at least 0, {count} per class")


def check_focal(gamma: float, alpha: float | None) -> None:
    """The numbers of the focal loss."""
    require("gamma", gamma, 0 <= gamma < math.inf, "finite and at least 0")
    require("alpha", alpha, alpha is None or 0 <= alpha <= 1, "in [0, 1], the background having the rest, or None")


def check_tversky(alpha: float, beta: float, smooth: float) -> None:
    """The weights of the Tversky index, and what smooths it."""
    require("alpha", alpha, 0 <= alpha < math.inf, "finite and at least 0")
    require("beta", beta, 0 <= beta < math.inf, "finite and at least 0")
    require("smooth", smooth, 0 < smooth < math.inf, "finite and above 0 (an absent class would be 0 / 0)")


def check_focal_tversky(gamma: float) -> None:
    """The power of the focal Tversky loss."""
    require("gamma", gamma, 0 < gamma < math.inf, "finite and above 0")
