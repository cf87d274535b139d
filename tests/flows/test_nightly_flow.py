"""What the nightly flow shows, how it ends, and whom it tells of a promotion."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from unetseg.project import Project, override, save_project
from unetseg.registry import promote as promote_in_library
from unetseg.registry import read_aliases
from unetseg.working import working

server = pytest.mark.usefixtures("prefect_server")
TODAY = date.today().isoformat()


@pytest.fixture
def unpromoted(trained: Project) -> Project:
    """Its model has not met the gate yet."""
    (trained.models / "aliases.json").unlink()
    (trained.models / "0001" / "gate.json").unlink()
    return trained


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The events that would be sent."""
    import tasks.events

    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.events, "emit_event", lambda event, **more: sent.append({"event": event, **more}))
    return sent


def shown(run: Any) -> dict[str, Any]:
    """What a run has shown, by key."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    of = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    with get_client(sync_client=True) as client:
        return {item.key: item for item in client.read_artifacts(artifact_filter=of)}


# --------------------------------------------------------------------------- how it ends


@server
def test_a_promotion_is_named_told_shown_and_sent(
    unpromoted: Project, newest_run: Callable[..., Any], events: list[dict[str, Any]]
):
    from flows.nightly import nightly

    result = nightly(str(unpromoted.folder))
    run = newest_run(project=str(unpromoted.folder))
    assert run.name == f"nightly trained {TODAY}"
    assert (run.state.name, run.state.message) == ("Completed", result.sentence)
    assert result.sentence.startswith("promoted 0001: macro f1 ")
    decision = shown(run)["decision"].data
    assert decision.startswith("Promoted 0001: macro f1 ")
    assert "| iris | – | " in decision
    (event,) = events
    assert event["event"] == "unetseg.model.promoted"
    assert event["resource"]["prefect.resource.id"] == "unetseg.project.trained"
    assert event["payload"] == {
        "project": str(unpromoted.folder), "version": "0001", "previous": None, "sentence": result.sentence,
    }  # fmt: skip


@server
def test_a_night_without_anything_to_do_is_completed_as_unchanged(
    trained: Project, newest_run: Callable[..., Any], events: list[dict[str, Any]]
):
    from flows.nightly import nightly

    nightly(str(trained.folder))
    state = newest_run(project=str(trained.folder)).state
    assert state.is_completed()
    assert (state.name, state.message) == ("Unchanged", "unchanged since 0001: nothing to train")
    assert events == []


@server
def test_a_night_that_may_not_wait_is_completed_as_skipped(trained: Project, newest_run: Callable[..., Any]):
    from flows.nightly import nightly

    entered, done = threading.Event(), threading.Event()

    def work() -> None:
        with working(trained.folder, "train"):
            entered.set()
            done.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(60)
    try:
        nightly(str(trained.folder), overrides=("nightly.when_busy=skip",))
    finally:
        done.set()
        thread.join()
    state = newest_run(project=str(trained.folder)).state
    assert state.is_completed()
    assert state.name == "Skipped"
    assert "train by " in state.message


@server
def test_a_step_that_fails_fails_the_run_and_leaves_production(
    unpromoted: Project, newest_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]]
):
    from flows.nightly import nightly
    from unetseg import gate as library

    promote_in_library(unpromoted.models, "0001", why="by hand")
    before = (unpromoted.models / "aliases.json").read_bytes()

    def broken(*arguments: Any, **named: Any) -> None:
        raise ValueError("the gate is stuck")

    monkeypatch.setattr(library, "gate", broken)
    with pytest.raises(ValueError, match="stuck"):
        nightly(str(unpromoted.folder))
    state = newest_run(project=str(unpromoted.folder)).state
    assert state.is_failed()
    assert "the gate is stuck" in state.message
    assert (unpromoted.models / "aliases.json").read_bytes() == before
    assert events == []


@server
def test_the_folder_of_the_nights_is_segmented_by_task_runs(
    trained: Project, eyes: Path, newest_run: Callable[..., Any], task_runs: Callable[..., list[str]]
):
    from flows.nightly import nightly

    (trained.folder / "incoming").mkdir()
    shutil.copy(eyes / "scans" / "s01_1.tif", trained.folder / "incoming")
    folders = ["nightly.predict_folder=incoming", "nightly.predict_out=segmented"]
    save_project(replace(trained, settings=override(trained.settings, folders)))
    result = nightly(str(trained.folder))
    assert result.predicted.done == 1
    run = newest_run(project=str(trained.folder))
    assert "; segmented 1 scan with model 0001" in run.state.message
    assert {"look at incoming", "segment incoming 1 of 1", "finish incoming"} <= set(task_runs(run, at_least=5))
    assert "gallery" in shown(run)


# --------------------------------------------------------------------------- what an evaluation shows


@server
def test_an_evaluation_shows_scores_thresholds_scans_and_where_the_report_is(
    trained: Project, newest_run: Callable[..., Any]
):
    from flows.evaluate import evaluate

    result = evaluate(str(trained.folder))
    run = newest_run(project=str(trained.folder))
    assert run.name == f"evaluate trained latest {TODAY}"
    assert run.state.message == result.sentence
    assert result.sentence.startswith("evaluated 0001: macro recall 0.")
    found = shown(run)
    page = found["scores"].data
    assert "| class | recall | precision |" in page
    assert f"| iris | {result.thresholds['iris']['value']:.4f} |" in page
    assert '<img alt="truth" src="data:image/jpeg;base64,' in page
    assert "| scan | truth | prediction | errors: iris, F1 0." in page
    assert len(page) < 500_000
    assert str(result.report) in page
    assert str(result.report) in found["report"].data
    assert float(found["evaluate-progress"].data) == 100


@pytest.mark.server
def test_pictures_end_where_an_artifact_would_become_too_large(trained: Project, monkeypatch: pytest.MonkeyPatch):
    from tasks import artifacts

    report = trained.models / "0001" / "evaluation" / "report.html"
    monkeypatch.setattr(artifacts, "_LARGEST_PICTURE", 1)
    assert artifacts._scans_of(report) == ""


# --------------------------------------------------------------------------- promotions by hand


@server
def test_promote_and_rollback_say_and_send_what_they_did(
    trained: Project, newest_run: Callable[..., Any], events: list[dict[str, Any]]
):
    from flows.promote import promote
    from flows.rollback import rollback

    project = str(trained.folder)
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    promote(project=project, version="2", why="a test")
    run = newest_run(project=project)
    assert (run.name, run.state.message) == (f"promote trained 2 {TODAY}", "promoted 0002: a test")
    promote(project=project, version="2")
    assert newest_run(project=project).state.message == "0002 is production already: nothing to do"
    rollback(project=project, of="2", why="too eager")
    run = newest_run(project=project)
    assert (run.name, run.state.message) == (f"rollback trained {TODAY}", "rolled back to 0001 from 0002: too eager")
    rollback(project=project, of="2")
    assert newest_run(project=project).state.message == "2 is not in production any more: nothing to do"
    told = [(item["event"], item["payload"]["version"], item["payload"]["previous"]) for item in events]
    assert told == [("unetseg.model.promoted", "0002", "0001"), ("unetseg.model.rolled-back", "0001", "0002")]
    assert read_aliases(trained.models).production == "0001"


@server
def test_the_server_has_the_event_for_its_automations(trained: Project):
    from prefect.client.orchestration import get_client
    from prefect.events.worker import EventsWorker

    from flows.promote import promote

    shutil.copytree(trained.models / "0001", trained.models / "0002")
    promote(project=str(trained.folder), version="2", why="for the server")
    EventsWorker.instance().wait_until_empty()
    wanted = {"filter": {"event": {"name": ["unetseg.model.promoted"]}}}
    with get_client(sync_client=True) as client:
        found: list[dict[str, Any]] = []
        for _ in range(200):  # the server writes them by and by
            found = client._client.post("/events/filter", json=wanted).json()["events"]
            if any(item["payload"]["sentence"] == "promoted 0002: for the server" for item in found):
                return
            threading.Event().wait(0.1)
    raise AssertionError(json.dumps(found))
