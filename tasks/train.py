"""Train on a project's dataset and leave a bundle."""

from __future__ import annotations

from tasks.artifacts import show_training
from tasks.progress import ProgressArtifact
from tasks.step import shown, step
from unetseg import train as library
from unetseg.progress_log import log_epochs
from unetseg.project import Project

__all__ = ["train"]


@step("train", "train {project.folder.name}")
def train(project: Project) -> library.TrainResult:
    """Train on a project's dataset and leave a bundle."""
    log, bar = log_epochs(), ProgressArtifact("train")

    def tell(done: int, total: int, what: str) -> None:
        log(done, total, what)
        bar(done, total, what)

    result = library.train(project, progress=tell)
    bar(result.epochs, result.epochs, f"best epoch {result.best_epoch}")  # it may have stopped early
    bar.flush()
    shown(show_training, result, of="train", where=result.run)
    return result
