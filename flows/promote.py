"""Make one version of a project's models production."""

from prefect import State, flow

from flows.ending import ended
from flows.parameters import Text
from flows.run_names import run_name
from tasks.events import PROMOTED, tell_production
from tasks.promote import promote as promote_step
from unetseg.project import load_project
from unetseg.registry import Aliases, read_aliases

__all__ = ["promote"]


@flow(name="promote", flow_run_name=run_name("promote {project} {version}"))
def promote(project: Text, version: Text, why: str = "promoted by hand") -> State[Aliases]:
    """Make one version of a project's models production.

    Args:
        project: Folder of the project, as the worker sees it.
        version: A version number, or latest.
        why: Kept in the history.
    """
    loaded = load_project(project)
    before = read_aliases(loaded.models)
    after = promote_step(loaded.models, version, why=why)
    if after.production == before.production:
        return ended(after, f"{after.production} is production already: nothing to do")
    sentence = f"promoted {after.production}: {why}"
    tell_production(loaded.folder, PROMOTED, before, after, sentence)
    return ended(after, sentence)
