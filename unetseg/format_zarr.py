"""OME-Zarr and plain Zarr, versions 2 and 3: a folder whose name ends in ``.zarr`` is one file like any other.

The axes are those that OME metadata (0.3 and later), ``dimension_names`` or xarray's ``_ARRAY_DIMENSIONS`` name. Of an
array without names, by its shape:

=========  =============  ============================================
2 axes     ``yx``
3 axes     ``yxc``        the last is 3 or 4 long
3 axes     ``cyx``        the first is at most 4 long
3 axes     ``zyx``        otherwise
4 axes     ``zyxc``       the last is 3 or 4 long
4 axes     ``zcyx``       the second is at most 4 long
4 axes     ``tzyx``       otherwise
5 axes     ``tczyx``      the order of OME-Zarr 0.2 and before
=========  =============  ============================================

The c axis holds the channels; all axes besides c, y and x count planes, the last of them fastest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import BadFileError
from unetseg.planes import Format, RowReader, ScanHeader, check_size

__all__ = ["ZARR", "ZARR_SUFFIX", "is_node", "ome_metadata"]

ZARR_SUFFIX = ".zarr"
"""How the names of such folders end."""

_MOST_PLANES = 1_000_000  # more are a mistake: nobody could list them
_COLOURS = 3, 4  # lengths of a last axis that are red, green, blue, and opacity
_MOST_CHANNELS = 4  # length of a leading axis without a name that may be channels
_MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}


class _Zarr:
    """The planes of an array.

    Attributes:
        axes: A letter for each axis, as they are stored.
        others: Numbers of the axes that count planes.
    """

    def __init__(self, path: Path, array: Any, image: dict[str, Any]) -> None:  # noqa: ANN401 (zarr's types are wide)
        self.path, self.array, self.image = path, array, image
        self.axes = _axes(path, array, image)
        self.others = [number for number, axis in enumerate(self.axes) if axis not in "cyx"]
        self.count = math.prod(array.shape[number] for number in self.others)
        if self.count > _MOST_PLANES:
            raise BadFileError(f"{path}: is broken: shape {array.shape} are {self.count} planes")

    def header(self, page: int) -> ScanHeader:
        length = dict(zip(self.axes, self.array.shape, strict=True))
        labels = _labels(self.image)
        return ScanHeader(
            height=int(length["y"]),
            width=int(length["x"]),
            channels=int(length.get("c", 1)),
            dtype=np.dtype(self.array.dtype).name,
            pixel_size=_pixel_size(self.image, self.axes),
            channel_names=labels if len(labels) == length.get("c", 1) else (),
            axes=self.axes.upper(),
        )

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        height = self.header(page).height
        check_size(self.path, self.decoded_bytes(height), max_bytes, part="with whole chunks ")
        return self.rows(page, 0, height)

    def by_rows(self, page: int) -> RowReader | None:
        return _Rows(self, page)

    def page_distance(self) -> float | None:
        alone = "z" in self.axes and self.array.shape[self.axes.index("z")] == self.count
        return _size(self.image, self.axes, "z") if alone else None

    def rows(self, page: int, start: int, stop: int) -> NDArray[Any]:
        """The pixels ``(stop - start, W, C)`` of some rows of one plane."""
        at = dict(
            zip(self.others, np.unravel_index(page, [self.array.shape[axis] for axis in self.others]), strict=True)
        )
        selection = tuple(
            int(at[number]) if number in at else slice(start, stop) if axis == "y" else slice(None)
            for number, axis in enumerate(self.axes)
        )
        found = np.asarray(self.array[selection])
        kept = "".join(axis for axis in self.axes if axis in "cyx")
        found = found.transpose([kept.index(axis) for axis in "yxc" if axis in kept])
        found = found.astype(found.dtype.newbyteorder("="), copy=False)
        return found if "c" in kept else found[..., np.newaxis]

    def decoded_bytes(self, rows: int) -> int:
        """Bytes of the chunks that hold so many rows of a plane."""
        nbytes = int(np.dtype(self.array.dtype).itemsize)
        for axis, length, chunk in zip(self.axes, self.array.shape, self.array.chunks, strict=True):
            wanted = rows if axis == "y" else length if axis in "xc" else 1
            nbytes *= -(-int(wanted) // int(chunk)) * int(chunk)
        return nbytes


class _Rows:
    """Rows of one plane; what was decoded beyond them is kept for the rows that follow.

    Attributes:
        kept: First row and pixels of the rest of the last row of chunks.
    """

    def __init__(self, planes: _Zarr, page: int) -> None:
        self.planes, self.page = planes, page
        self.height = planes.header(page).height
        self.length = int(planes.array.chunks[planes.axes.index("y")])
        self.band_bytes = planes.decoded_bytes(1)
        self.kept = 0, planes.rows(page, 0, 0)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        first, kept = self.kept
        known = kept[max(start - first, 0) : max(stop - first, 0)] if first <= start else kept[:0]
        begin, end = start + len(known), min(-(-stop // self.length) * self.length, self.height)
        if begin == stop:
            return known
        fresh = self.planes.rows(self.page, begin, end)
        self.kept = stop, fresh[stop - begin :].copy()
        return np.concatenate([known, fresh[: stop - begin]]) if len(known) else fresh[: stop - begin]


# --------------------------------------------------------------------------- which array


@contextmanager
def _open(path: Path) -> Iterator[_Zarr]:
    import zarr

    from unetseg.zarr_bounded import bound

    folder, image = _find_image(path, path)
    array = zarr.open_array(folder, mode="r")
    bound(path, array)
    yield _Zarr(path, array, image)


def _find_image(path: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The array of full resolution, and the OME metadata of its image; empty where there is none.

    Args:
        path: What was asked for, for messages.
        folder: That, or what it holds.
    """
    kind, attributes = _read_node(folder)
    if kind == "array":
        return folder, {}
    ome = attributes.get("ome", attributes)
    if "unetseg" in attributes:
        raise BadFileError(f"{path}: is a dataset that unetseg made, not a scan; keep it out of the folder of scans")
    if "plate" in ome or "well" in ome:
        raise BadFileError(f"{path}: is a plate of wells, where one image is expected; name one of its fields")
    if "multiscales" in ome:
        image = {**ome["multiscales"][0], "omero": ome.get("omero", {})}
        return _inside(path, folder, image["datasets"][0]["path"]), image
    inside = sorted(item for item in folder.iterdir() if item.is_dir() and item.name != "OME" and is_node(item))
    if len(inside) != 1:
        names = ", ".join(item.name for item in inside[:5]) or "none"
        raise BadFileError(
            f"{path}: a Zarr group without OME metadata must hold one image, but holds {len(inside)}: {names}; "
            "put each into a folder NAME.zarr"
        )
    return _find_image(path, inside[0])


def _inside(path: Path, folder: Path, name: str) -> Path:
    """A folder that metadata names; it must not lead to other files."""
    found = (folder / name).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise BadFileError(f"{path}: is broken: its metadata names an array outside of it, {name!r}")
    return found


def is_node(folder: Path) -> bool:
    """Whether a folder, local or in an object store, is a Zarr array or group."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def ome_metadata(folder: Path) -> dict[str, Any]:
    """What a Zarr node, local or in an object store, says as OME-Zarr; of 0.4 with all else that it says.

    Raises:
        BadFileError: it is no Zarr.
    """
    attributes = _read_node(folder)[1]
    found: dict[str, Any] = attributes.get("ome", attributes)
    return found


def _read_node(folder: Path) -> tuple[str, dict[str, Any]]:
    """``array`` or ``group``, and the attributes."""
    if (folder / "zarr.json").is_file():
        node = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
        return str(node["node_type"]), node.get("attributes", {})
    kind = next((kind for name, kind in ((".zarray", "array"), (".zgroup", "group")) if (folder / name).is_file()), "")
    if not kind:
        raise BadFileError(f"{folder}: is no Zarr: zarr.json, .zgroup or .zarray is missing")
    notes = folder / ".zattrs"
    return kind, json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}


# --------------------------------------------------------------------------- what metadata says


def _axes(path: Path, array: Any, image: dict[str, Any]) -> str:  # noqa: ANN401 (zarr's types are wide)
    """A letter for each axis; x and y must be among them, and each only once."""
    names = _names(array, image)
    axes = "".join(str(name).lower()[:1] for name in names) if names else _guessed(array.shape)
    if len(axes) != array.ndim or not {"x", "y"} <= set(axes) or len(set(axes)) < len(axes):
        raise BadFileError(f"{path}: axes {list(names) or axes} of shape {array.shape} are not planes of y and x")
    return axes


def _names(array: Any, image: dict[str, Any]) -> Sequence[Any]:  # noqa: ANN401 (zarr's types are wide)
    if "axes" in image:  # strings in 0.3, later with type and unit
        return [axis["name"] if isinstance(axis, dict) else axis for axis in image["axes"]]
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or []
    return names if {"x", "y"} <= {str(name).lower()[:1] for name in names} else []


def _guessed(shape: Sequence[int]) -> str:
    """The table at the top."""
    if len(shape) == 3:
        return "yxc" if shape[-1] in _COLOURS else "cyx" if shape[0] <= _MOST_CHANNELS else "zyx"
    if len(shape) == 4:
        return "zyxc" if shape[-1] in _COLOURS else "zcyx" if shape[1] <= _MOST_CHANNELS else "tzyx"
    return {2: "yx", 5: "tczyx"}.get(len(shape), "")


def _labels(image: dict[str, Any]) -> tuple[str, ...]:
    """Names of the channels; none where one has no name."""
    found = [channel.get("label") for channel in image.get("omero", {}).get("channels", [])]
    return tuple(map(str, found)) if all(found) else ()


def _pixel_size(image: dict[str, Any], axes: str) -> tuple[float, float] | None:
    """Micrometres ``(y, x)``; None without a unit of length."""
    y, x = (_size(image, axes, letter) for letter in "yx")
    return (y, x) if 0 < y < math.inf and 0 < x < math.inf else None


def _size(image: dict[str, Any], axes: str, letter: str) -> float:
    """Micrometres along an axis: the scales of the level and of all levels; 0 without a unit of length."""
    if not all(isinstance(axis, dict) for axis in image.get("axes", [""])):
        return 0.0
    scales = [*image["datasets"][0].get("coordinateTransformations", []), *image.get("coordinateTransformations", [])]
    factors = [item["scale"] for item in scales if item.get("type") == "scale"]
    number = axes.index(letter)
    unit = _MICROMETRES.get(image["axes"][number].get("unit", ""), 0.0) if factors else 0.0
    return unit * math.prod(float(factor[number]) for factor in factors)


ZARR = Format("Zarr", (".ome.zarr", ZARR_SUFFIX), lambda head: False, _open)
