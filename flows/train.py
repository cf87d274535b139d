"""Train a new model on a project's dataset."""

from prefect import flow

from flows.parameters import project_with
from tasks.train import train as train_step
from unetseg.config import TrainConfig
from unetseg.train import TrainResult

__all__ = ["train"]


@flow(name="train", flow_run_name="train {project}")
def train(project: str, settings: TrainConfig = TrainConfig(), overrides: tuple[str, ...] = ()) -> TrainResult:
    """Train a new model on a project's dataset.

    Args:
        project: Folder of the project, as the worker sees it.
        settings: What is changed here is stronger than unetseg.yaml, for this run.
        overrides: Settings to change for this run, such as train.epochs=5; stronger than everything else.
    """
    return train_step(project_with(project, overrides, train=settings))
