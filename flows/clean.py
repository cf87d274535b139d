"""Remove old versions of a project's models, but neither production nor previous."""

from typing import Annotated

from prefect import State, flow
from pydantic import Field

from flows.ending import ended
from flows.parameters import Text
from flows.run_names import run_name
from tasks.clean import clean as clean_step
from unetseg.project import load_project

__all__ = ["clean"]


@flow(name="clean", flow_run_name=run_name("clean {project}"))
def clean(project: Text, keep: Annotated[int, Field(ge=1)]) -> State[tuple[str, ...]]:
    """Remove old versions of a project's models, but neither production nor previous.

    Args:
        project: Folder of the project, as the worker sees it.
        keep: So many of the newest versions stay, at least 1.
    """
    loaded = load_project(project)
    removed = clean_step(loaded.models, keep=keep, runs=loaded.runs)
    return ended(removed, f"removed {', '.join(removed)}" if removed else "nothing to remove")
