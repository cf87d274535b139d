"""Scans whose pixels have another size than those a model was trained on."""

from __future__ import annotations

from pathlib import Path

from unetseg.config import PredictConfig
from unetseg.errors import BadFileError

__all__ = ["Size", "check_pixel_size", "zoom_to"]

Size = tuple[float, float]
"""``(y, x)``: micrometres of a pixel, or factors."""

_SAME = 0.05  # of the size: microscopes and scanners round theirs, and no network minds
_MOST = 16.0  # times larger or smaller; beyond, a wrong unit is likelier than another objective


def zoom_to(trained: Size | None, have: Size | None) -> Size | None:
    """By how much the sides of a scan grow at a model's pixel size; None where they stay, or a size is unknown.

    >>> zoom_to((0.5, 0.5), (0.25, 0.25))
    (0.5, 0.5)
    """
    if trained is None or have is None:
        return None
    zoom = have[0] / trained[0], have[1] / trained[1]
    return zoom if any(abs(factor - 1) > _SAME for factor in zoom) else None


def check_pixel_size(
    trained: Size | None, have: Size | None, config: PredictConfig, path: Path
) -> tuple[Size | None, str]:
    """What the settings make of a scan's pixel size.

    Args:
        trained: of the model's scans, micrometres.
        have: of this scan.
        config: ``pixel_size`` says what happens.
        path: of the scan, for errors.

    Returns:
        The factors by which its sides are to be scaled, or None; and a sentence to be told, or nothing.

    Raises:
        BadFileError: scans of another pixel size are refused, or this one is too different to be scaled.
    """
    zoom = zoom_to(trained, have)
    if zoom is None or config.pixel_size == "ignore":
        return None, ""
    differs = f"pixels of {_shown(have)} µm, the model was trained on {_shown(trained)} µm"
    if config.pixel_size == "warn":
        return None, f"{differs}: its masks may be wrong; predict.pixel_size=rescale segments at the model's"
    if config.pixel_size == "refuse":
        raise BadFileError(f"{path}: {differs}; set predict.pixel_size to rescale or warn to segment it all the same")
    if not all(1 / _MOST <= factor <= _MOST for factor in zoom):
        raise BadFileError(f"{path}: {differs}, too far apart to be rescaled; correct the pixel size or its unit")
    return zoom, f"{differs}: segmented at the model's"


def _shown(size: Size | None) -> str:
    return " x ".join(f"{value:g}" for value in size or ())
