"""Where masks lie: the places and patterns that pair with scans, each of which may hold one class or several.

Example:
    >>> refs, _ = list_scans(ScanSource("eyes/scans"))  # doctest: +SKIP
    >>> [item.prefix for item in find_mask_sets(Path("eyes/scans"), Path("eyes/masks"), refs)]  # doctest: +SKIP
    ['iris', 'pupil']
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unetseg.config import GuideSource
from unetseg.errors import BadFileError, UsageError
from unetseg.formats import plane_count
from unetseg.listing import image_files
from unetseg.object_folders import OBJECTS, find_folder_patterns
from unetseg.pairing import base_id, find_patterns, paired_ids, spare_names
from unetseg.readers import ScanRef, name_of
from unetseg.recognise import class_name

__all__ = ["MaskSet", "find_mask_sets"]

_CHANNEL = re.compile(r"[ ._-]*(?:ch?|channel|w)?[ ._-]*\d+$", re.IGNORECASE)
_PLACE = re.compile(r"\{(\w+)(?::[^={}]+=([^={}]*))?\}")


@dataclass(frozen=True)
class MaskSet:
    """Mask files that pair with scans.

    Attributes:
        source: Place and pattern.
        prefix: Of the class names; empty where the masks lie directly in the folder given.
        paired: Ids of the scans that have a mask.
        spare: Names of the files beside them that are masks of no scan; empty where that cannot be told.
    """

    source: GuideSource
    prefix: str
    paired: tuple[str, ...]
    spare: tuple[str, ...] = ()

    @property
    def objects(self) -> bool:
        """Whether a scan has several files, one per object."""
        return self.source.pattern.endswith(OBJECTS)

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders that hold the masks, from the inmost."""
        path, inner = Path(self.source.path), _added(self.source.pattern).split("/") if self.objects else []
        return (
            *(part for part in reversed(inner) if part),
            path.stem if path.is_file() else path.name,
            path.parent.name,
        )


def find_mask_sets(scans: Path, masks: Path, refs: Sequence[ScanRef], *, called: str = "masks") -> list[MaskSet]:
    """Mask files directly in the folder, or else in one folder per class.

    Args:
        scans: Folder of scans, or one multi-page file.
        masks: Folder of masks, or one file.
        refs: The scans.
        called: What the folder is for, in errors.

    Raises:
        UsageError: when there are no masks, or none pairs with a scan.
    """
    if not masks.exists():
        raise UsageError(f"{masks}: folder of {called} not found; check the path")
    if masks.is_file():
        return [_mask_file(scans, masks, refs)]
    sets = _sets_in(scans, masks, refs, "") or _sets_below(scans, masks, refs)
    if not sets and not _mask_names(scans, masks, refs):
        raise UsageError(f"{masks}: no {called} there, since it holds no image files but scans; look at the path")
    if not sets:
        raise UsageError(f"{masks}: none of the {called} pairs with a scan: {_why_none(scans, masks, refs)}")
    return sets


def _why_none(scans: Path, masks: Path, refs: Sequence[ScanRef]) -> str:
    """What names say about it, with the way out."""
    ids, names = [base_id(ref.id) for ref in refs], _mask_names(scans, masks, refs)
    if channels := _sharing_a_mask(ids, names):
        return (
            f"names of scans that differ by a last number alone have one mask, such as {channels[0]!r} and "
            f"{channels[1]!r}; if they are channels of one scan, put them into one file, such as a TIFF with channels"
        )
    return (
        f"a mask's name must hold its scan's name, but scans are named like {ids[0]!r} and masks like "
        f"{names[0]!r}; rename them"
    )


def _sharing_a_mask(ids: Sequence[str], names: Sequence[str]) -> list[str]:
    """The first scans that one mask would pair with, such as files with a channel each; empty if there are none."""
    alike: dict[str, list[str]] = {}
    for each in ids:
        alike.setdefault(_CHANNEL.sub("", each), []).append(each)
    several = [name for name, scans in alike.items() if name and len(scans) > 1]
    patterns = find_patterns(several, names)
    return alike[paired_ids(several, names, patterns[0])[0]] if patterns else []


def _mask_file(scans: Path, masks: Path, refs: Sequence[ScanRef]) -> MaskSet:
    if masks == scans:
        raise UsageError(f"{masks}: scans and masks are in one place; put them into two files or folders")
    try:
        pages = plane_count(masks)
    except BadFileError as error:
        raise UsageError(str(error)) from error
    one_scan = len(refs) == 1 and refs[0].page is None
    if not scans.is_file() or (pages != len(refs) and not one_scan):
        raise UsageError(
            f"{masks}: one file of masks goes with one file of as many scans, got {pages} masks for {len(refs)} scans; "
            "give two folders or two stacks"
        )
    return MaskSet(GuideSource("masks", str(masks)), "", tuple(ref.id for ref in refs))


def _sets_below(scans: Path, masks: Path, refs: Sequence[ScanRef]) -> list[MaskSet]:
    """One folder per class; a single folder whose name says nothing, such as ``masks``, names no class."""
    folders = sorted(path for path in masks.iterdir() if path.is_dir() and not path.name.startswith("."))
    apart = [path for path in folders if path != scans and path not in scans.parents]
    found = [(path, sets) for path in apart if (sets := _sets_in(scans, path, refs, path.name))]
    if len(found) == 1 and class_name([found[0][0].name]) == class_name([]):
        return _sets_in(scans, found[0][0], refs, "")
    return [mask_set for _, sets in found for mask_set in sets]


def _sets_in(scans: Path, folder: Path, refs: Sequence[ScanRef], prefix: str) -> list[MaskSet]:
    ids, names = [ref.id for ref in refs], _mask_names(scans, folder, refs)
    patterns = find_patterns(ids, names) or find_folder_patterns(ids, names)
    spare, sets = _spare(scans, folder, ids, names, patterns), []
    for pattern in patterns:
        source = GuideSource("masks", str(folder), pattern)
        affix = _added(pattern) if len(patterns) > 1 else ""
        sets.append(MaskSet(source, " ".join(filter(None, (prefix, affix))), _paired(ids, names, pattern), spare))
    return sets


def _spare(
    scans: Path, folder: Path, ids: Sequence[str], names: Sequence[str], patterns: Sequence[str]
) -> tuple[str, ...]:
    """Files of the folder that are masks of no scan; unknown beside scans, and where a scan has any number of files."""
    if folder in (scans, *scans.parents) or any(pattern.endswith(OBJECTS) for pattern in patterns):
        return ()
    return tuple(spare_names(ids, names, patterns))


def _paired(ids: Sequence[str], names: Sequence[str], pattern: str) -> tuple[str, ...]:
    if not pattern.endswith(OBJECTS):
        return tuple(paired_ids(ids, names, pattern))
    folders = {folder + slash for folder, slash, _ in (name.rpartition("/") for name in names)}
    return tuple(paired_ids(ids, folders, pattern.removesuffix(OBJECTS)))


def _added(pattern: str) -> str:
    """What a pattern adds to the name of a scan, which names the class.

    >>> _added("{name}_iris.*"), _added("{folder:images=iris}{name}.*"), _added("{folder}iris/a.*")
    ('iris', 'iris', 'iris/a')
    """
    text = pattern.removesuffix(OBJECTS) if pattern.endswith(OBJECTS) else pattern.removesuffix(".*")
    added = _PLACE.sub(lambda place: f"{place[2] or ''}/" if place[1] == "folder" else "", text)
    return re.sub("/+", "/", added).strip(" _-./")


def _mask_names(scans: Path, folder: Path, refs: Sequence[ScanRef]) -> list[str]:
    """Names of image files below a folder, leaving out the scans themselves."""
    inside = scans != folder and folder in scans.parents
    ours = {ref.path for ref in refs}
    files = [file for file in image_files(folder) if folder / file not in ours]
    apart = (file for file in files if not (inside and (folder / file).is_relative_to(scans)))
    return [name_of(file) or file for file in apart]
