"""Score a model on other scans with masks; its thresholds stay as they are."""

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text, project_with
from flows.run_names import run_name
from tasks.evaluate_on import evaluate_on as evaluate_on_step
from unetseg.evaluate import EvaluateResult

__all__ = ["evaluate_on"]


@flow(name="evaluate_on", flow_run_name=run_name("evaluate {project} {model} on {scans}"))
def evaluate_on(
    project: Text,
    scans: Text,
    masks: Text,
    model: str = "production",
    guides: str = "",
    name: str = "",
    overrides: tuple[str, ...] = (),
) -> State[EvaluateResult]:
    """Score a model on other scans with masks; its thresholds stay as they are.

    Args:
        project: Folder of the project, as the worker sees it.
        scans: Folder of scans, as the worker sees it.
        masks: Folder of their masks.
        model: A version number, latest, production or previous.
        guides: Folder with one sub-folder per guide, where the model has guides.
        name: What these scans are called; empty means the name of their folder.
        overrides: Settings to change for this run, such as predict.engine=keras.
    """
    loaded = project_with(project, overrides)
    result = evaluate_on_step(loaded, scans, masks, guides=guides, model=model, name=name)
    return ended(result, result.sentence)
