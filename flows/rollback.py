"""Make the previous version of a project's models production again."""

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text
from flows.run_names import run_name
from tasks.events import ROLLED_BACK, tell_production
from tasks.rollback import rollback as rollback_step
from unetseg.project import load_project
from unetseg.registry import Aliases, read_aliases

__all__ = ["rollback"]


@flow(name="rollback", flow_run_name=run_name("rollback {project}"))
def rollback(project: Text, of: str = "", why: str = "rolled back by hand") -> State[Aliases]:
    """Make the previous version of a project's models production again.

    Args:
        project: Folder of the project, as the worker sees it.
        of: The version to take out of production, so that a run that is repeated changes nothing; empty means whatever
            is production.
        why: Kept in the history.
    """
    loaded = load_project(project)
    before = read_aliases(loaded.models)
    # Named before the step: one that is tried again after its change came through must not undo it.
    after = rollback_step(loaded.models, why=why, of=of or before.production)
    if after.production == before.production:
        return ended(after, f"{of} is not in production any more: nothing to do")
    sentence = f"rolled back to {after.production} from {before.production}: {why}"
    tell_production(loaded.folder, ROLLED_BACK, before, after, sentence)
    return ended(after, sentence)
