"""Scans and masks that are not the project's, described as the project's are.

Where the new folder of masks is laid out as the project's is, the project's rules read it, but whether masks are black
and white or number objects is seen in them. Else it is looked at anew, as by ``unetseg init``, and its classes must
have the names that the model knows; a single one is that of a model with a single class, where either has no telling
name.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetseg.config import ClassSource, Sources
from unetseg.errors import BadFileError, MissingMaskError, UsageError
from unetseg.guide_folders import guides_below
from unetseg.inspection import inspect
from unetseg.mask_sample import MaskSample, spread
from unetseg.mask_sets import MaskSet
from unetseg.masks import class_names, mask_files, read_masks
from unetseg.readers import ScanRef, list_scans, read_header
from unetseg.recognise import UNNAMED, FoundMasks, recognise_masks
from unetseg.storage import is_remote

__all__ = ["sources_of"]

logger = logging.getLogger(__name__)

_SEEN = ("binary", "instances")  # encodings of one class, which need no values from a person
_MASKS_SAMPLED = 8  # of each class: fewer than init looks at, since the project's rules are right as a rule


def sources_of(
    known: Sources, scans: Path, masks: Path, guides: Path | None = None, *, resize_masks: bool = False
) -> Sources:
    """Describe other scans with masks by the classes, channels and guides of a project.

    Args:
        known: the project's.
        scans: folder of scans, or one multi-page file.
        masks: folder of masks, laid out as the project's or in any way that ``unetseg init`` knows.
        guides: folder with one sub-folder per guide, where the project has guides.
        resize_masks: whether masks of another size are brought to their scan's.

    Raises:
        UsageError: no scan has a mask, the classes have other names, or guides are missing.
    """
    if known.guides and guides is None:
        names = ", ".join(guide.name for guide in known.guides)
        raise UsageError(
            f"--guides: the model needs the guides {names}; give the folder that holds one sub-folder per guide"
        )
    given = replace(known.scans, path=str(scans), pattern="**/*", exclude="", table="")
    beside = guides_below(guides, known.guides, given="--guides") if guides else ()
    moved = Sources(given, _moved(known.classes, masks), beside)
    refs, _ = list_scans(moved.scans)
    paired = [[ref for ref in refs if _has_mask(source, ref.id)] for source in moved.classes]
    if not any(paired):
        found = inspect(scans, masks, resize_masks=resize_masks).sources
        return _named_as_known(known, moved, found, masks)
    alone = len(moved.classes) == 1
    drawn = (_as_drawn(source, found, alone=alone) for source, found in zip(moved.classes, paired, strict=True))
    return replace(moved, classes=tuple(drawn))


def _moved(sources: Sequence[ClassSource], root: Path) -> tuple[ClassSource, ...]:
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


def _has_mask(source: ClassSource, scan_id: str) -> bool:
    try:
        return bool(mask_files(source, scan_id))
    except MissingMaskError:
        return False
    except BadFileError:  # such as two files where there must be one, of which ingest tells
        return True


def _as_drawn(source: ClassSource, paired: Sequence[ScanRef], *, alone: bool) -> ClassSource:
    """The source with the encoding that its masks have, where the project's misreads them."""
    if not paired or not (source.encoding in _SEEN or alone):
        return source
    refs = spread(paired, _MASKS_SAMPLED)
    found = _recognised(source, refs)
    if found is None or found.encoding not in _SEEN or found.encoding == source.encoding:
        return source
    other = replace(source, encoding=found.encoding, values=())
    if not _misread(source, other, refs):
        return source
    said = source.path, source.name, other.encoding, found.why, source.encoding
    logger.info("%s: masks of class %s are read as %s (%s); the project's are %s", *said)
    return other


def _recognised(source: ClassSource, refs: Sequence[ScanRef]) -> FoundMasks | None:
    """What the masks look like; None where they cannot be read, of which ingest tells."""
    sample = MaskSample(MaskSet(source, "", tuple(ref.id for ref in refs)), refs, resize=True)  # ingest may refuse it
    try:
        return recognise_masks(sample.masks(), [source.name])
    except (BadFileError, UsageError):
        return None


def _misread(source: ClassSource, other: ClassSource, refs: Sequence[ScanRef]) -> bool:
    """Whether the project's encoding reads masks as something else; values that a person gave must fit none at all."""
    if source.encoding not in _SEEN:
        return not any(_mask(source, ref).size for ref in refs)
    return not all(np.array_equal(_mask(source, ref), _mask(other, ref)) for ref in refs)


def _mask(source: ClassSource, ref: ScanRef) -> NDArray[np.int8]:
    """The mask; without any pixel where it cannot be read."""
    try:
        header = read_header(ref)
        return read_masks(ref, [source], (header.height, header.width), resize=True)
    except BadFileError:
        return np.zeros(0, np.int8)


def _named_as_known(known: Sources, moved: Sources, found: Sources, masks: Path) -> Sources:
    """What an inspection found, with the classes in the project's order."""
    wanted = class_names(known.classes)
    classes = _named(found.classes, wanted, masks)
    names = class_names(classes)
    if set(names) != set(wanted):
        raise UsageError(
            f"{masks}: holds the classes {', '.join(names) or 'none'}, the model's are {', '.join(wanted)}; lay the "
            "folder out as the project's masks are, or name its folders, colours or files after the model's classes"
        )
    by_name = {source.name: source for source in classes}
    rest = [source for source in classes if source.name not in wanted]
    scans = replace(found.scans, channels=known.scans.channels, group=known.scans.group)
    return replace(found, scans=scans, classes=(*(by_name[name] for name in wanted), *rest), guides=moved.guides)


def _named(classes: Sequence[ClassSource], wanted: Sequence[str], masks: Path) -> tuple[ClassSource, ...]:
    """The classes; the only one is the model's only one where the name of either says nothing."""
    names = class_names(classes)
    if len(names) != 1 or len(wanted) != 1 or names == wanted or not {*names, *wanted} & {*UNNAMED}:
        return tuple(classes)
    logger.info("%s: its only class, %s, is taken for the model's only one, %s", masks, names[0], wanted[0])
    return tuple(replace(source, name=wanted[0]) if source.name == names[0] else source for source in classes)
