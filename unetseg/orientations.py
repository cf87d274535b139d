"""How the voxels of volumes lie in space, as far as files say it, and the sentence about masks that lie otherwise.

Pixels are taken as they are stored: a label volume that was flipped together with its affine looks right in a viewer,
which goes by the affine, and is mirrored on its scan here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.words import first_of

__all__ = ["axis_codes", "lie_alike", "turned_sentence"]

_NAMED = 3  # files that a sentence names


def axis_codes(directions: NDArray[Any]) -> str:
    """Where stored axes go, a letter each, as nibabel names them.

    Args:
        directions: ``(3, n)``, a column per axis: its way to the right, to the front and up.

    Returns:
        Such as ``LPS``: to the left, to the back, up; empty where the numbers give no direction.
    """
    from nibabel.orientations import aff2axcodes

    rows, axes = directions.shape
    if not np.isfinite(directions).all():
        return ""
    affine = np.eye(rows + 1, axes + 1)
    affine[:rows, :axes] = directions
    with np.errstate(all="ignore"):  # of numbers beyond any scanner's, which broken headers hold
        codes = aff2axcodes(affine)
    return "" if None in codes else "".join(codes)


def lie_alike(codes: str, others: str) -> bool:
    """Whether two files agree as far as both say; the third axis of a single plane is not said, as it does not matter.

    >>> lie_alike("LPS", "RAS"), lie_alike("LPS", "LP"), lie_alike("LPS", "")
    (False, True, True)
    """
    return all(code == other for code, other in zip(codes, others, strict=False))


def turned_sentence(kind: str, paths: Iterable[str], codes: str, scan: str, *, rest: str = " and {} more") -> str:
    """What was found, what is done with it, and the way out.

    Args:
        kind: ``mask`` or ``guide``.
        paths: of the files, which all lie alike.
        codes: their axis codes.
        scan: axis codes of their scans.
        rest: follows the names where there are more, as for `unetseg.words.first_of`.
    """
    names = first_of(("/".join(Path(path).parts[-2:]) for path in paths), _NAMED, rest=rest)
    found = f"{kind} stored as {codes}, its scan as {scan} (expected: alike): {names}"
    return (
        f"{found}; voxels are taken as they are stored, so that the {kind} may lie mirrored or turned on the scan; if "
        "it does, reorient both alike, such as with nibabel.as_closest_canonical"
    )
