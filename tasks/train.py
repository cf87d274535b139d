"""Train on a project's dataset and leave a bundle."""

from __future__ import annotations

import logging

from tasks.artifacts import show_training
from tasks.progress import ProgressArtifact
from tasks.step import log_progress, step
from unetseg import train as library
from unetseg.project import Project

__all__ = ["train"]

logger = logging.getLogger(__name__)


@step("train", "train {project.folder.name}")
def train(project: Project) -> library.TrainResult:
    """Train on a project's dataset and leave a bundle."""
    log, bar = log_progress("epoch"), ProgressArtifact("train")

    def tell(done: int, total: int, what: str) -> None:
        log(done, total, what)
        bar(done, total, what)

    result = library.train(project, progress=tell)
    bar(result.epochs, result.epochs, f"best epoch {result.best_epoch}")  # it may have stopped early
    bar.flush()
    _show(result)
    return result


def _show(result: library.TrainResult) -> None:
    """A server that takes no artifact must not end, or begin anew, a training that is done."""
    try:
        show_training(result)
    except Exception:
        logger.warning("train: the results are not shown; they are in %s", result.run, exc_info=True)
