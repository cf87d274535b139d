"""Init: look at a folder of scans and one of masks, and write a project."""

from __future__ import annotations

from pathlib import Path

from unetseg.config import Settings
from unetseg.errors import UsageError
from unetseg.inspection import Findings, inspect
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
    save_project(Project(project, findings.sources, settings))
    return findings
