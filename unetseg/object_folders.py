"""Which folder of masks belongs to which scan, where a scan has one file per object or per class.

Example:
    >>> find_folder_patterns(["a/images/a", "b/images/b"], ["a/masks/x1", "a/masks/x2", "b/masks/y1"])
    ('{folder:images=masks}*.*',)
    >>> find_folder_patterns(["a", "b"], ["a/iris", "a/pupil", "b/iris", "b/pupil"])
    ('{id}/iris.*', '{id}/pupil.*')
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from glob import escape

from unetseg.pairing import base_id, paired_ids
from unetseg.patterns import fill_pattern

__all__ = ["OBJECTS", "find_folder_patterns"]

OBJECTS = "*.*"  # how a pattern ends that means every file of a folder

_SCANS_TRIED = 50  # whose names are searched in the paths of folders
_STEMS_TRIED = 10
_LEAST_OF_SCANS = 0.5
_LEAST_OF_FOLDERS = 0.8


def find_folder_patterns(ids: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The patterns that lead from ids of scans to folders with several masks; none if there are no such folders.

    Args:
        ids: Ids of the scans.
        names: Paths of the masks below their folder, without suffix.

    Returns:
        Patterns that end in `OBJECTS` (numbered or random names: a file per object), or one per file name that all
        folders have (a file per class).
    """
    ids = list(dict.fromkeys(base_id(scan_id) for scan_id in ids))
    folders: dict[str, set[str]] = {}
    for name in names:
        folder, slash, last = name.rpartition("/")
        if slash:
            folders.setdefault(folder + slash, set()).add(last)
    stems = _stems(ids, folders)
    counts = {stem: _own_folders(stem, ids, folders) for stem in stems}
    best = max(counts.values(), default=0)
    good = [stem for stem in stems if counts[stem] >= max(best / 2, 1) and _not_by_chance(counts[stem], ids, folders)]
    # Several patterns may lead to the same folders: the first is the plainest.
    distinct = {tuple(_folder(stem, scan_id) for scan_id in ids): stem for stem in reversed(good)}
    return tuple(sorted({pattern for stem in distinct.values() for pattern in _patterns(stem, ids, folders)}))


def _folder(stem: str, scan_id: str) -> str:
    return re.sub(r"\[(.)\]", r"\1", fill_pattern(stem, scan_id))  # undoes glob.escape


def _own_folders(stem: str, ids: Sequence[str], folders: Mapping[str, set[str]]) -> int:
    """How many scans a pattern gives a folder that no other scan has; 0 where scans share one."""
    paired = paired_ids(ids, folders, stem)
    return len(paired) if len({_folder(stem, name) for name in paired}) == len(paired) else 0


def _not_by_chance(paired: int, ids: Sequence[str], folders: Mapping[str, set[str]]) -> bool:
    return paired >= _LEAST_OF_SCANS * len(ids) or paired >= _LEAST_OF_FOLDERS * len(folders)


def _stems(ids: Sequence[str], folders: Mapping[str, set[str]]) -> list[str]:
    """Patterns of folders by how many scans they may fit: ``{id}/``, ``{name}/masks/``, ``{folder:images=masks}``."""
    fitting: Counter[str] = Counter()
    for scan_id in ids[:: max(1, len(ids) // _SCANS_TRIED)]:
        for folder in folders:
            fitting.update(_leading(scan_id, folder))
    return sorted(fitting, key=lambda stem: (-fitting[stem], stem != "{id}/", "{name}" in stem, stem))[:_STEMS_TRIED]


def _leading(scan_id: str, folder: str) -> Iterator[str]:
    """How one id may lead to one folder; whole path parts only."""
    above, _, name = scan_id.rpartition("/")
    ours, theirs = above.split("/") if above else [], folder.rstrip("/").split("/")
    if folder == f"{scan_id}/":
        yield "{id}/"
    if name in theirs:
        at = theirs.index(name)
        yield "/".join([*map(escape, theirs[:at]), "{name}", *map(escape, theirs[at + 1 :]), ""])
    if ours and theirs[:-1] == ours:
        yield f"{{folder}}{escape(theirs[-1])}/"
    if ours and theirs[:-1] == ours[:-1] and theirs[-1] != ours[-1] and not set("={}") & set(ours[-1] + theirs[-1]):
        yield f"{{folder:{ours[-1]}={theirs[-1]}}}"


def _patterns(stem: str, ids: Sequence[str], folders: Mapping[str, set[str]]) -> list[str]:
    """One pattern for all files, or one for each name that every folder has and that is no number."""
    contents = [folders.get(_folder(stem, scan_id), set()) for scan_id in paired_ids(ids, folders, stem)]
    shared = contents[0].intersection(*contents)
    same = all(found == shared for found in contents) and len(contents) > 1
    if same and not any(name[-1].isdigit() for name in shared):
        return [f"{stem}{escape(name)}.*" for name in shared]
    return [f"{stem}{OBJECTS}"]
