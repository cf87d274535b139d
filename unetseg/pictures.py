"""Pictures for people: scans as 8-bit colour, masks as overlays, errors in colours of their own."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unetseg.ome import COLOURS

__all__ = ["INVENTED", "MISSED", "RIGHT", "data_uri", "error_picture", "overlay", "to_rgb"]

# Of Okabe and Ito's colours those three whose grey values lie far apart: 152, 119 and 214 of 255 in print.
RIGHT = "56B4E9"
MISSED = "D55E00"
INVENTED = "F0E442"

_QUALITY = 88  # of JPEG: outlines stay clean, at a tenth of PNG's time and size
_OPACITY = 0.35  # of a mask over the scan: both must be seen; its outline is drawn in full
_DIMMED = 0.6  # brightness of a scan below its errors
_STRIPES = 64  # across the longer side of a picture of errors: still told apart at the size of a stamp


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
    picture = Image.fromarray(rgb)
    for k in range(masks.shape[-1]):
        chosen = np.ascontiguousarray(masks[..., k], bool)
        share = np.uint8(round(255 * _OPACITY)) * chosen
        share[chosen & ~_surrounded(chosen)] = 255
        picture.paste(tuple(bytes.fromhex(colours[k % len(colours)])), mask=Image.fromarray(share))
    return np.array(picture)


def _surrounded(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose four neighbours are chosen: SciPy's binary erosion, which takes fifteen times as long."""
    around = np.pad(chosen, 1)
    inside: NDArray[np.bool_] = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return inside


def error_picture(rgb: NDArray[np.uint8], y_true: NDArray[np.int8], y_pred: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What of one class was found, missed and invented.

    Errors are opaque, and what was missed is striped: they are told apart without colours, too. The scan itself is
    grey and dark, so that they stand out from pale and from stained ones.

    Args:
        rgb: the scan, ``(H, W, 3)``.
        y_true: truth, ``(H, W)``: 1, 0, -1 to ignore; ignored pixels show the scan.
        y_pred: prediction, ``(H, W)``.
    """
    missed, invented = (y_true == 1) & ~y_pred, (y_true == 0) & y_pred
    dark = np.broadcast_to((rgb.mean(axis=-1, keepdims=True) * _DIMMED).astype(np.uint8), rgb.shape)
    result = overlay(dark, ((y_true == 1) & y_pred)[..., None], (RIGHT,))
    result[missed] = [*bytes.fromhex(MISSED)]
    result[missed & _stripes(missed.shape)] = 0
    result[invented] = [*bytes.fromhex(INVENTED)]
    return result


def _stripes(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Diagonal stripes over a picture, ``(H, W)``; one pixel in three, or more where the picture is large."""
    period = max(3, round(max(shape) / _STRIPES))
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows + columns) % period < max(1, period // 3))


def data_uri(rgb: NDArray[np.uint8], side: int) -> str:
    """A picture, at most ``side`` pixels wide and high, as a ``data:`` address for a self-contained page."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
