"""Zarr folders that hold several images: plates of wells with fields (HCS), and what bioformats2raw makes of a file.

Both are told by OME metadata, of version 0.4 (Zarr 2) or 0.5 (Zarr 3; https://ngff.openmicroscopy.org)::

    plate.zarr/A/1/0     row, column, field; each field is an image
    slides.zarr/0        series, one after the other
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from unetseg.errors import BadFileError
from unetseg.format_zarr import is_node, ome_metadata
from unetseg.planes import reading

__all__ = ["SeveralImagesError", "check_one_image"]

_SERIES_LAYOUT = 3  # of bioformats2raw: that which OME-Zarr specifies


class SeveralImagesError(BadFileError):
    """A Zarr folder holds several images where one is expected.

    Attributes:
        images: their paths below the folder, with '/' between folders.
    """

    def __init__(self, path: Path, images: tuple[str, ...]) -> None:
        super().__init__(
            f"{path}: is a plate or collection of {len(images)} images, where one is expected; name one of them, such "
            f"as {images[0]}"
        )
        self.images = images


def check_one_image(path: Path) -> None:
    """Check that a Zarr folder, local or in an object store, is no plate and no collection; only metadata are read.

    Raises:
        SeveralImagesError: it is, and these are its images.
        BadFileError: it is, and names no image, or one outside of it.
    """
    with reading(path):
        found = _images(path)
    if found is None:
        return
    if not found:
        raise BadFileError(f"{path}: is a plate or collection of images, but its metadata name none; complete them")
    if outside := next((name for name in found if not _is_below(name)), None):
        raise BadFileError(f"{path}: is broken: its metadata name an image outside of it, {outside!r}")
    raise SeveralImagesError(path, tuple(dict.fromkeys(found)))


def _images(path: Path) -> list[str] | None:
    """Images below a folder; None where the folder is one image, or none at all, as reading it tells."""
    if not is_node(path):
        return None
    ome = ome_metadata(path)
    if "plate" in ome:
        wells = [well["path"] for well in ome["plate"].get("wells", [])]
        return [image for well in wells for image in _fields(path, well)]
    if "well" in ome:
        return _names(ome["well"])
    if ome.get("bioformats2raw.layout") == _SERIES_LAYOUT:
        series = list(_series(path))
        return series if len(series) > 1 else None
    return None


def _fields(path: Path, well: str) -> Iterator[str]:
    """The fields of a well; one whose metadata are broken is named itself, so that opening it tells why."""
    try:
        with reading(path / well):
            names = _names(ome_metadata(path / well)["well"])
    except BadFileError:
        yield well
        return
    yield from (f"{well}/{name}" for name in names)


def _names(well: dict[str, Any]) -> list[str]:
    return [str(image["path"]) for image in well.get("images", [])]


def _series(path: Path) -> Iterator[str]:
    """What the metadata list, else numbers from 0 as far as there are images."""
    listed = ome_metadata(path / "OME").get("series") if is_node(path / "OME") else None
    if listed is not None:
        yield from map(str, listed)
    else:
        yield from takewhile(lambda name: is_node(path / name), map(str, count()))


def _is_below(name: str) -> bool:
    parts = PurePosixPath(name)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts
