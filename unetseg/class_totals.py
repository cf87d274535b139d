"""What a prediction found of each class, over all scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unetseg.object_table import ObjectRow

__all__ = ["ClassTotal", "class_totals"]


@dataclass(frozen=True)
class ClassTotal:
    """One class.

    Attributes:
        name: of the class.
        scans: on which it was found.
        objects: connected components on all scans.
        fraction: mean over the scans of the share of their pixels; 0 where there is no scan.
    """

    name: str
    scans: int
    objects: int
    fraction: float


def class_totals(rows: Sequence[ObjectRow], classes: Sequence[str]) -> tuple[ClassTotal, ...]:
    """Add up the rows of a table.

    Args:
        rows: of the table.
        classes: in the order that is wanted.
    """
    own = {name: [row for row in rows if row.class_name == name] for name in classes}
    return tuple(
        ClassTotal(
            name=name,
            scans=sum(row.pixels > 0 for row in found),
            objects=sum(row.objects for row in found),
            fraction=float(np.mean([row.fraction for row in found])) if found else 0.0,
        )
        for name, found in own.items()
    )
