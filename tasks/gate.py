"""Promote one model if it is better than production."""

from __future__ import annotations

from tasks.artifacts import show_decision
from tasks.events import PROMOTED, tell_production
from tasks.step import shown, step
from unetseg import gate as library
from unetseg.project import Project
from unetseg.registry import read_aliases

__all__ = ["gate"]


@step("gate", "gate {project.folder.name}")
def gate(project: Project, *, model: str = "latest") -> library.GateResult:
    """Promote one model if it is better than production, and tell of it."""
    before = read_aliases(project.models)
    result = library.gate(project, model=model)
    sentence = f"promoted {result.version}: {result.reason}"
    if result.promoted:
        tell_production(project.folder, PROMOTED, before, read_aliases(project.models), sentence)
    shown(show_decision, result, of="gate", where=project.models / result.version)
    return result
