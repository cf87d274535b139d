"""Scans whose pixels have another size than those a model was trained on, and which size that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from unetseg.config import PredictConfig
from unetseg.errors import BadFileError, DataError
from unetseg.words import first_of

__all__ = ["Size", "check_pixel_size", "check_pixel_sizes", "common_pixel_size", "zoom_to"]

Size = tuple[float, float]
"""``(y, x)``: micrometres of a pixel, or factors."""

_SAME = 0.05  # of the size: microscopes and scanners round theirs, and no network minds
_MOST = 16.0  # times larger or smaller; beyond, a wrong unit is likelier than another objective
_NAMED = 3  # sizes, or scans, that a sentence names


def zoom_to(trained: Size | None, have: Size | None) -> Size | None:
    """By how much the sides of a scan grow at a model's pixel size; None where they stay, or a size is unknown.

    >>> zoom_to((0.5, 0.5), (0.25, 0.25))
    (0.5, 0.5)
    """
    if trained is None or have is None:
        return None
    zoom = have[0] / trained[0], have[1] / trained[1]
    return zoom if any(abs(factor - 1) > _SAME for factor in zoom) else None


def common_pixel_size(sizes: Sequence[Size | None]) -> tuple[Size | None, str]:
    """The pixel size that the scans of a training have together.

    Args:
        sizes: of the scans; None: one that does not tell. Where at least half of them tell, those speak for the others.

    Returns:
        The median of each axis where no scan's differs from it by more than 5 %, else None; and a sentence to be told
        where sizes differ, or only some are known, or nothing.
    """
    known = [size for size in sizes if size]
    if not known:
        return None, ""
    height, width = np.median(known, axis=0).tolist()
    none = "so the model has no pixel size, and predict.pixel_size compares nothing"
    if any(zoom_to((height, width), size) for size in known):
        return None, f"training scans have pixels of {_tally(known)} µm, {none}"
    if len(known) == len(sizes):
        return (height, width), ""
    part = f"{len(known)} of {len(sizes)} training scans tell their pixel size, {_shown((height, width))} µm"
    if 2 * len(known) < len(sizes):
        return None, f"only {part}, {none}"
    return (height, width), f"{part}: the others are taken to have it too"


# --------------------------------------------------------------------------- other scans


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
        BadFileError: scans of another pixel size are refused and this one has one, or may have, since it does not tell;
            or it is too different to be scaled.
    """
    rule = config.pixel_size
    if trained is None:
        useless = f"the model's own pixel size is not known, so predict.pixel_size={rule} compares nothing"
        return None, useless if rule in {"refuse", "rescale"} else ""
    if have is None:
        return None, _unknown(trained, rule, path)
    zoom = zoom_to(trained, have)
    if zoom is None or rule == "ignore":
        return None, ""
    differs = f"pixels of {_shown(have)} µm, the model was trained on {_shown(trained)} µm"
    if rule == "warn":
        return None, f"{differs}: its masks may be wrong; predict.pixel_size=rescale segments at the model's"
    if rule == "refuse":
        raise BadFileError(f"{path}: {differs}; set predict.pixel_size to rescale or warn to segment it all the same")
    if not all(1 / _MOST <= factor <= _MOST for factor in zoom):
        raise BadFileError(f"{path}: {differs}, too far apart to be rescaled; correct the pixel size or its unit")
    return zoom, f"{differs}: segmented at the model's"


def _unknown(trained: Size, rule: str, path: Path) -> str:
    """What is told of a scan that tells no pixel size, as most TIFFs and all PNGs: nothing, unless it was asked for."""
    if rule == "refuse":
        raise BadFileError(
            f"{path}: tells no pixel size, the model was trained on {_shown(trained)} µm; write it into the file, or "
            "set predict.pixel_size to warn to segment it all the same"
        )
    return "no pixel size is told: segmented as it is" if rule == "rescale" else ""


def check_pixel_sizes(trained: Size | None, sizes: Mapping[str, Size | None], config: PredictConfig) -> str:
    """What is to be told of the pixel sizes of scans that are scored, or nothing; they are scored as they are.

    Args:
        trained: of the model's scans, micrometres.
        sizes: of the scans that are scored, by id.
        config: ``pixel_size`` says what happens: as `check_pixel_size`, but ``rescale`` does what ``warn`` does.

    Raises:
        DataError: scans of another pixel size are refused, and some have one, or may have, since they do not tell.
    """
    rule = config.pixel_size
    if trained is None:
        return check_pixel_size(None, None, config, Path())[1]
    if rule == "ignore":
        return ""
    other = {name: size for name, size in sizes.items() if size and zoom_to(trained, size)}
    silent = [name for name, size in sizes.items() if size is None and rule != "warn"]
    parts = []
    if other:
        parts.append(f"{len(other)} of {len(sizes)} scans have pixels of {_tally(other.values())} µm ({_first(other)})")
    if silent:
        parts.append(f"{len(silent)} of {len(sizes)} scans tell no pixel size ({_first(silent)})")
    if not parts:
        return ""
    differs = f"{' and '.join(parts)}, the model was trained on {_shown(trained)} µm"
    if rule == "refuse":
        raise DataError(
            f"predict.pixel_size=refuse: {differs}; leave them out, or set it to warn to score them as well"
        )
    return f"{differs}: they were scored as they are, so their scores may be lower than at the model's pixel size"


# --------------------------------------------------------------------------- words


def _shown(size: Size) -> str:
    return " x ".join(f"{value:g}" for value in size)


def _tally(sizes: Iterable[Size]) -> str:
    """The most frequent sizes."""
    counts = Counter(map(_shown, sizes))
    return first_of((size for size, _ in counts.most_common()), _NAMED, rest=" and {} other sizes")


def _first(scans: Iterable[str]) -> str:
    return first_of(scans, _NAMED, rest=", ...")
