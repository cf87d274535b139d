"""Choose a model's thresholds and score it on scans it never saw."""

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text, project_with
from flows.run_names import run_name
from tasks.evaluate import evaluate as evaluate_step
from unetseg.config import EvaluateConfig
from unetseg.evaluate import EvaluateResult

__all__ = ["evaluate"]


@flow(name="evaluate", flow_run_name=run_name("evaluate {project} {model}"))
def evaluate(
    project: Text,
    model: str = "latest",
    settings: EvaluateConfig = EvaluateConfig(),
    overrides: tuple[str, ...] = (),
) -> State[EvaluateResult]:
    """Choose a model's thresholds and score it on scans it never saw.

    Args:
        project: Folder of the project, as the worker sees it.
        model: A version number, latest, production or previous.
        settings: What is changed here is stronger than unetseg.yaml, for this run.
        overrides: Settings to change for this run, such as evaluate.target=0.95; stronger than everything else.
    """
    result = evaluate_step(project_with(project, overrides, settings=settings), model=model)
    return ended(result, result.sentence)
