"""Look at two folders and write a project."""

from __future__ import annotations

from pathlib import Path

from tasks.step import step
from unetseg import init as library

__all__ = ["init"]


@step("init", "init {project.name}")
def init(scans: Path, masks: Path | None, *, project: Path, guides: Path | None = None) -> library.Findings:
    """Look at two folders and write a project."""
    return library.init(scans, masks, project=project, guides=guides)
