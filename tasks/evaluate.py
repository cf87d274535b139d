"""Choose thresholds and score one model."""

from __future__ import annotations

from tasks.artifacts import show_evaluation
from tasks.progress import ProgressArtifact
from tasks.step import shown, step
from unetseg import evaluate as library
from unetseg.project import Project

__all__ = ["evaluate"]


@step("evaluate", "evaluate {project.folder.name}")
def evaluate(project: Project, *, model: str = "latest") -> library.EvaluateResult:
    """Choose thresholds and score one model."""
    progress = ProgressArtifact("evaluate")
    result = library.evaluate(project, model=model, progress=progress)
    progress.flush()
    shown(show_evaluation, result, of="evaluate", where=result.report)
    return result
