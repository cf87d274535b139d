"""Probabilities of images of any size, from a network whose poolings divide only some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import UsageError

if TYPE_CHECKING:
    import keras

__all__ = ["predict_any_size"]

_BATCH: Final = 8  # images at once: scans are larger than the patches of training


def predict_any_size(
    model: keras.Model,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]],
    *,
    batch_size: int = _BATCH,
) -> NDArray[np.float32] | dict[str, NDArray[np.float32]]:
    """Pad to the model's stride by repeating the last row and column, predict, and cut off what was added.

    Args:
        model: a U-Net built for heights and widths that vary (None).
        inputs: ``(N, H, W, C)``, or a dict of such arrays by the names of the model's inputs.
        batch_size: images at once.

    Returns:
        Probabilities ``(N, H, W, K)``; a dict of arrays ``(N, ceil(H / scale), ceil(W / scale), K)`` where the model
        has several outputs.

    Raises:
        UsageError: Arrays are missing, are not ``(N, H, W, C)`` or differ in size, or the model's own size is fixed.
    """
    from unetseg.field_of_view import receptive_field
    from unetseg.heads import output_scales

    planes = _checked(model, inputs)
    height, width = next(iter(planes.values())).shape[1:3]
    stride = receptive_field(model).stride
    missing = ((0, 0), (0, -height % stride), (0, -width % stride), (0, 0))
    padded = {name: np.pad(x, missing, mode="edge") for name, x in planes.items()}
    found = model.predict(padded, batch_size=batch_size, verbose=0)
    if not isinstance(found, dict):
        return np.asarray(found[:, :height, :width], dtype=np.float32)
    return {
        name: np.asarray(found[name][:, : -(-height // scale), : -(-width // scale)], dtype=np.float32)
        for name, scale in output_scales(model).items()
    }


def _checked(model: keras.Model, inputs: NDArray[Any] | Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The arrays by name, float32."""
    names = [x.name for x in model.inputs]
    given = inputs if isinstance(inputs, Mapping) else {names[0]: inputs}
    if sorted(given) != sorted(names):
        raise UsageError(f"inputs: must be the arrays {', '.join(names)}, received {', '.join(given)}; pass a dict")
    if any(size is not None for x in model.inputs for size in x.shape[1:3]):
        raise UsageError(
            f"model: height and width must be free, received inputs of {[x.shape for x in model.inputs]}; "
            "build it with input_shape=(None, None, channels)"
        )
    planes = {name: np.asarray(given[name], dtype=np.float32) for name in names}
    shapes = {name: x.shape for name, x in planes.items()}
    if any(x.ndim != 4 for x in planes.values()) or len({shape[:3] for shape in shapes.values()}) > 1:
        raise UsageError(f"inputs: must be (N, H, W, C), alike in N, H and W, received {shapes}")
    return planes
