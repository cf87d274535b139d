"""Make one version of a project's models production."""

from prefect import flow

from tasks.promote import promote as promote_step
from unetseg.project import load_project
from unetseg.registry import Aliases

__all__ = ["promote"]


@flow(name="promote", flow_run_name="promote {project} {version}")
def promote(project: str, version: str, why: str = "promoted by hand") -> Aliases:
    """Make one version of a project's models production.

    Args:
        project: Folder of the project, as the worker sees it.
        version: A version number, or latest.
        why: Kept in the history.
    """
    return promote_step(load_project(project).models, version, why=why)
