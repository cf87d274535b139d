"""Segment a folder of scans with a project's model."""

from prefect import State, flow
from prefect.states import Completed

from flows.parameters import project_with
from tasks.predict import finish, open_prediction, segment
from tasks.step import unseen
from unetseg.config import PredictConfig
from unetseg.predict import PredictResult, check_failures, occupied
from unetseg.registry import model_folder
from unetseg.storage import locate

__all__ = ["predict"]


@flow(name="predict", flow_run_name="predict {folder}")
def predict(  # noqa: PLR0913 (one per field of the form)
    project: str,
    folder: str,
    out: str,
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
        overrides: Settings to change for this run, such as train.epochs=5; stronger than everything else.
    """
    loaded = project_with(project, overrides, predict=settings)
    bundle, config = model_folder(loaded.models, model), loaded.prediction
    places = {"bundle": bundle, "project": loaded.folder}
    opened = open_prediction(locate(folder), locate(out), **places, config=config, cluster=cluster)
    with occupied(opened, overwrite=overwrite) as held:
        result = finish(unseen(held), unseen(segment(held)))
    check_failures(result, config)
    return Completed(data=result, message=result.sentence)
