"""Bring a project's dataset up to date with its scans and masks."""

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text, project_with
from flows.run_names import run_name
from tasks.ingest import ingest as ingest_step
from unetseg.config import IngestConfig
from unetseg.ingest import IngestResult

__all__ = ["ingest"]


@flow(name="ingest", flow_run_name=run_name("ingest {project}"))
def ingest(
    project: Text, cluster: str = "", settings: IngestConfig = IngestConfig(), overrides: tuple[str, ...] = ()
) -> State[IngestResult]:
    """Bring a project's dataset up to date with its scans and masks.

    Args:
        project: Folder of the project, as the worker sees it.
        cluster: Address of a running Dask scheduler; empty means threads of the worker.
        settings: What is changed here is stronger than unetseg.yaml, for this run.
        overrides: Settings to change for this run, such as ingest.workers=4; stronger than everything else.
    """
    result = ingest_step(project_with(project, overrides, settings=settings), cluster=cluster)
    return ended(result, result.sentence)
