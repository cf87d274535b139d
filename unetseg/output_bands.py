"""Outputs of scans that are larger than memory: written in bands of rows, in any order, by several processes.

::

    FOLDER/               of the caller's choosing, on the disk of the outputs; found again after a kill
      bands.json          what was begun
      image/0/            the array of full resolution
      written/<start>.json    one per band, written after its rows: the commit marker, with what the caller notes

A band is as high as a shard of the array, so no two processes write into one file. It is written in strips as wide as a
shard: a band of all columns may be larger than memory, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetseg.errors import DataError, UsageError
from unetseg.json_files import read_json, write_json
from unetseg.ome import PixelSize
from unetseg.output_kinds import MASKS, Kind, Planes
from unetseg.output_zarr import CHUNK, begin_image, write_band
from unetseg.outputs import Format
from unetseg.storage import remove
from unetseg.zarr_arrays import StoredArray, StoredPlanes, band_rows

__all__ = ["Bands"]


@dataclass(frozen=True)
class Bands:
    """An output in the making. It holds no open file, so it can travel to other processes.

    Attributes:
        folder: where it is made, for these bands alone: its name tells the scan's content, the model and the settings;
            local, and seen by all processes that write.
        shape: of the planes, ``(K, H, W)``.
        names: of the classes.
        pixel_size: ``(y, x)`` in micrometres, or None.
        kind: what the values mean.
        rows: of a band, a multiple of 512; the last band is what is left. At least H: there is one band.
    """

    folder: Path
    shape: tuple[int, int, int]
    names: tuple[str, ...]
    pixel_size: PixelSize
    rows: int
    kind: Kind = MASKS

    def __post_init__(self) -> None:
        if self.rows < 1 or (self.rows % CHUNK and self.rows < self.shape[1]):
            raise UsageError(f"rows: bands must be a multiple of {CHUNK} rows high, found {self.rows}")

    def begin(self) -> None:
        """Make the folder; one that was begun for the same is gone on with, any other is thrown away.

        To be called once, before any process writes.
        """
        wanted = {"shape": list(self.shape), "kind": self.kind.name, "rows": self.rows}
        marker = self.folder / "bands.json"
        if marker.exists() and read_json(marker) == wanted:
            return
        self.discard()
        begin_image(self._image, self.shape, self.kind, rows=self.rows)
        write_json(marker, wanted)

    @property
    def starts(self) -> range:
        """The first rows of all bands."""
        return range(0, self.shape[1], self.rows)

    @property
    def strips(self) -> list[tuple[int, int]]:
        """The columns of each file of a band: the first, and the one after the last."""
        width, columns = self.shape[2], self.columns
        return [(left, min(left + columns, width)) for left in range(0, width, columns)]

    @property
    def columns(self) -> int:
        """Of a file of a band; the last one is what is left."""
        return band_rows(CHUNK)

    def write(self, start: int, left: int, planes: NDArray[Any]) -> None:
        """Write one strip of a band, again if it must be; from any process, each band by one at a time.

        Args:
            start: one of `starts`.
            left: the first column of one of `strips`.
            planes: ``(K, h, w)``, all rows of the band and all columns of the strip.

        Raises:
            UsageError: this is not a strip of a band; or classes overlap that are to become one label map.
            OSError: the disk is full.
        """
        across = dict(self.strips).get(left, left)
        expected = (self.shape[0], min(self.rows, self.shape[1] - start), across - left)
        if start not in self.starts or planes.shape != expected:
            what = f"planes: the strip from row {start} and column {left}"
            raise UsageError(f"{what} must have shape {expected}, found {planes.shape}")
        write_band(StoredArray(self._image / "0"), start, planes, self.kind, left=left)

    def commit(self, start: int, note: Any = None) -> None:  # noqa: ANN401 (JSON)
        """Say that all strips of a band are written.

        Args:
            start: one of `starts`.
            note: what is to be known of the band later, as JSON.
        """
        write_json(self._note(start), {"note": note})

    def written(self) -> Iterator[tuple[int, Any]]:
        """The bands that are there: first row and what was noted, read when it is asked for; notes may be long."""
        for start in sorted(set(self.starts) - set(self.missing())):
            yield start, read_json(self._note(start))["note"]

    def missing(self) -> Sequence[int]:
        """The first rows of the bands that are still to be written."""
        found = {int(path.stem) for path in (self.folder / "written").glob("*.json")}
        return sorted(set(self.starts) - found)

    def planes(self) -> Planes:
        """The planes as they were given, read when rows are asked for; 0 where nothing was written yet."""
        return self.kind.given(StoredPlanes(self._image / "0"), self.shape[0])

    def stored(self, k: int, start: int, columns: tuple[int, int]) -> NDArray[Any]:
        """What is stored of one plane in a strip of a band, ``(h, w)``."""
        planes = StoredPlanes(self._image / "0")
        found: NDArray[Any] = planes.read(slice(k, k + 1), slice(start, start + self.rows), slice(*columns))[0]
        return found

    def finish(self, path: Path, form: Format) -> None:
        """Make the output of the bands; their notes stay until `discard`. Going on with a killed call is safe.

        Args:
            path: of the output, with the format's suffix.
            form: its format.

        Raises:
            UsageError: bands are missing.
            DataError: the output was made by an earlier call, and has gone away since.
        """
        if missing := self.missing():
            raise UsageError(f"{self.folder}: {len(missing)} of {len(self.starts)} bands are not written yet")
        if self._image.exists():
            form.place(self._image, path, self.names, self.pixel_size, kind=self.kind)
        elif not path.exists():
            self.discard()
            raise DataError(f"{path}: was removed while it was being finished; run the same again")

    def discard(self) -> None:
        """Remove the folder, when it is written elsewhere that the output is complete."""
        if self.folder.exists():
            remove(self.folder)

    def _note(self, start: int) -> Path:
        return self.folder / "written" / f"{start}.json"

    @property
    def _image(self) -> Path:
        return self.folder / "image"
