"""Make the previous version of a project's models production again."""

from prefect import flow

from tasks.rollback import rollback as rollback_step
from unetseg.project import load_project
from unetseg.registry import Aliases

__all__ = ["rollback"]


@flow(name="rollback", flow_run_name="rollback {project}")
def rollback(project: str, why: str = "rolled back by hand") -> Aliases:
    """Make the previous version of a project's models production again.

    Args:
        project: Folder of the project, as the worker sees it.
        why: Kept in the history.
    """
    return rollback_step(load_project(project).models, why=why)
