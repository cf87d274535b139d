"""Choose thresholds of a model anew from its stored curves."""

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text
from flows.run_names import run_name
from tasks.thresholds import thresholds as thresholds_step
from unetseg.evaluate import EvaluateResult
from unetseg.project import load_project

__all__ = ["thresholds"]


@flow(name="thresholds", flow_run_name=run_name("thresholds {project} {model}"))
def thresholds(project: Text, criteria: tuple[str, ...], model: str = "production") -> State[EvaluateResult]:
    """Choose thresholds of a model anew from its stored curves; the network does not run.

    Args:
        project: Folder of the project, as the worker sees it.
        criteria: Classes with their criterion, such as iris=recall_at_precision:0.95 or pupil=fixed:0.3.
        model: A version number, latest, production or previous.
    """
    result = thresholds_step(load_project(project), criteria, model=model)
    return ended(result, result.sentence)
