"""Ingest, train, evaluate, and promote the new model if it is better than production."""

from functools import partial

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text, project_with
from flows.predict import predict_after
from flows.run_names import run_name
from tasks.artifacts import show_sentence
from tasks.evaluate import evaluate
from tasks.gate import gate
from tasks.ingest import ingest
from tasks.step import shown
from tasks.train import train
from unetseg import nightly as library
from unetseg.config import Settings

__all__ = ["nightly"]


@flow(name="nightly", flow_run_name=run_name("nightly {project}"))
def nightly(
    project: Text, cluster: str = "", settings: Settings = Settings(), overrides: tuple[str, ...] = ()
) -> State[library.NightlyResult]:
    """Ingest, train, evaluate, and promote the new model if it is better than production.

    Args:
        project: Folder of the project, as the worker sees it.
        cluster: Address of a running Dask scheduler, for ingest; empty means threads of the worker.
        settings: What is changed here is stronger than unetseg.yaml, for this run.
        overrides: Settings to change for this run, such as train.epochs=5; stronger than everything else.
    """
    steps = library.Steps(
        ingest=partial(ingest, cluster=cluster), train=train, evaluate=evaluate, gate=gate, predict=predict_after
    )
    result = library.nightly(project_with(project, overrides, settings=settings), steps)
    shown(show_sentence, result.sentence, of="nightly", where=project)
    done = result.outcome in {"promoted", "kept"} or (result.predicted and result.predicted.done)
    return ended(result, result.sentence, name="Completed" if done else result.outcome.capitalize())
