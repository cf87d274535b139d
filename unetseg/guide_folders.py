"""The guides of other scans than the project's: in one folder, with a sub-folder per guide, named as the guides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unetseg.config import GuideSource
from unetseg.errors import UsageError

__all__ = ["guides_below"]


def guides_below(root: Path, guides: Sequence[GuideSource], *, given: str) -> tuple[GuideSource, ...]:
    """The same guides, with their files below another folder.

    Args:
        root: the folder that holds one sub-folder per guide.
        guides: those that a model or a project has.
        given: the option or setting that names the folder, for the error.

    Raises:
        UsageError: a sub-folder is missing, as where the folder of one guide is given.
    """
    missing = [guide.name for guide in guides if not (root / guide.name).exists()]
    if missing:
        names = ", ".join(guide.name for guide in guides)
        raise UsageError(
            f"{given}: {root} holds no folder {', '.join(missing)}; give the folder that holds one sub-folder per "
            f"guide, named as the guides: {names}"
        )
    return tuple(replace(guide, path=str(root / guide.name)) for guide in guides)
