"""Which files hold a scan's mask: patterns such as ``{id}_mask.*``, filled in and looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from glob import escape, has_magic
from pathlib import Path

from unetseg.config import ClassSource, GuideSource
from unetseg.errors import BadFileError, MissingMaskError
from unetseg.listing import SUFFIXES, is_image_folder, name_of
from unetseg.storage import find, is_remote, listing_version, locate

__all__ = ["fill_pattern", "find_mask", "find_objects", "is_image", "mask_files"]

_PAGE_OF_STACK = re.compile(r"^(.+)\.p(\d{4,})$")
_PLACE = re.compile(r"\{(id|name|folder)(?::([^={}]+)=([^={}]*))?\}")


def find_mask(source: GuideSource, scan_id: str) -> tuple[Path, int | None]:
    """The one mask file of a scan, and its page.

    Page ``vol.p0007`` of a stack has a file of its own (``vol.p0007.png``) or page 7 of the mask stack ``vol.tif``.

    Args:
        source: Where the masks are.
        scan_id: The scan's id.

    Returns:
        The file, and which page of it; None for a file that must hold one image.

    Raises:
        MissingMaskError: when there is no file.
        BadFileError: when there is more than one.
    """
    root = locate(source.path)
    stack = _PAGE_OF_STACK.match(scan_id)
    if is_image(root):
        return root, int(stack[2]) if stack else None
    found, page = _matches(root, source.pattern, scan_id), None
    if not found and stack:
        found, page = _matches(root, source.pattern, stack[1]), int(stack[2])
    if not found:
        what = f"mask for {source.name}" if isinstance(source, ClassSource) else f"guide {source.name}"
        raise MissingMaskError(
            f"scan {scan_id}: no {what}: looked for {root / source.pattern}; add it, or remove the scan"
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in found[:3])
        raise BadFileError(f"scan {scan_id}: {len(found)} masks for {source.name} ({names}); make the pattern narrower")
    return found[0], page


def find_objects(source: GuideSource, scan_id: str) -> list[Path]:
    """The mask files of a scan's objects, at least one.

    Args:
        source: Where the masks are.
        scan_id: The scan's id.

    Raises:
        MissingMaskError: when there is no image file.
        BadFileError: when the source is one file, or the pattern leaves its folder.
    """
    root = locate(source.path)
    if is_image(root):
        raise BadFileError(f"{root}: encoding 'objects' needs a folder with one file per object; got one file")
    found = [path for path in _matches(root, source.pattern, scan_id) if name_of(path.name)]
    if not found:
        raise MissingMaskError(
            f"scan {scan_id}: no object files for {source.name}: looked for {root / source.pattern}; add them, or one "
            "black mask where the scan has no object"
        )
    return found


def mask_files(source: GuideSource, scan_id: str) -> list[Path]:
    """Every file that holds a part of a scan's mask: one, or for encoding ``objects`` one per object.

    Raises:
        MissingMaskError: when there is none.
        BadFileError: when there are several where one is needed.
    """
    if isinstance(source, ClassSource) and source.encoding == "objects":
        return find_objects(source, scan_id)
    return [find_mask(source, scan_id)[0]]


def _matches(root: Path, pattern: str, scan_id: str) -> list[Path]:
    """Files below a folder that a pattern means for an id; ``.*`` stands for any image suffix, and nothing else."""
    if any(part == ".." or part.startswith("/") for part in (*Path(pattern).parts, *Path(scan_id).parts)):
        raise BadFileError(f"scan {scan_id}: pattern {pattern!r} leaves the folder {root}; use names below it")
    if not _fits(pattern, scan_id):
        return []
    stem = pattern.removesuffix(".*")
    if stem == pattern:
        return _files(root, fill_pattern(pattern, scan_id, escape))
    if not has_magic(stem):
        return _with_any_suffix(root / fill_pattern(stem, scan_id))
    filled = fill_pattern(stem, scan_id, escape)
    return [path for path in _files(root, filled + ".*") if _has_name(path.relative_to(root), filled)]


def is_image(path: Path) -> bool:
    """Whether there is a file, or a folder that is one image as its suffix says."""
    return path.is_file() or is_image_folder(path)


def fill_pattern(pattern: str, scan_id: str, quote: Callable[[str], str] = str) -> str:
    """Put an id into a pattern.

    ``{id}`` is the whole id, ``{folder}`` its folders with the last '/', ``{name}`` the rest;
    ``{id:_image=_mask}`` and ``{name:_image=_mask}`` replace a part of the name, ``{folder:images=masks}`` the last
    such part of the folders.

    >>> fill_pattern("{id}.*", "p1/7"), fill_pattern("{folder}mask_{name}.*", "p1/7")
    ('p1/7.*', 'p1/mask_7.*')
    >>> fill_pattern("{folder:images=masks}*.*", "p1/images/7")
    'p1/masks/*.*'
    """
    folder, slash, name = scan_id.rpartition("/")
    folder += slash

    def value(place: re.Match[str]) -> str:
        if place[1] == "folder":
            return quote(place[3].join(folder.rsplit(place[2], 1)) if place[2] else folder)
        changed = name.replace(place[2], place[3], 1) if place[2] else name
        return quote(folder + changed if place[1] == "id" else changed)

    return _PLACE.sub(value, pattern)


def _fits(pattern: str, scan_id: str) -> bool:
    """Whether the parts of the id that a pattern replaces are there: else a scan could pass as its own mask."""
    folder, _, name = scan_id.rpartition("/")
    return all(
        (place[2] or "") in (f"{folder}/" if place[1] == "folder" else name) for place in _PLACE.finditer(pattern)
    )


def _with_any_suffix(stem: Path) -> list[Path]:
    """The images of a name, whatever their suffix.

    A folder is listed once, not once per scan, which would make large folders quadratic; and anew when it changed.
    """
    folder, name = stem.parent, stem.name
    try:
        version = listing_version(folder)
        if version is not None:
            return list(_images_of(folder, version).get(name, []))
        if not is_remote(folder):
            return _images_of.__wrapped__(folder, 0).get(name, [])
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for path in _files(folder, f"{escape(name)}.*") if name in _names(path)]


@lru_cache(maxsize=64)
def _images_of(folder: Path, version: int) -> dict[str, list[Path]]:
    """The images of a folder by name without suffix; ``version`` only tells versions of the folder apart."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        names = list(_names(path))
        if names and is_image(path):
            for name in names:
                found.setdefault(name, []).append(path)
    return found


def _names(path: Path) -> Iterator[str]:
    """The names of an image without a suffix: ``a.ome.tif`` is found as ``a`` and as ``a.ome``."""
    lower = path.name.lower()
    return (path.name[: -len(suffix)] for suffix in SUFFIXES if lower.endswith(suffix))


def _files(root: Path, pattern: str) -> list[Path]:
    return sorted(path for path in find(root, pattern) if is_image(path) and not path.name.startswith("."))


def _has_name(path: Path, pattern: str) -> bool:
    name = name_of(path.as_posix())
    return name is not None and fnmatchcase(name, pattern)
