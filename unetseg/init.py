"""Init: look at a folder of scans and one of masks, and write a project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unetseg.config import Settings
from unetseg.errors import UsageError
from unetseg.inspection import Findings, inspect
from unetseg.masks_beside import masks_beside
from unetseg.project import PROJECT_FILE, Project, override, save_project

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
    findings = inspect(scans, masks, guides)
    if masks is None:
        beside = masks_beside(scans, project=project, options=_options(guides, overrides))
        findings = replace(findings, warnings=(*findings.warnings, *beside))
    save_project(Project(project, findings.sources, settings))
    return findings


def _options(guides: Path | None, overrides: tuple[str, ...]) -> list[str]:
    """What was given besides scans and masks, as it is typed."""
    given = ["--guides", str(guides)] if guides else []
    return [*given, *(word for text in overrides for word in ("--set", text))]
