"""Choose thresholds and score one model."""

from __future__ import annotations

from tasks.artifacts import show_scores
from tasks.step import step
from unetseg import evaluate as library
from unetseg.project import Project

__all__ = ["evaluate"]


@step("evaluate", "evaluate {project.folder.name}")
def evaluate(project: Project, *, model: str = "latest") -> library.EvaluateResult:
    """Choose thresholds and score one model."""
    result = library.evaluate(project, model=model)
    show_scores(result.scores, str(result.report))
    return result
