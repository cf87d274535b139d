"""The ingest flow: a task run per batch, what it shows, and what happens when files or the server fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from unetseg import ingest as library
from unetseg.init import init
from unetseg.project import Project, load_project

server = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def project(eyes: Path, tmp_path: Path) -> Project:
    """Sixteen eyes, of which nothing is ingested."""
    init(eyes / "scans", eyes / "masks", project=tmp_path / "lab")
    return load_project(tmp_path / "lab")


@pytest.fixture
def in_batches_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_BATCH_SCANS", 4)


def shown_by(project: Project, key: str) -> list[Any]:
    """What the runs of a project's ingest have shown under a key, the newest first."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
    from prefect.client.schemas.sorting import ArtifactSort

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])), sort=ArtifactSort.CREATED_DESC
        )
        runs = {run.id for run in client.read_flow_runs() if run.parameters.get("project") == str(project.folder)}
    return [item for item in found if item.flow_run_id in runs]


# --------------------------------------------------------------------------- batches


@server
def test_each_batch_is_a_task_run_that_names_its_scans(
    project: Project, in_batches_of_four: None, newest_run: Callable[..., Any], task_runs: Callable[..., list[str]]
):
    from flows.ingest import ingest

    result = ingest(project=str(project.folder))
    assert result.done == 16
    batches = ["scans 1-4 of 16", "scans 13-16 of 16", "scans 5-8 of 16", "scans 9-12 of 16"]
    run = newest_run(project=str(project.folder))
    assert task_runs(run, at_least=5) == ["ingest lab", *batches]
    assert run.name == f"ingest lab {date.today().isoformat()}"
    assert (run.state.name, run.state.message) == ("Completed", result.sentence)
    assert result.sentence.startswith("ingested 16 scans, 0 unchanged (")
    assert result.page.exists()


@server
def test_a_batch_that_lost_its_disk_is_tried_again(
    project: Project, in_batches_of_four: None, monkeypatch: pytest.MonkeyPatch
):
    import tasks.ingest
    from flows.ingest import ingest

    original, tried = library.ingest_batch, []

    def fails_once(project: Project, batch: library.IngestBatch, **named: Any) -> Any:
        tried.append(batch.first)
        if tried == [1, 5]:
            raise OSError(5, "Input/output error")
        return original(project, batch, **named)

    at_once = tasks.ingest.ingest_batch.with_options(retry_delay_seconds=0)
    monkeypatch.setattr(tasks.ingest, "ingest_batch", at_once)
    monkeypatch.setattr(library, "ingest_batch", fails_once)
    assert ingest(project=str(project.folder)).done == 16
    assert tried == [1, 5, 5, 9, 13]


@server
def test_a_batch_that_fails_for_good_ends_the_run_without_beginning_anew(
    project: Project, in_batches_of_four: None, monkeypatch: pytest.MonkeyPatch
):
    import tasks.ingest
    from flows.ingest import ingest

    original, tried = library.ingest_batch, []

    def broken(project: Project, batch: library.IngestBatch, **named: Any) -> Any:
        tried.append(batch.first)
        if batch.first == 5:
            raise OSError(5, "Input/output error")
        return original(project, batch, **named)

    at_once = tasks.ingest.ingest_batch.with_options(retry_delay_seconds=0)
    monkeypatch.setattr(tasks.ingest, "ingest_batch", at_once)
    monkeypatch.setattr(library, "ingest_batch", broken)
    with pytest.raises(OSError, match="Input/output"):
        ingest(project=str(project.folder))
    assert tried == [1, 5, 5, 5, 5]
    monkeypatch.undo()
    assert (ingest(project=str(project.folder)).skipped, library.ingest(project).skipped) == (4, 16)


@server
def test_two_ingests_of_one_project_in_one_process_wait_for_each_other(project: Project):
    from prefect import flow

    from tasks.ingest import ingest as ingest_step

    @flow
    def both() -> list[library.IngestResult]:
        runs = [ingest_step.submit(project) for _ in range(2)]
        return [run.result() for run in runs]

    assert sorted((found.done, found.skipped) for found in both()) == [(0, 16), (16, 0)]


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cluster that each batch is told of; the batches run here."""
    original, found = library.ingest_batch, []

    def noted(project: Project, batch: library.IngestBatch, **named: Any) -> Any:
        found.append(batch.cluster)
        return original(project, replace(batch, cluster=""), **named)

    monkeypatch.setattr(library, "ingest_batch", noted)
    return found


@server
def test_cluster_reaches_every_batch(project: Project, in_batches_of_four: None, clusters: list[str]):
    from flows.ingest import ingest

    ingest(project=str(project.folder), cluster="tcp://here:8786")
    assert clusters == ["tcp://here:8786"] * 4


@server
def test_cluster_reaches_the_ingest_of_a_night(project: Project, clusters: list[str], monkeypatch: pytest.MonkeyPatch):
    import flows.nightly

    def only_ingest(project: Project, steps: Any) -> Any:
        steps.ingest(project)
        return SimpleNamespace(sentence="the rest of the night was left out", outcome="kept")

    monkeypatch.setattr(flows.nightly.library, "nightly", only_ingest)
    flows.nightly.nightly(project=str(project.folder), cluster="tcp://here:8786")
    assert clusters == ["tcp://here:8786"]


# --------------------------------------------------------------------------- what runs show


@server
def test_run_shows_classes_progress_suspicions_quarantine_and_the_page(eyes: Path, tmp_path: Path):
    from flows.ingest import ingest

    shutil.copytree(eyes / "scans", tmp_path / "scans")
    shutil.copytree(eyes / "masks", tmp_path / "masks")
    for kind in ("iris", "pupil", "sclera"):
        mask = tmp_path / "masks" / kind / "s01_1.tif"
        tifffile.imwrite(mask, np.zeros_like(tifffile.imread(mask)))
    init(tmp_path / "scans", tmp_path / "masks", project=tmp_path / "lab")
    project = load_project(tmp_path / "lab")
    (tmp_path / "scans" / "s99_1.tif").write_bytes(b"II*\0")
    result = ingest(project=str(project.folder))
    assert "s01_1" in result.suspicions

    (classes,) = shown_by(project, "classes")
    assert "all splits: 16 scans, 143,360 pixels, 0 ignored" in classes.data
    assert "| class | scans with | without | pixels | share |" in classes.data
    assert "| iris | 15 | 1 |" in classes.data
    assert "| of | iris | pupil | sclera |" in classes.data
    (suspicions,) = shown_by(project, "suspicions")
    rows = json.loads(suspicions.data)
    assert [(row["scan"], row["what is odd"]) for row in rows] == [
        (scan, sentence) for scan, sentences in result.suspicions.items() for sentence in sentences
    ]
    (quarantine,) = shown_by(project, "quarantine")
    (bad,) = json.loads(quarantine.data)
    assert Path(bad["file"]).name == "s99_1.tif"
    assert quarantine.description == "1 file"
    (page,) = shown_by(project, "data-check")
    assert str(result.page) in page.data
    (progress,) = shown_by(project, "ingest-progress")
    assert float(progress.data) == 100.0
    assert progress.description.startswith("ingest: 16 of 16, last s")


# --------------------------------------------------------------------------- progress


class FakeArtifacts:
    """Notes what would be sent to the server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.made: list[float] = []
        self.updated: list[float] = []
        self.error: Exception | None = None
        monkeypatch.setattr("tasks.progress.create_progress_artifact", self.create)
        monkeypatch.setattr("tasks.progress.update_progress_artifact", self.update)

    def create(self, percent: float, **named: str) -> str:
        self.made.append(percent)
        return "an id"

    def update(self, artifact: str, percent: float, **named: str) -> None:
        assert artifact == "an id"
        self.updated.append(percent)
        if self.error:
            raise self.error


def test_progress_is_shown_at_most_every_two_seconds_and_at_the_end(monkeypatch: pytest.MonkeyPatch):
    from tasks.progress import ProgressArtifact

    shown, now = FakeArtifacts(monkeypatch), [0.0]
    progress = ProgressArtifact("ingest", clock=lambda: now[0])
    for done in range(1, 41):
        now[0] += 0.5
        progress(done, 40, "a scan")
    assert shown.made == [2.5]
    assert shown.updated == [100 * done / 40 for done in range(5, 40, 4)]
    progress.flush()
    assert shown.updated[-1] == 100
    progress.flush()  # nothing new: nothing is sent
    assert len(shown.updated) == 10


def test_a_server_that_takes_no_progress_does_not_end_the_step(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    from tasks.progress import ProgressArtifact

    shown, now = FakeArtifacts(monkeypatch), [0.0]
    shown.error = RuntimeError("the server is gone")
    progress = ProgressArtifact("ingest", clock=lambda: now[0])
    for done in range(1, 5):
        now[0] += 10
        progress(done, 4, "a scan")
    assert shown.updated == [50]
    assert [record.getMessage() for record in caplog.records] == ["ingest: progress is not shown any more"]


def test_a_step_without_anything_to_do_shows_no_progress(monkeypatch: pytest.MonkeyPatch):
    from tasks.progress import ProgressArtifact

    shown = FakeArtifacts(monkeypatch)
    ProgressArtifact("ingest").flush()
    assert (shown.made, shown.updated) == ([], [])
