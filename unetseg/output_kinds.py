"""What the values of an output mean, and the planes that are given to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from unetseg.errors import UsageError

__all__ = ["LABELS", "MASKS", "OBJECTS", "PROBABILITIES", "Kind", "LabelMap", "Planes", "check_pages"]


class Planes(Protocol):
    """Planes ``(K, H, W)``, one per class: a NumPy array, or what reads the rows that are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(K, H, W)``."""
        ...

    def __getitem__(self, part: tuple[slice, slice], /) -> Any:  # noqa: ANN401 (NumPy's own type is as wide)
        """``planes[classes, rows]``: an array ``(k, h, W)``."""
        ...


@dataclass(frozen=True)
class Kind:
    """What the values of an output mean.

    Attributes:
        name: of the kind.
        white: the value that is shown as full; 0: values are numbers, of classes or of objects.
        dtype: of the values; an exclusive label map of more than 255 classes has the next larger one.
        merged: whether the planes of all classes become one.
    """

    name: str
    white: int
    dtype: DTypeLike = np.uint8
    merged: bool = False

    def stored(self, planes: Planes) -> Planes:
        """What is stored of planes: themselves, or one that says it all."""
        return LabelMap(planes) if self.merged else planes

    def given(self, stored: Planes, classes: int) -> Planes:
        """The planes that were given, of what is stored of them."""
        return _LabelMasks(stored, classes) if self.merged else stored

    def dtype_for(self, classes: int) -> np.dtype[Any]:
        """Type of the values that are stored for so many classes."""
        return _label_dtype(classes) if self.merged else np.dtype(self.dtype)


MASKS = Kind("masks", white=1)
"""One plane per class, 0 and 1; classes may overlap."""

PROBABILITIES = Kind("probabilities", white=255)
"""One plane per class, 0 to 255."""

LABELS = Kind("labels", white=0, merged=True)
"""Written from masks of exclusive classes and read back as such; stored is one plane, 0 or the class's number."""

OBJECTS = Kind("objects", white=0, dtype=np.uint32)
"""One plane per class, 0 or the object's number from 1, each class with a numbering of its own."""


class LabelMap:
    """Masks of exclusive classes as one plane: 0 where there is none, else the number of the class, from 1.

    Args:
        masks: 0 and 1, ``(K, H, W)``.

    Attributes:
        shape: ``(1, H, W)``.
    """

    def __init__(self, masks: Planes) -> None:
        self._masks = masks
        self.shape: tuple[int, ...] = (1, *masks.shape[1:])

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[Any]:
        """Rows ``(1, h, W)``.

        Raises:
            UsageError: classes overlap.
        """
        masks = np.asarray(self._masks[:, part[1]])
        # Numbers of classes are added up: which is right where at most one is set, and that is counted.
        labels = np.zeros(masks.shape[1:], _label_dtype(len(masks)))
        for number, mask in enumerate(masks, start=1):
            labels += mask * labels.dtype.type(number)
        if np.count_nonzero(labels) != np.count_nonzero(masks):
            raise UsageError(
                "labels: one label map holds exclusive classes only, and these masks overlap; write one plane per class"
            )
        return labels[np.newaxis]


class _LabelMasks:
    """The masks that a label map ``(1, H, W)`` of so many classes stands for."""

    def __init__(self, labels: Planes, classes: int) -> None:
        self._labels = labels
        self.shape: tuple[int, ...] = (classes, *labels.shape[1:])

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.uint8]:
        numbers = range(1, self.shape[0] + 1)[part[0]]
        labels = self._labels[:, part[1]][0]
        return np.stack([labels == number for number in numbers]).astype(np.uint8)


def _label_dtype(classes: int) -> np.dtype[Any]:
    return np.min_scalar_type(classes)


def check_pages(pages: Sequence[Planes], names: Sequence[str]) -> None:
    """Check what is to become one output.

    Raises:
        UsageError: there is no page, pages differ in shape, or there are not as many planes as classes.
    """
    shapes = {tuple(page.shape) for page in pages}
    if len(shapes) != 1:
        raise UsageError(f"pages: a stack needs pages of one shape (K, H, W), found {sorted(shapes) or 'none'}")
    if (found := next(iter(shapes))[0]) != len(names):
        raise UsageError(f"planes: there must be one per class {', '.join(names)}, found {found}")
