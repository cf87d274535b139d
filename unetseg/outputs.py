"""Outputs of prediction: one file per scan, in a format that other tools open.

A new format is one class, a suffix and the methods of `Format`; one line in `FORMATS`; and its name in
`PredictConfig.format`. What the values mean is a `unetseg.output_kinds.Kind`, which all formats know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from unetseg.ome import PixelSize, VoxelSize
from unetseg.output_kinds import LABELS, MASKS, OBJECTS, PROBABILITIES, Kind, Planes
from unetseg.output_layout import Layout
from unetseg.output_tiff import Tiff
from unetseg.output_zarr import OmeZarr

__all__ = ["FORMATS", "LABELS", "MASKS", "OBJECTS", "PROBABILITIES", "Format", "Kind"]


class Format(Protocol):
    """How the planes of one scan are written and read back.

    Scans whose larger side is above 1024 pixels get smaller levels too, as `unetseg.pyramid` makes them.
    """

    suffix: str

    def write(
        self, path: Path, planes: Planes, names: Sequence[str], pixel_size: PixelSize, *, kind: Kind = MASKS
    ) -> None:
        """Write a file, which appears complete; planes that are not in memory are read in bands of rows.

        Args:
            path: of the file, with this format's suffix.
            planes: ``(K, H, W)``, with values as `kind` says.
            names: of the classes.
            pixel_size: ``(y, x)`` in micrometres, or None.
            kind: what the values mean.

        Raises:
            UsageError: there are not as many planes as names, or classes overlap that are to become one label map.
        """
        ...

    def write_stack(
        self, path: Path, pages: Sequence[Planes], names: Sequence[str], pixel_size: VoxelSize, *, kind: Kind = MASKS
    ) -> None:
        """Write the pages of a stack as one file with a z axis; else as `write`, which takes the pages' planes.

        Args:
            path: of the file, with this format's suffix.
            pages: the planes ``(K, H, W)`` of each.
            names: of the classes.
            pixel_size: as of `write`, or with how far the pages are apart in front, ``(z, y, x)``.
            kind: what the values mean.

        Raises:
            UsageError: as `write`; or there is no page, or pages differ in shape.
        """
        ...

    def place(self, image: Path, path: Path, names: Sequence[str], pixel_size: PixelSize, *, kind: Kind) -> None:
        """Make a file of an image that was written in bands (`unetseg.output_bands`), which is gone then."""
        ...

    def read(self, path: Path, *, kind: Kind = MASKS, step: int = 1, page: int = 0) -> NDArray[Any]:
        """The planes ``(K, H, W)`` as they were given to `write`.

        Args:
            path: of the file.
            kind: what the values mean.
            step: every how many pixels one is read; of a large scan, only of the smaller level that has them
                (`pick_level` and `thinned` of `unetseg.pyramid`).
            page: which one of a stack.
        """
        ...

    def planes(self, path: Path, *, kind: Kind = MASKS, page: int = 0, level: int = 0) -> Planes:
        """The planes as they were given to `write`, read when rows are asked for; such as `write_stack` takes.

        Args:
            path: of the file.
            kind: what the values mean.
            page: which one of a stack.
            level: 0, or a smaller one where there are some.
        """
        ...

    def layout(
        self,
        name: str,
        shape: tuple[int, int, int],
        names: Sequence[str],
        pixel_size: VoxelSize,
        *,
        kind: Kind = MASKS,
        rows: int = 0,
        pages: int = 0,
    ) -> Layout:
        """What an output takes of the disk besides what is marked in it, as `write` or `write_stack` make it.

        Args:
            name: of the scan.
            shape: of the planes, ``(K, H, W)``.
            names: of the classes.
            pixel_size: ``(y, x)`` in micrometres, of a stack also ``(z, y, x)``; or None.
            kind: what the values mean.
            rows: of the bands in which it is written (`unetseg.output_bands`); 0: it is not.
            pages: of a stack; 0: it is none.
        """
        ...


FORMATS: Mapping[str, Format] = {"ome-zarr": OmeZarr(), "tiff": Tiff()}
