"""Make the previous version of a project's models production again."""

from prefect import flow

from tasks.rollback import rollback as rollback_step
from unetseg.project import load_project
from unetseg.registry import Aliases, read_aliases

__all__ = ["rollback"]


@flow(name="rollback", flow_run_name="rollback {project}")
def rollback(project: str, why: str = "rolled back by hand", of: str = "") -> Aliases:
    """Make the previous version of a project's models production again.

    Args:
        project: Folder of the project, as the worker sees it.
        why: Kept in the history.
        of: The version to take out of production, so that a run that is repeated changes nothing; empty means whatever
            is production.
    """
    models = load_project(project).models
    # Named before the step: one that is tried again after its change came through must not undo it.
    return rollback_step(models, why=why, of=of or read_aliases(models).production)
