"""Train a new model on a project's dataset."""

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text, project_with
from flows.run_names import run_name
from tasks.train import train as train_step
from unetseg.config import AugmentConfig, LossConfig, ModelConfig, TrainConfig
from unetseg.train import TrainResult

__all__ = ["train"]


@flow(name="train", flow_run_name=run_name("train {project}"))
def train(
    project: Text,
    settings: TrainConfig = TrainConfig(),
    model: ModelConfig = ModelConfig(),
    loss: LossConfig = LossConfig(),
    augment: AugmentConfig = AugmentConfig(),
    overrides: tuple[str, ...] = (),
) -> State[TrainResult]:
    """Train a new model on a project's dataset.

    Args:
        project: Folder of the project, as the worker sees it.
        settings: What is changed here, and in the three below, is stronger than unetseg.yaml, for this run.
        model: The shape of the network.
        loss: What training makes small.
        augment: How training patches are varied.
        overrides: Settings to change for this run, such as train.epochs=5; stronger than everything else.
    """
    forms = {"settings": settings, "model": model, "loss": loss, "augment": augment}
    result = train_step(project_with(project, overrides, **forms))
    return ended(result, result.sentence)
