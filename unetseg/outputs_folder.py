"""Where outputs of a prediction may go: into a folder that is neither that of the scans nor one of unetseg's own."""

from __future__ import annotations

from pathlib import Path

from unetseg.errors import UsageError
from unetseg.places import PROJECT_FILE, PROJECT_PLACES
from unetseg.storage import locate

__all__ = ["check_outputs_folder"]

_MADE_BY_UNETSEG = {"bundle.json": "a model", "zarr.json": "a dataset or an image"}


def check_outputs_folder(out: Path, folder: Path) -> None:
    """See that outputs mix neither with the scans nor with what unetseg keeps in a project.

    Args:
        out: folder of the outputs; it need not be there.
        folder: of the scans.

    Raises:
        UsageError: they would.
    """
    out, folder = locate(out), locate(folder)
    if f"{out}/".startswith(f"{folder}/"):
        raise UsageError(f"{out}: the outputs need a folder of their own, outside that of the scans ({folder})")
    if project := _project_at(out):
        raise UsageError(
            f"{out}: the outputs need a folder of their own, and unetseg keeps files of the project there; use for "
            f"example {project / 'segmented'}"
        )
    for name, what in _MADE_BY_UNETSEG.items():
        if (out / name).exists():
            raise UsageError(f"{out}: the outputs need a folder of their own, and this is {what}; name another")


def _project_at(path: Path) -> Path | None:
    """The project that a path is, or in whose places it is."""
    above = [place.parent for place in (path, *path.parents) if place.name in PROJECT_PLACES]
    return next((folder for folder in (path, *above) if (folder / PROJECT_FILE).exists()), None)
