"""Bring a project's dataset up to date."""

from __future__ import annotations

from tasks.artifacts import show_quarantine
from tasks.step import step
from unetseg import ingest as library
from unetseg.project import Project

__all__ = ["ingest"]


@step("ingest", "ingest {project.folder.name}")
def ingest(project: Project) -> library.IngestResult:
    """Bring a project's dataset up to date."""
    result = library.ingest(project)
    show_quarantine([*result.quarantined, *result.failed])
    return result
