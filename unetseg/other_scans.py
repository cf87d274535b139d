"""Scans and masks that are not the project's, described as the project's are.

Where the new folder of masks is laid out as the project's is, the project's rules read it; else it is looked at anew,
as by ``unetseg init``, and its classes must have the names that the model knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import Path
from typing import TypeVar

from unetseg.config import ClassSource, GuideSource, Sources
from unetseg.errors import MissingMaskError, UsageError
from unetseg.inspection import inspect
from unetseg.masks import class_names, mask_files
from unetseg.readers import list_scans
from unetseg.storage import is_remote, locate

__all__ = ["sources_of"]

_Source = TypeVar("_Source", bound=GuideSource)


def sources_of(known: Sources, scans: Path, masks: Path, guides: Path | None = None) -> Sources:
    """Describe other scans with masks by the classes, channels and guides of a project.

    Args:
        known: the project's.
        scans: folder of scans, or one multi-page file.
        masks: folder of masks, laid out as the project's or in any way that ``unetseg init`` knows.
        guides: folder with one sub-folder per guide, where the project has guides.

    Raises:
        UsageError: no scan has a mask, the classes have other names, or guides are missing.
    """
    if known.guides and guides is None:
        names = ", ".join(guide.name for guide in known.guides)
        raise UsageError(f"--guides: the model needs the guides {names}; give the folder that holds them")
    given = replace(known.scans, path=str(scans), pattern="**/*", exclude="", table="")
    moved = Sources(given, _moved(known.classes, masks), _moved(known.guides, guides) if guides else ())
    if _some_pair(moved):
        return moved
    return _looked_at(known, moved, masks)


def _moved(sources: Sequence[_Source], root: Path) -> tuple[_Source, ...]:
    """The same sources below another folder."""
    before = _root([source.path for source in sources])
    return tuple(replace(source, path=str(_below(source.path, before, root))) for source in sources)


def _below(path: str, before: str, root: Path) -> Path:
    inner = path.removeprefix(before).strip("/")
    return root / inner if inner else root


def _root(paths: Sequence[str]) -> str:
    """The folder that holds them all: theirs, where there is but one; of one sub-folder per class, what is above."""
    different = sorted(set(paths))
    if len(different) == 1:
        return different[0]
    places = {path.split("://", 1)[0] if is_remote(path) else "" for path in different}
    if len(places) > 1:
        return ""  # partly here, partly in a store: no folder holds them all, and nothing will pair
    if places != {""}:
        shared = Path(commonpath([path.split("://", 1)[1] for path in different])).as_posix()
        return f"{different[0].split('://', 1)[0]}://{shared}"
    return commonpath(different)


def _some_pair(sources: Sources) -> bool:
    """Whether any scan has a mask where these sources say; an empty or wrong folder of scans is an error here."""
    refs, _ = list_scans(sources.scans)
    return any(_has_mask(source, ref.id) for ref in refs for source in sources.classes)


def _has_mask(source: ClassSource, scan_id: str) -> bool:
    try:
        return bool(mask_files(source, scan_id))
    except MissingMaskError:
        return False


def _looked_at(known: Sources, moved: Sources, masks: Path) -> Sources:
    """What an inspection finds, with the classes in the project's order."""
    found = inspect(locate(moved.scans.path), masks).sources
    wanted, names = class_names(known.classes), class_names(found.classes)
    if set(names) != set(wanted):
        raise UsageError(
            f"{masks}: holds the classes {', '.join(names) or 'none'}, the model's are {', '.join(wanted)}; lay the "
            "folder out as the project's masks are, or name its folders, colours or files after the model's classes"
        )
    by_name = {source.name: source for source in found.classes}
    rest = [source for source in found.classes if source.name not in wanted]
    scans = replace(found.scans, channels=known.scans.channels, group=known.scans.group)
    return replace(found, scans=scans, classes=(*(by_name[name] for name in wanted), *rest), guides=moved.guides)
