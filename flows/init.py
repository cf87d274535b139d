"""Look at a folder of scans and one of masks, and write a project."""

from prefect import State, flow

from flows.ending import ended
from flows.run_names import run_name
from tasks.init import init as init_step
from unetseg.init import Findings
from unetseg.storage import locate

__all__ = ["init"]


@flow(name="init", flow_run_name=run_name("init {project}"))
def init(scans: str, masks: str, project: str, guides: str = "") -> State[Findings]:
    """Look at a folder of scans and one of masks, and write a project.

    Args:
        scans: Folder of scans, as the worker sees it.
        masks: Folder of masks; empty for none.
        project: Folder of the new project.
        guides: Folder with one sub-folder per guide; empty for none.
    """
    found = init_step(
        locate(scans),
        locate(masks) if masks else None,
        project=locate(project),
        guides=locate(guides) if guides else None,
    )
    return ended(found, f"wrote unetseg.yaml of {len(found.sources.classes)} classes into {project}")
