"""Masks that lie among the scans of a folder that was given for scans alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from unetseg.errors import UnetsegError
from unetseg.inspection import inspect
from unetseg.listing import image_files
from unetseg.words import in_project

__all__ = ["masks_beside"]


def masks_beside(scans: Path, *, project: Path, options: Sequence[str] = ()) -> tuple[str, ...]:
    """What a person should look at, where the same folder given for scans and masks would hold both; else nothing.

    Args:
        scans: folder of scans, or one multi-page file.
        project: folder of the project, for the command.
        options: that were given besides.
    """
    if not scans.is_dir():
        return ()
    try:
        source = inspect(scans, scans).sources.scans
    except UnetsegError:  # names pair nothing, or what they pair are no masks
        return ()
    every = image_files(scans)
    masks = sorted(set(every) - set(image_files(scans, source.pattern, source.exclude)))
    words = ["unetseg", "init", str(scans), str(scans), "--overwrite", *options]
    return (
        f"{len(masks)} of {len(every)} files look like masks of the others, such as {masks[0]}; masks in the same "
        f"folder? give it twice: {in_project(shlex.join(words), project)}",
    )
