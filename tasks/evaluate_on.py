"""Score one model on other scans."""

from __future__ import annotations

from tasks.artifacts import show_evaluation
from tasks.progress import ProgressArtifact
from tasks.step import shown, step
from unetseg import evaluate_on as library
from unetseg.evaluate import EvaluateResult
from unetseg.project import Project

__all__ = ["evaluate_on"]


@step("evaluate on", "evaluate on {scans}")
def evaluate_on(
    project: Project, scans: str, masks: str, *, guides: str = "", model: str = "production", name: str = ""
) -> EvaluateResult:
    """Score one model on other scans, with its thresholds as they are."""
    progress = ProgressArtifact("evaluate")
    result = library.evaluate_on(project, scans, masks, guides=guides, model=model, name=name, progress=progress)
    progress.flush()
    shown(show_evaluation, result, of="evaluate", where=result.report)
    return result
