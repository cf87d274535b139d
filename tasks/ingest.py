"""Bring a project's dataset up to date."""

from __future__ import annotations

from tasks.artifacts import show_ingest
from tasks.progress import ProgressArtifact
from tasks.step import TRIED, shown, step, unseen
from unetseg import ingest as library
from unetseg.ingest_outcomes import Outcome
from unetseg.parallel import Progress
from unetseg.project import Project

__all__ = ["ingest", "ingest_batch"]


@step("ingest", "ingest {project.folder.name}")
def ingest(project: Project, *, cluster: str = "") -> library.IngestResult:
    """Bring a project's dataset up to date, a task run per batch of scans."""
    progress = ProgressArtifact("ingest")

    def run_batch(project: Project, batch: library.IngestBatch) -> list[Outcome]:
        try:
            outcomes = ingest_batch(unseen(project), unseen(batch), unseen(progress))
        except OSError as error:
            error.add_note(TRIED)
            raise
        progress.flush()
        return outcomes

    result = library.ingest(project, cluster=cluster, run_batch=run_batch)
    shown(show_ingest, result, of="ingest", where=result.page)
    return result


@step("ingest batch", "scans {batch.first}-{batch.last} of {batch.total}")
def ingest_batch(project: Project, batch: library.IngestBatch, progress: Progress) -> list[Outcome]:
    """Bring the scans of one batch up to date."""
    return library.ingest_batch(project, batch, progress=progress)
