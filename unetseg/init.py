"""Init: look at a folder of scans and one of masks, and write a project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unetseg.config import Settings
from unetseg.errors import UsageError
from unetseg.inspection import Findings, inspect
from unetseg.listing import image_files, is_image_folder
from unetseg.masks_beside import masks_beside
from unetseg.places import PROJECT_FILE, PROJECT_PLACES
from unetseg.project import Project, override, save_project
from unetseg.storage import is_below

__all__ = ["Findings", "init"]


def init(
    scans: Path,
    masks: Path | None,
    *,
    project: Path,
    guides: Path | None = None,
    overrides: tuple[str, ...] = (),
    overwrite: bool = False,
) -> Findings:
    """Find out pairing, encoding, classes, channels and pixel size, and write ``unetseg.yaml``.

    Args:
        scans: folder of scans, or one multi-page file.
        masks: folder of masks, or one multi-page file; None for a project that only predicts.
        project: folder of the project; made where it is missing.
        guides: folder with one sub-folder per guide.
        overrides: settings other than the defaults, such as ``train.epochs=5``.
        overwrite: replace an ``unetseg.yaml`` that is there.

    Raises:
        UsageError: a folder is missing or empty, nothing pairs, a setting is wrong, or the project exists.
    """
    if (project / PROJECT_FILE).exists() and not overwrite:
        raise UsageError(
            f"{project / PROJECT_FILE}: is there already and may have been edited; --overwrite replaces it"
        )
    if project.exists() and not project.is_dir():
        raise UsageError(f"--project {project}: must be a folder, but is a file; name another")
    settings = override(Settings(), overrides)
    _check_places(project, [scans, *filter(None, (masks, guides))])
    findings = inspect(scans, masks, guides, resize_masks=settings.ingest.resize_masks)
    if masks is None:
        beside = masks_beside(scans, project=project, options=_options(guides, overrides))
        findings = replace(findings, warnings=(*findings.warnings, *beside))
    save_project(Project(project, findings.sources, settings))
    return findings


def _check_places(project: Path, folders: Sequence[Path]) -> None:
    """See that no scans are in a new project where unetseg will write, and so will not look for them."""
    if (project / PROJECT_FILE).exists() or not any(is_below(project, folder) for folder in folders):
        return
    for place in (project / name for name in PROJECT_PLACES):
        if is_image_folder(place) or image_files(place):
            raise UsageError(
                f"{place}: holds images, but in {project} unetseg keeps files of its own by that name, and looks for "
                "no scans there; rename it, or name another folder of the project with --project"
            )


def _options(guides: Path | None, overrides: tuple[str, ...]) -> list[str]:
    """What was given besides scans and masks, as it is typed."""
    given = ["--guides", str(guides)] if guides else []
    return [*given, *(word for text in overrides for word in ("--set", text))]
