"""Segment a folder of scans with a project's model."""

from pathlib import Path

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text, project_with
from flows.run_names import run_name
from tasks.predict import finish, open_prediction, segment
from tasks.step import unseen
from unetseg.config import PredictConfig
from unetseg.predict import PredictResult, check_failures, occupied
from unetseg.project import Project
from unetseg.registry import model_folder
from unetseg.storage import locate

__all__ = ["predict", "predict_after"]


@flow(name="predict", flow_run_name=run_name("predict {folder}"))
def predict(  # noqa: PLR0913 (one per field of the form)
    project: Text,
    folder: Text,
    out: Text,
    model: str = "production",
    cluster: str = "",
    overwrite: bool = False,
    settings: PredictConfig = PredictConfig(),
    overrides: tuple[str, ...] = (),
) -> State[PredictResult]:
    """Segment a folder of scans with a project's model.

    Args:
        project: Folder of the project, as the worker sees it.
        folder: Folder or list of scans, as the worker sees it.
        out: Folder for the outputs, or an address such as s3://bucket/out; file names are kept.
        model: A version number, latest, production or previous.
        cluster: Address of a running Dask scheduler; empty means threads of the worker.
        overwrite: Also do scans again that are up to date; each output stays until the new one is there.
        settings: What is changed here is stronger than unetseg.yaml, for this run.
        overrides: Settings to change for this run, such as predict.workers=4; stronger than everything else.
    """
    loaded = project_with(project, overrides, settings=settings)
    result = _segment(loaded, locate(folder), locate(out), model=model, cluster=cluster, overwrite=overwrite)
    return ended(result, result.sentence)


def predict_after(project: Project) -> PredictResult:
    """Segment the folder that a night is to segment, as `unetseg.nightly.predict_after` does, by tasks.

    Args:
        project: whose settings name it.
    """
    return _segment(project, locate(project.nightly.predict_folder), locate(project.nightly.predict_out))


def _segment(
    project: Project, folder: Path, out: Path, *, model: str = "production", cluster: str = "", overwrite: bool = False
) -> PredictResult:
    bundle, config = model_folder(project.models, model), project.prediction
    places = {"bundle": bundle, "project": project.folder}
    opened = open_prediction(folder, out, **places, config=config, cluster=cluster)
    with occupied(opened, overwrite=overwrite) as held:
        result = finish(unseen(held), unseen(segment(held)))
    check_failures(result, config)
    return result
