"""Choose thresholds of one model anew."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.artifacts import show_evaluation
from tasks.step import shown, step
from unetseg import operating_point as library
from unetseg.evaluate import EvaluateResult
from unetseg.project import Project

__all__ = ["thresholds"]


@step("thresholds", "thresholds {project.folder.name}")
def thresholds(project: Project, criteria: Sequence[str], *, model: str = "production") -> EvaluateResult:
    """Choose thresholds of one model anew."""
    result = library.set_thresholds(project, criteria, model=model)
    shown(show_evaluation, result, of="thresholds", where=result.report)
    return result
