"""A patch on its way from the dataset to a batch: classes stay bit fields, one number per pixel, until the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bit_fields import unpack
from unetseg.dataset import Planes

__all__ = ["Patch"]


@dataclass(frozen=True, eq=False)
class Patch:
    """A window of a scan, as the dataset stores it.

    Attributes:
        image: normalised intensities, ``(H, W, C)``.
        guides: guide masks, ``(H, W, G)`` uint8; G may be 0.
        fields: classes, ``(H, W)``: bit k is class k, the bit after the last class means "ignore".
    """

    image: NDArray[np.floating]
    guides: NDArray[np.uint8]
    fields: NDArray[np.unsignedinteger[Any]]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.fields.shape
        return height, width

    def part(self, rows: slice, columns: slice) -> Patch:
        """A window of it; nothing is copied."""
        return Patch(self.image[rows, columns], self.guides[rows, columns], self.fields[rows, columns])

    def padded(self, top: int, left: int, shape: tuple[int, int], *, ignore: int) -> Patch:
        """A patch that holds this one, and around it nothing: image and guides 0, masks ignored.

        Args:
            top: row of its first pixel in the new patch.
            left: the same for the columns.
            shape: height and width of the new patch in pixels.
            ignore: the bit field of ignored pixels.
        """
        rows, columns = slice(top, top + self.shape[0]), slice(left, left + self.shape[1])

        def pad(planes: NDArray[Any], value: int) -> NDArray[Any]:
            whole = np.full((*shape, *planes.shape[2:]), value, planes.dtype)
            whole[rows, columns] = planes
            return whole

        return Patch(pad(self.image, 0), pad(self.guides, 0), pad(self.fields, ignore))

    def planes(self, classes: int) -> Planes:
        """Image, guides and masks, one plane per class."""
        return Planes(self.image, self.guides, unpack(self.fields, classes))
