"""Scans: which ones a folder holds, what they are, and their pixels.

Example:
    >>> scans, bad = list_scans(ScanSource("eyes/scans"))  # doctest: +SKIP
    >>> scan = read_scan(scans[0], max_gigabytes=4)  # doctest: +SKIP
    >>> scan.pixels.shape  # doctest: +SKIP
    (1024, 1024, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetseg.config import ScanSource
from unetseg.errors import BadFileError, UsageError
from unetseg.formats import OpenPlane, open_plane, plane_count, plane_header, read_plane
from unetseg.listing import SUFFIXES, image_files, is_image_folder, name_of
from unetseg.planes import ScanHeader
from unetseg.storage import locate

__all__ = [
    "SUFFIXES",
    "BadFile",
    "Scan",
    "ScanHeader",
    "ScanRef",
    "list_scans",
    "name_of",
    "open_scan",
    "read_header",
    "read_scan",
]


@dataclass(frozen=True, order=True)
class ScanRef:
    """One scan: a file (or a Zarr folder), or one page of a stack.

    Attributes:
        id: Path below the source folder without suffix, '/' between folders; a page of a stack ends in ``.p0007``.
        path: The file.
        page: Which page of the stack, from 0; None for a file that is one scan.
    """

    id: str
    path: Path
    page: int | None = None


@dataclass(frozen=True, order=True)
class BadFile:
    """A file that is left out, and why; what in its name is no text is written as escapes."""

    path: str
    reason: str

    def __post_init__(self) -> None:
        for name in ("path", "reason"):
            text = getattr(self, name).encode(errors="backslashreplace").decode()
            object.__setattr__(self, name, text)


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan in memory.

    Attributes:
        pixels: ``(H, W, C)`` of the stored type.
        header: What the file says of it.
    """

    pixels: NDArray[Any]
    header: ScanHeader


def list_scans(source: ScanSource, count: Callable[[Path], int] = plane_count) -> tuple[list[ScanRef], list[BadFile]]:
    """The scans of a folder (or of one multi-page file) sorted by id, and the files that cannot be used.

    Hidden files and files that are no images are passed over. Pixels are not decoded.

    Args:
        source: Where the scans are.
        count: Tells how many planes a file holds; who knows that already spares opening it.

    Raises:
        UsageError: when the folder does not exist or holds no image.
    """
    scans: dict[str, ScanRef] = {}
    bad: list[BadFile] = []
    for path, name in _scan_files(source):
        try:
            refs = _refs(path, name, count)
        except BadFileError as error:
            bad.append(BadFile(str(path), str(error)))
            continue
        if other := next((scans[ref.id] for ref in refs if ref.id in scans), None):
            bad.append(BadFile(str(path), f"{path}: has the same id as {other.path}; rename or remove one of them"))
            continue
        scans.update({ref.id: ref for ref in refs})
    return sorted(scans.values()), bad


def read_header(ref: ScanRef) -> ScanHeader:
    """Size, type and pixel size of a scan, without decoding pixels.

    Raises:
        BadFileError: when the header cannot be read.
    """
    return plane_header(ref.path, ref.page)


def read_scan(ref: ScanRef, *, max_gigabytes: float) -> Scan:
    """A scan's pixels.

    Args:
        ref: Which scan.
        max_gigabytes: What decodes to more is refused from its header, before memory is asked for.

    Raises:
        BadFileError: when the file is broken, too large, empty or has values that are no number.
    """
    header, pixels = read_plane(ref.path, ref.page, max_bytes=max_gigabytes * 1e9)
    return Scan(pixels, header)


def open_scan(ref: ScanRef, *, max_gigabytes: float, whole: float | None = None) -> AbstractContextManager[OpenPlane]:
    """A scan whose rows can be asked for, as `read_scan` reads them.

    Args:
        ref: Which scan.
        max_gigabytes: What needs more memory at once is refused from its header.
        whole: Bytes of decoded pixels up to which it is decoded at once; None: what usually pays.

    Raises:
        BadFileError: when the file is broken, too large, empty or has values that are no number.
    """
    return open_plane(ref.path, ref.page, max_bytes=max_gigabytes * 1e9, whole=whole)


def _scan_files(source: ScanSource) -> Iterable[tuple[Path, str]]:
    """Image files with their names below the source, in order of the names."""
    root = locate(source.path)
    if not root.exists():
        raise UsageError(f"{root}: folder of scans not found; check the path")
    if root.is_file() or is_image_folder(root):
        return [(root, name_of(root.name) or root.stem)]
    if ".." in Path(source.pattern).parts or Path(source.pattern).is_absolute():
        raise UsageError(f"pattern of scans must stay below the folder, got {source.pattern!r}; use for example '**/*'")
    found = image_files(root, source.pattern, source.exclude)
    if not found:
        but = f" but not {source.exclude}" if source.exclude else ""
        raise UsageError(f"{root}: no scans found; looked for {source.pattern}{but} ending in {', '.join(SUFFIXES)}")
    names = sorted((name_of(file) or file, file) for file in found)
    return [(root / file, name) for name, file in names]


def _refs(path: Path, name: str, count: Callable[[Path], int]) -> list[ScanRef]:
    if not name.split("/")[-1] or "\\" in name or not name.isprintable():
        raise BadFileError(f"{path}: its name cannot name an output; rename it without control characters and '\\'")
    if (planes := count(path)) == 1:
        return [ScanRef(name, path)]
    return [ScanRef(f"{name}.p{page:04d}", path, page) for page in range(planes)]
