"""Pictures for people: scans as 8-bit colour, masks as overlays, errors in colours of their own."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from unetseg.ome import COLOURS

__all__ = ["INVENTED", "MISSED", "RIGHT", "data_uri", "error_picture", "overlay", "to_rgb"]

RIGHT = "009E73"
MISSED = "CC79A7"
INVENTED = "E69F00"

_QUALITY = 88  # of JPEG: outlines stay clean, at a tenth of PNG's time and size
_OPACITY = 0.35  # of a mask over the scan: both must be seen; its outline is drawn in full


def to_rgb(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Normalised intensities ``(H, W, C)`` as ``(H, W, 3)``: grey from one channel, else the first three."""
    shown = image[..., :3].astype(np.float32)
    low, high = np.percentile(shown, (0.5, 99.5))
    shown = np.clip((shown - low) / max(high - low, 1e-6), 0, 1)
    if shown.shape[-1] == 2:
        shown = np.concatenate([shown, np.zeros_like(shown[..., :1])], axis=-1)
    return np.broadcast_to((shown * 255).astype(np.uint8), (*shown.shape[:2], 3)).copy()


def overlay(rgb: NDArray[np.uint8], masks: NDArray[np.bool_], colours: Sequence[str] = COLOURS) -> NDArray[np.uint8]:
    """Blend each class's mask ``(H, W, K)`` in its colour over a picture ``(H, W, 3)``."""
    result = rgb.astype(np.float32)
    for k in range(masks.shape[-1]):
        colour = np.array([*bytes.fromhex(colours[k % len(colours)])], np.float32)
        chosen = masks[..., k].astype(bool)
        result[chosen] = (1 - _OPACITY) * result[chosen] + _OPACITY * colour
        result[chosen & ~ndimage.binary_erosion(chosen)] = colour
    return result.astype(np.uint8)


def error_picture(rgb: NDArray[np.uint8], y_true: NDArray[np.int8], y_pred: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What of one class ``(H, W)`` was found, missed and invented; ignored pixels stay as they are."""
    kinds = [(y_true == 1) & y_pred, (y_true == 1) & ~y_pred, (y_true == 0) & y_pred]
    return overlay(rgb, np.stack(kinds, axis=-1), (RIGHT, MISSED, INVENTED))


def data_uri(rgb: NDArray[np.uint8], side: int) -> str:
    """A picture, at most ``side`` pixels wide and high, as a ``data:`` address for a self-contained page."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
