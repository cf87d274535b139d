"""Image files below a folder: globs, what is left out of them, and folders that count as one file.

Example:
    >>> matches("a/b/7_mask.png", "**/*_mask.*"), matches("7_mask.png", "**/*_mask.*"), matches("a/7.png", "*.png")
    (True, True, False)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from unetseg.format_zarr import ZARR, ZARR_SUFFIX
from unetseg.formats import FORMATS
from unetseg.places import own_paths
from unetseg.storage import find, is_remote

__all__ = ["ALL_FILES", "SUFFIXES", "image_files", "is_image_folder", "is_wanted", "matches", "name_of"]

ALL_FILES = "**/*"
_SPECIAL, _ESCAPED = r"([\\^\[&~|])", r"\\\1"  # letters that mean something between brackets of an expression

SUFFIXES = tuple(suffix for form in (*FORMATS, ZARR) for suffix in form.suffixes)

_SUFFIX = re.compile(rf"(?:{'|'.join(map(re.escape, SUFFIXES))})\Z")


def name_of(file_name: str) -> str | None:
    """A file's name (or path) without its image suffix; None for a file that is no image.

    >>> name_of("a/b.ome.tif"), name_of("a.nii.gz"), name_of("a.ome.zarr"), name_of("notes.txt")
    ('a/b', 'a', 'a', None)
    """
    found = _SUFFIX.search(file_name.lower())  # the first one to fit is the longest
    return file_name[: -len(found[0])] if found else None


def image_files(root: Path, pattern: str = ALL_FILES, exclude: str = "") -> list[str]:
    """Paths of the image files below a folder, sorted, with '/' between folders.

    Hidden files and folders are left out, and what unetseg writes (`unetseg.places`). A folder named ``*.zarr`` is one
    image, and nothing within it is.

    Args:
        root: The folder.
        pattern: Glob of the paths below it.
        exclude: Glob of those that are left out, matched with the path and with the bare name; empty: none.
    """
    found = (path for path in _candidates(root, pattern) if path.lower().endswith(SUFFIXES) and _is_visible(path))
    is_own = own_paths(root)
    return sorted({path for path in found if not (exclude and _is_excluded(path, exclude)) and not is_own(path)})


def is_image_folder(path: Path) -> bool:
    """Whether a path is a folder that counts as one image."""
    return path.name.lower().endswith(ZARR_SUFFIX) and path.is_dir()


def is_wanted(path: str, pattern: str = ALL_FILES, exclude: str = "") -> bool:
    """Whether a path of a list is among those that `image_files` would find below their folder."""
    return matches(path, pattern) and not (exclude and _is_excluded(path, exclude))


def matches(path: str, pattern: str) -> bool:
    """Whether a glob with ``**`` for any folders, or none, matches the whole path."""
    return _expression(pattern).fullmatch(path) is not None


def _candidates(root: Path, pattern: str) -> Iterable[str]:
    """Files, and folders that count as one, that a glob finds below a folder.

    Below ``**`` the folders are walked here: the many files within a Zarr are not looked at.
    """
    before, recursive, after = pattern.partition("**/")
    if not recursive or is_remote(root) or (before and not before.endswith("/")):
        found = (path for path in find(root, pattern) if _is_what_it_is_called(path))
        return (path.relative_to(root).as_posix() for path in found)
    bases = find(root, before.rstrip("/")) if before else [root]
    inside = ((base.relative_to(root).as_posix(), _walk(base)) for base in bases)
    is_match = _expression(recursive + after).fullmatch
    return ("/".join((folder, path)).removeprefix("./") for folder, paths in inside for path in paths if is_match(path))


def _walk(base: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(base):
        begin = "" if folder == str(base) else f"{Path(folder).relative_to(base).as_posix()}/"
        yield from (begin + name for name in files if not name.lower().endswith(ZARR_SUFFIX))
        yield from (begin + name for name in folders if name.lower().endswith(ZARR_SUFFIX))
        folders[:] = [name for name in folders if not name.startswith(".") and not name.lower().endswith(ZARR_SUFFIX)]


def _is_what_it_is_called(path: Path) -> bool:
    return path.is_dir() if path.name.lower().endswith(ZARR_SUFFIX) else path.is_file()


def _is_visible(path: str) -> bool:
    """Whether neither it nor a folder on the way is hidden, and no folder on the way is an image."""
    return not (path.startswith(".") or "/." in path or f"{ZARR_SUFFIX}/" in path.lower())


def _is_excluded(path: str, exclude: str) -> bool:
    return matches(path, exclude) or matches(path.rpartition("/")[2], exclude)


@lru_cache
def _expression(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob."""
    tokens = re.findall(r"\*\*/|\*\*$|\*|\?|\[!?[^]]+\]|.", pattern, re.DOTALL)
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(token) or _letters(token) for token in tokens), re.DOTALL)


def _letters(token: str) -> str:
    if len(token) == 1:
        return re.escape(token)
    negated, letters = token[1] == "!", token[1:-1].removeprefix("!")
    return f"[{'^/' if negated else ''}{re.sub(_SPECIAL, _ESCAPED, letters)}]"
