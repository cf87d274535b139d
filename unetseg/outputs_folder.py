"""Where outputs of a prediction may go: into a folder that holds neither scans or masks nor files of unetseg's own."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

from unetseg.config import GuideSource, Sources
from unetseg.errors import UsageError
from unetseg.places import PROJECT_FILE, PROJECT_PLACES, has_outputs
from unetseg.project import Project
from unetseg.storage import is_below, locate

__all__ = ["check_outputs_folder"]

_MADE_BY_UNETSEG = {"bundle.json": "a model", "zarr.json": "a dataset or an image"}


def check_outputs_folder(out: Path, folder: Path, project: Project | None = None) -> None:
    """See that outputs mix neither with scans and masks nor with what unetseg keeps in a project.

    Args:
        out: folder of the outputs; it need not be there.
        folder: of the scans.
        project: whose scans, masks and guides are elsewhere, perhaps.

    Raises:
        UsageError: they would.
    """
    out, folder = locate(out), locate(folder)
    if is_below(out, folder):
        raise UsageError(f"{out}: the outputs need a folder of their own, outside that of the scans ({folder})")
    if out.is_file():
        raise UsageError(f"{out}: the outputs need a folder, and this is a file; name another")
    if has_outputs(folder) and out.exists() and any(out.iterdir()) and not has_outputs(out):
        raise UsageError(
            f"{folder}: these are outputs of unetseg predict, and {out} holds other files; are the two folders "
            "swapped? to segment outputs after all, name a new folder for theirs"
        )
    if there := _project_at(out):
        raise UsageError(
            f"{out}: the outputs need a folder of their own, and unetseg keeps files of the project there; use for "
            f"example {there / 'segmented'}"
        )
    if project and (what := _taken_from(out, project.sources)):
        raise UsageError(
            f"{out}: the outputs need a folder of their own, and the project looks for {what} there; use for example "
            f"{project.folder / 'segmented'}"
        )
    for name, made in _MADE_BY_UNETSEG.items():
        if (out / name).exists():
            raise UsageError(f"{out}: the outputs need a folder of their own, and this is {made}; name another")


def _taken_from(out: Path, sources: Sources) -> str:
    """What a project would take outputs in a folder for: its next ingest would learn from them."""
    scans = locate(sources.scans.path)
    if out == scans:
        return "scans"
    parts: list[tuple[GuideSource, str]] = [(part, f"masks of {part.name}") for part in sources.classes]
    parts += [(part, f"guides of {part.name}") for part in sources.guides]
    return next((what for part, what in parts if _is_looked_at(out, scans, part)), "")


def _is_looked_at(out: Path, scans: Path, part: GuideSource) -> bool:
    """Whether masks may be found in a folder: in one for them alone anywhere, among scans where the pattern leads."""
    root = locate(part.path)
    if not is_below(out, root):
        return False
    leads_to = re.sub(r"\{[^{}]*\}", "*", part.pattern.rpartition("/")[0])
    return not is_below(scans, root) or fnmatchcase(str(out)[len(str(root)) + 1 :], leads_to)


def _project_at(path: Path) -> Path | None:
    """The project that a path is, or in whose places it is."""
    above = [place.parent for place in (path, *path.parents) if place.name in PROJECT_PLACES]
    return next((folder for folder in (path, *above) if (folder / PROJECT_FILE).exists()), None)
