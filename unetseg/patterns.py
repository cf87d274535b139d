"""Which file holds a scan's mask: patterns such as ``{id}_mask.*``, filled in and looked up."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from glob import escape, has_magic
from pathlib import Path

from unetseg.config import GuideSource
from unetseg.errors import BadFileError, MissingMaskError
from unetseg.readers import SUFFIXES, name_of
from unetseg.storage import local_path

__all__ = ["fill_pattern", "find_mask"]

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
    root = local_path(source.path)
    stack = _PAGE_OF_STACK.match(scan_id)
    if root.is_file():
        return root, int(stack[2]) if stack else None
    found, page = _matches(root, source.pattern, scan_id), None
    if not found and stack:
        found, page = _matches(root, source.pattern, stack[1]), int(stack[2])
    if not found:
        raise MissingMaskError(
            f"scan {scan_id}: no mask for {source.name}: looked for {root / source.pattern}; add it, or remove the scan"
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in found[:3])
        raise BadFileError(f"scan {scan_id}: {len(found)} masks for {source.name} ({names}); make the pattern narrower")
    return found[0], page


def _matches(root: Path, pattern: str, scan_id: str) -> list[Path]:
    """Files below a folder that a pattern means for an id; ``.*`` stands for any image suffix, and nothing else."""
    if any(part == ".." or part.startswith("/") for part in (*Path(pattern).parts, *Path(scan_id).parts)):
        raise BadFileError(f"scan {scan_id}: pattern {pattern!r} leaves the folder {root}; use names below it")
    if not _fits(pattern, scan_id):
        return []
    stem = pattern.removesuffix(".*")
    if stem == pattern:
        return _files(root, fill_pattern(pattern, scan_id, escape))
    if not has_magic(stem) and (found := _with_any_suffix(root / fill_pattern(stem, scan_id))):
        return found
    filled = fill_pattern(stem, scan_id, escape)
    return [path for path in _files(root, filled + ".*") if _has_name(path.relative_to(root), filled)]


def fill_pattern(pattern: str, scan_id: str, quote: Callable[[str], str] = str) -> str:
    """Put an id into a pattern.

    ``{id}`` is the whole id, ``{folder}`` its folders with the last '/', ``{name}`` the rest;
    ``{id:_image=_mask}`` and ``{name:_image=_mask}`` replace a part of the name.

    >>> fill_pattern("{id}.*", "p1/7"), fill_pattern("{folder}mask_{name}.*", "p1/7")
    ('p1/7.*', 'p1/mask_7.*')
    """
    folder, slash, name = scan_id.rpartition("/")

    def value(place: re.Match[str]) -> str:
        changed = name.replace(place[2], place[3], 1) if place[2] else name
        return quote({"id": folder + slash + changed, "name": changed, "folder": folder + slash}[place[1]])

    return _PLACE.sub(value, pattern)


def _fits(pattern: str, scan_id: str) -> bool:
    """Whether the parts of the id that a pattern replaces are there: else a scan could pass as its own mask."""
    name = scan_id.rsplit("/", 1)[-1]
    return all((place[2] or "") in name for place in _PLACE.finditer(pattern))


def _with_any_suffix(stem: Path) -> list[Path]:
    """Asks for names instead of listing: a listing per scan makes large folders quadratic."""
    suffixes = [form for suffix in SUFFIXES for form in (suffix, suffix.upper())]
    found = [path for suffix in suffixes if (path := stem.with_name(stem.name + suffix)).is_file()]
    # Where case does not matter, a.tif and a.TIF are one file.
    return list({(path.stat().st_dev, path.stat().st_ino): path for path in found}.values())


def _files(root: Path, pattern: str) -> list[Path]:
    return sorted(path for path in root.glob(pattern) if path.is_file() and not path.name.startswith("."))


def _has_name(path: Path, pattern: str) -> bool:
    name = name_of(path.as_posix())
    return name is not None and fnmatchcase(name, pattern)
