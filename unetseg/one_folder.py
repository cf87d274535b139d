"""Scans and masks below one folder: which file is which, and the globs that find the scans alone.

Example:
    >>> split_files(["p1/images/p1.png", "p1/masks/1.png", "p1/masks/2.png"])
    (['p1/images/p1.png'], ['p1/masks/1.png', 'p1/masks/2.png'])
    >>> split_files(["a.png", "a_nucleus.png", "b.png", "b_nucleus.png"])
    (['a.png', 'b.png'], ['a_nucleus.png', 'b_nucleus.png'])
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from unetseg.errors import UsageError
from unetseg.listing import ALL_FILES, image_files, name_of
from unetseg.pairing import common_begin

__all__ = ["scan_globs", "split_files"]

_MASK_WORDS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "gt", "truth", "groundtruth", "manual"),
    *("seg", "segmentation", "segmentations"),
}
_SCAN_WORDS = {"image", "images", "img", "imgs", "scan", "scans", "raw"}
_LEAST_OF_SCANS = 0.5  # share of the other files that an ending must pair
_SHORTEST = 2  # letters that all names must share, to be told by them


def scan_globs(scans: Path, masks: Path | None) -> tuple[str, str]:
    """``pattern`` and ``exclude`` of `unetseg.config.ScanSource` that find the scans, but no masks below their folder.

    Args:
        scans: Folder (or file) of scans.
        masks: Folder (or file) of masks; None: there are none.

    Raises:
        UsageError: when names do not tell scans from masks, or no glob does.
    """
    if masks is None or not scans.is_dir() or (masks != scans and scans not in masks.parents):
        return ALL_FILES, ""
    files = image_files(scans)
    inside = masks.relative_to(scans).as_posix()
    ours, theirs = split_files(files) if masks == scans else _below(files, inside)
    if not ours or not theirs:
        raise UsageError(
            f"{masks}: scans and masks are in one place, and names do not tell which is which; put them into two "
            "folders, or name each mask like its scan with '_mask' added"
        )
    for pattern, exclude in _globs(ours, theirs):
        if image_files(scans, pattern, exclude) == ours:
            return pattern, exclude
    raise UsageError(
        f"{scans}: holds scans like {ours[0]!r} and masks like {theirs[0]!r}, but no file pattern finds the scans "
        "alone; move the masks to a folder of their own"
    )


def split_files(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """Scans and masks: by words such as ``masks`` in their paths, or else by what masks add to the names of scans.

    Args:
        files: Paths below the folder, with suffix.

    Returns:
        Both sorted; one is empty where names do not tell.
    """
    marked = {file for file in files if _words(file) & _MASK_WORDS}
    in_folders = {file for file in files if _words(file.rpartition("/")[0]) & _SCAN_WORDS} - marked
    named = {file for file in files if _words(file) & _SCAN_WORDS}
    every = set(files)
    for masks in (every - in_folders, marked, every - named):
        if masks and masks != every:
            break
    else:
        masks = _extended(files)
    return sorted(every - masks), sorted(masks)


def _below(files: Sequence[str], folder: str) -> tuple[list[str], list[str]]:
    inside = [file for file in files if file == folder or file.startswith(f"{folder}/")]
    return sorted(set(files) - set(inside)), inside


def _words(file: str) -> set[str]:
    return set(re.split(r"[\W\d_]+", _name(file).lower()))


def _name(file: str) -> str:
    return name_of(file) or file


def _extended(files: Sequence[str]) -> set[str]:
    """Files named like another one with a word before or behind it, such as ``7_cell`` beside ``7``."""
    names = {_name(file): file for file in files}
    added: dict[tuple[str, str], set[str]] = {}
    for name, file in names.items():
        for affix in _affixes(name, names):
            added.setdefault(affix, set()).add(file)
    counts = Counter({affix: len(found) for affix, found in added.items()})
    best = max(counts.values(), default=0)
    masks: set[str] = set().union(*(added[affix] for affix, count in counts.items() if count >= max(best / 2, 1)))
    return masks if best >= _LEAST_OF_SCANS * (len(files) - len(masks)) else set()


def _affixes(name: str, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What a name has before or behind the whole name of another file of its folder; numbers alone do not count."""
    folder, slash, last = name.rpartition("/")
    for cut in range(1, len(last)):
        begin, end = last[:cut], last[cut:]
        if re.match(r"[_ .-]*[^\W\d_]{2}", end) and folder + slash + begin in names:
            yield "", end
        if re.search(r"[^\W\d_]{2}[_ .-]*$", begin) and folder + slash + end in names:
            yield begin, ""


# --------------------------------------------------------------------------- globs


def _globs(scans: Sequence[str], masks: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pattern and exclude that may find the scans alone: by folders, by what names share, by suffix, by the masks."""
    yield from ((pattern, "") for pattern in _folder_globs(scans))
    yield from ((pattern, "") for pattern in _shared(scans))
    yield from ((f"**/*{suffix}", "") for suffix in sorted({file[len(_name(file)) :] for file in scans}))
    yield from ((ALL_FILES, pattern) for pattern in [*_folder_globs(masks), *_shared(masks)])
    if all(_name(file)[-1].isdigit() for file in scans):
        yield "**/*[0-9].*", ""


def _shared(files: Sequence[str]) -> Iterator[str]:
    """By the beginning or the end that all names have."""
    names = [PurePosixPath(_name(file)).name for file in files]
    begin, end = common_begin(names), common_begin([name[::-1] for name in names])[::-1]
    if (word := re.sub(r"\d+$", "", begin)) and len(word) >= _SHORTEST:
        yield f"**/{_quoted(word)}*"
    if (word := re.sub(r"^\d+", "", end)) and len(word) >= _SHORTEST:
        yield f"**/*{_quoted(word)}.*"


def _folder_globs(scans: Sequence[str]) -> Iterator[str]:
    folders = [PurePosixPath(file).parts[:-1] for file in scans]
    if not any(folders):
        yield "*"
    if all(folders) and len({parts[0] for parts in folders}) == 1:
        yield f"{_quoted(folders[0][0])}/**/*"
    if all(folders) and len({parts[-1] for parts in folders}) == 1:
        yield f"**/{_quoted(folders[0][-1])}/*"


def _quoted(text: str) -> str:
    """For a glob: '*', '?' and '[' mean themselves."""
    return re.sub(r"([*?[])", r"[\1]", text)
