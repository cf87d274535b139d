"""Choose thresholds of one model anew."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.artifacts import show_scores
from tasks.step import step
from unetseg import operating_point as library
from unetseg.evaluate import EvaluateResult
from unetseg.project import Project

__all__ = ["thresholds"]


@step("thresholds", "thresholds {project.folder.name}")
def thresholds(project: Project, criteria: Sequence[str], *, model: str = "production") -> EvaluateResult:
    """Choose thresholds of one model anew."""
    result = library.set_thresholds(project, criteria, model=model)
    show_scores(result.scores, str(result.report))
    return result
