"""Scans: which ones a folder holds, what they are, and their pixels.

Example:
    >>> scans, bad = list_scans(ScanSource("eyes/scans"))  # doctest: +SKIP
    >>> scan = read_scan(scans[0], max_gigabytes=4)  # doctest: +SKIP
    >>> scan.pixels.shape  # doctest: +SKIP
    (1024, 1024, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetseg.config import ScanSource
from unetseg.errors import BadFileError, NoScansError, UsageError
from unetseg.formats import OpenPlane, open_plane, page_distance, plane_count, plane_header, read_plane
from unetseg.listing import SUFFIXES, image_files, is_image_folder, is_wanted, name_of
from unetseg.planes import ScanHeader
from unetseg.scan_lists import is_scan_list, listed_scans
from unetseg.storage import locate
from unetseg.words import counted
from unetseg.zarr_collections import SeveralImagesError

__all__ = [
    "BadFile",
    "Scan",
    "ScanHeader",
    "ScanRef",
    "list_scans",
    "name_of",
    "open_scan",
    "read_header",
    "read_page_distance",
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

    @property
    def stack(self) -> str:
        """Id of the stack that it is a page of; of a scan that is no page, its own."""
        return self.id if self.page is None else self.id.removesuffix(_page_suffix(self.page))


@dataclass(frozen=True, order=True)
class BadFile:
    """A file that is left out, and why; what in its name is no text is written as escapes.

    Errors begin with the file that they are about; a reason does not say it again, but it names others, such as a mask.
    """

    path: str
    reason: str

    def __post_init__(self) -> None:
        for name in ("path", "reason"):
            text = getattr(self, name).encode(errors="backslashreplace").decode()
            object.__setattr__(self, name, text)
        object.__setattr__(self, "reason", self.reason.removeprefix(f"{self.path}: "))

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan in memory.

    Attributes:
        pixels: ``(H, W, C)`` of the stored type.
        header: What the file says of it.
    """

    pixels: NDArray[Any]
    header: ScanHeader


def list_scans(
    source: ScanSource, count: Callable[[Path], int] = plane_count, *, without: Set[Path] = frozenset()
) -> tuple[list[ScanRef], list[BadFile]]:
    """The scans of a folder (a list, or one multi-page file) sorted by id, and the files that cannot be used.

    Each field of a plate, and each image of a collection, is a scan. Hidden files and files that are no images are
    passed over. Pixels are not decoded.

    Args:
        source: Where the scans are.
        count: Tells how many planes a file holds; who knows that already spares opening it.
        without: Files of the folder that are no scans, such as masks.

    Raises:
        UsageError: when the folder does not exist or holds no image.
    """
    scans: list[ScanRef] = []
    taken: dict[str, Path] = {}
    bad: list[BadFile] = []
    for refs in chain.from_iterable(_counted(*file, count) for file in _scan_files(source, without)):
        if isinstance(refs, BadFile):
            bad.append(refs)
            continue
        path = refs[0].path
        # The pages of a stack become one output, which has its name.
        names = {refs[0].stack, *(ref.id for ref in refs)}
        if other := next((taken[name] for name in sorted(names) if name in taken), None):
            bad.append(BadFile(str(path), f"has the same id as {other}; rename or remove one of them"))
            continue
        taken.update(dict.fromkeys(names, path))
        scans += refs
    return sorted(scans), bad


def read_header(ref: ScanRef) -> ScanHeader:
    """Size, type and pixel size of a scan, without decoding pixels.

    Raises:
        BadFileError: when the header cannot be read.
    """
    return plane_header(ref.path, ref.page)


def read_page_distance(stack: ScanRef) -> float | None:
    """How far the pages of a stack are apart, in micrometres; None where its file does not say.

    Raises:
        BadFileError: when the file cannot be opened.
    """
    return page_distance(stack.path)


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


def _scan_files(source: ScanSource, without: Set[Path]) -> Iterable[tuple[Path, str]]:
    """Image files with their names below the source, in order of the names."""
    root = locate(source.path)
    if not root.exists():
        raise UsageError(f"{root}: folder of scans not found; check the path")
    if is_scan_list(root):
        wanted = [item for item in listed_scans(root) if is_wanted(item[1], source.pattern, source.exclude)]
        if not wanted:
            raise UsageError(f"{root}: no scan in it fits the pattern {source.pattern!r}; use for example '**/*'")
        return sorted(
            ((path, name_of(name) or name) for path, name in wanted), key=lambda item: (item[1], str(item[0]))
        )
    if root.is_file() or is_image_folder(root):
        return [(root, name_of(root.name) or root.stem)]
    if ".." in Path(source.pattern).parts or Path(source.pattern).is_absolute():
        raise UsageError(f"pattern of scans must stay below the folder, got {source.pattern!r}; use for example '**/*'")
    found = [file for file in image_files(root, source.pattern, source.exclude) if root / file not in without]
    if not found:
        but = f" but not {source.exclude}" if source.exclude else ""
        but += f" but not {counted(len(without), 'file')} known as masks or guides" if without else ""
        raise NoScansError(f"{root}: no scans found; looked for {source.pattern}{but} ending in {', '.join(SUFFIXES)}")
    names = sorted((name_of(file) or file, file) for file in found)
    return [(root / file, name) for name, file in names]


def _counted(path: Path, name: str, count: Callable[[Path], int]) -> Iterator[list[ScanRef] | BadFile]:
    """The scan or the pages of a file, or why it cannot be used; of a plate or collection, those of each image."""
    try:
        yield _refs(path, name, count)
    except SeveralImagesError as several:
        for image in several.images:
            yield from _counted(path / image, f"{name}/{image}", count)
    except BadFileError as error:
        yield BadFile(str(path), str(error))


def _refs(path: Path, name: str, count: Callable[[Path], int]) -> list[ScanRef]:
    if not name.split("/")[-1] or "\\" in name or not name.isprintable():
        raise BadFileError(f"{path}: its name cannot name an output; rename it without control characters and '\\'")
    if (planes := count(path)) == 1:
        return [ScanRef(name, path)]
    return [ScanRef(name + _page_suffix(page), path, page) for page in range(planes)]


def _page_suffix(page: int) -> str:
    return f".p{page:04d}"
