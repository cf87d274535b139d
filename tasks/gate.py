"""Promote one model if it is better than production."""

from __future__ import annotations

from tasks.step import step
from unetseg import gate as library
from unetseg.project import Project

__all__ = ["gate"]


@step("gate", "gate {project.folder.name}")
def gate(project: Project, *, model: str = "latest") -> library.GateResult:
    """Promote one model if it is better than production."""
    return library.gate(project, model=model)
