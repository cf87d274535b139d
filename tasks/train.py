"""Train on a project's dataset and leave a bundle."""

from __future__ import annotations

from tasks.step import log_progress, step
from unetseg import train as library
from unetseg.project import Project

__all__ = ["train"]


@step("train", "train {project.folder.name}")
def train(project: Project) -> library.TrainResult:
    """Train on a project's dataset and leave a bundle."""
    return library.train(project, progress=log_progress("epoch"))
