"""Masks that lie among the scans of a folder that was given for scans alone, or in a folder beside theirs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from unetseg.errors import UnetsegError
from unetseg.inspection import inspect
from unetseg.listing import image_files
from unetseg.words import in_project

__all__ = ["masks_beside"]

_NAMES: Final = re.compile(r"label|mask|segm|annot|ground.?truth|(^|[\W_])(gt|seg)([\W_]|$)", re.IGNORECASE)
"""What folders of masks are called, such as ``labelsTr``."""


def masks_beside(scans: Path, *, project: Path, options: Sequence[str] = ()) -> tuple[str, ...]:
    """What a person should look at, where a folder given for scans alone holds masks as well; else nothing.

    Args:
        scans: folder of scans, or one multi-page file.
        project: folder of the project, for the command.
        options: that were given besides.
    """
    if not scans.is_dir():
        return ()

    def command(*folders: Path) -> str:
        words = ["unetseg", "init", *map(str, folders), "--overwrite", *options]
        return in_project(shlex.join(words), project)

    if among := _among(scans):
        return (f"{among}; masks in the same folder? give it twice: {command(scans, scans)}",)
    if apart := _apart(scans):
        named = f"{scans} holds folders of scans and of masks, {apart[0].name} and {apart[1].name}"
        return (f"{named}: all are taken for scans; is this what you mean? {command(*apart)}",)
    return ()


def _among(scans: Path) -> str:
    """How many files look like masks of the others; nothing where none does."""
    try:
        source = inspect(scans, scans).sources.scans
    except UnetsegError:  # names pair nothing, or what they pair are no masks
        return ""
    every = image_files(scans)
    masks = sorted(set(every) - set(image_files(scans, source.pattern, source.exclude)))
    return f"{len(masks)} of {len(every)} files look like masks of the others, such as {masks[0]}"


def _apart(root: Path) -> tuple[Path, Path] | None:
    """The first two folders below it of which one is called as masks are, and holds masks of the other's scans."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    masks = [path for path in folders if _NAMES.search(path.name)]
    pairs = ((scans, each) for each in masks for scans in folders if scans not in masks)
    return next((pair for pair in pairs if _pairs(*pair)), None)


def _pairs(scans: Path, masks: Path) -> bool:
    try:
        return bool(inspect(scans, masks).sources.classes)
    except UnetsegError:
        return False
