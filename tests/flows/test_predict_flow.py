"""The predict flow: a task run per batch, what it shows, how it ends, and how it goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from unetseg import predict as library
from unetseg.config import PredictConfig
from unetseg.json_files import read_json
from unetseg.parallel import Workers
from unetseg.predict_batches import BatchRecord, PredictBatch
from unetseg.predict_workers import workers_for
from unetseg.project import Project

server = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def scans(eyes: Path, tmp_path: Path) -> Path:
    """Five scans; in a folder that is named as no other test's."""
    folder = tmp_path / "fresh eyes"
    folder.mkdir()
    for scan in sorted((eyes / "scans").glob("*.tif"))[:5]:
        shutil.copy(scan, folder)
    return folder


def run(project: Project, scans: Path, out: Path, **settings: Any) -> library.PredictResult:
    from flows.predict import predict

    return predict(project=str(project.folder), folder=str(scans), out=str(out), settings=PredictConfig(**settings))


def flow_run(scans: Path) -> Any:
    """The newest run on a folder."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.parameters.get("folder") == str(scans)]
    return max(runs, key=lambda run: run.created)


def shown(scans: Path, key: str) -> list[Any]:
    """What the newest run on a folder has shown under a key."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [item for item in found if item.flow_run_id == flow_run(scans).id]


# --------------------------------------------------------------------------- what a run shows


@server
def test_each_batch_is_a_task_run_and_the_run_shows_what_was_found(
    trained: Project, scans: Path, tmp_path: Path, task_runs: Callable[..., list[str]]
):
    (scans / "broken.tif").write_bytes(b"II*\0")
    result = run(trained, scans, tmp_path / "out", batch=2)
    assert (result.done, len(result.quarantined)) == (5, 1)
    batches = [f"segment fresh eyes {number} of 3" for number in (1, 2, 3)]
    assert task_runs(flow_run(scans), at_least=5) == ["finish fresh eyes", "look at fresh eyes", *batches]

    assert flow_run(scans).name == f"predict fresh eyes {date.today().isoformat()}"
    state = flow_run(scans).state
    assert (state.name, state.message) == ("Completed", result.sentence)
    assert "segmented 5 scans with model 0001 in " in state.message
    assert f"0 were up to date, 1 quarantined; {tmp_path / 'out'}" in state.message
    (page,) = shown(scans, "prediction")
    for line in (
        state.message[1:],
        "| class | scans with it | objects | mean share of a scan |",
        *(f"| {item.name} | {item.scans} | {item.objects} | {100 * item.fraction:.2f} % |" for item in result.totals),
        f"| table | `{result.table}` |",
    ):
        assert line in page.data
    assert [item.name for item in result.totals] == ["iris", "pupil", "sclera"]
    (gallery,) = shown(scans, "gallery")
    assert result.gallery.as_uri() in gallery.data
    (quarantine,) = shown(scans, "quarantine")
    (bad,) = json.loads(quarantine.data)
    assert Path(bad["file"]).name == "broken.tif"
    (progress,) = shown(scans, "predict-progress")
    assert (float(progress.data), progress.description[:20]) == (100, "predict: 5 of 5, las")


@server
def test_too_many_bad_scans_fail_the_run_which_shows_them_all_the_same(trained: Project, scans: Path, tmp_path: Path):
    (scans / "broken.tif").write_bytes(b"II*\0")
    with pytest.raises(library.DataError, match="1 of 6 scans"):
        run(trained, scans, tmp_path / "out", max_failed_fraction=0.1)
    state = flow_run(scans).state
    assert state.name == "Failed"
    assert "1 of 6 scans cannot be used, more than predict.max_failed_fraction = 0.1 allows" in state.message
    assert len(shown(scans, "quarantine")) == len(shown(scans, "gallery")) == 1
    assert read_json(tmp_path / "out" / "run.json")["result"]["done"] == 5


def test_server_that_takes_nothing_does_not_fail_a_prediction_that_is_done(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    import tasks.artifacts
    import tasks.step
    from tasks.predict import finish, open_prediction

    def broken(*arguments: Any, **named: Any) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(tasks.artifacts, "create_markdown_artifact", broken)
    monkeypatch.setattr(tasks.step.logger, "handlers", [caplog.handler])  # Prefect's settings keep lines from others
    opened = open_prediction.fn(scans, tmp_path / "out", bundle=trained.models / "0001", config=PredictConfig())
    with workers_for(opened) as workers:
        records = [library.segment_batch(batch, workers) for batch in opened.batches()]
    assert finish.fn(opened, records).done == 5
    assert f"predict: the results are not shown; they are in {tmp_path / 'out'}" in caplog.messages


# --------------------------------------------------------------------------- batches that fail


class Batches:
    """Works batches off, and raises an error in the second one when half of it is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int):
        import tasks.predict

        self.error, self.times, self.original = error, times, library.segment_batch
        self.tried: list[int] = []
        at_once = tasks.predict.segment_batch.with_options(retry_delay_seconds=0)
        monkeypatch.setattr(tasks.predict, "segment_batch", at_once)
        monkeypatch.setattr(library, "segment_batch", self)

    def __call__(self, batch: PredictBatch, workers: Workers, **named: Any) -> BatchRecord:
        self.tried.append(batch.number)
        if batch.number == 2 and self.tried.count(2) <= self.times:
            named["progress"] = self.stop
        return self.original(batch, workers, **named)

    def stop(self, done: int, total: int, what: str) -> None:
        raise self.error


@server
def test_a_batch_that_lost_its_disk_is_tried_again_and_goes_on(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    batches = Batches(monkeypatch, OSError(5, "Input/output error"), times=2)
    result = run(trained, scans, tmp_path / "out", batch=2)
    assert batches.tried == [1, 2, 2, 2, 3]
    assert result.done + result.skipped == 5
    assert 1 <= result.skipped <= 2  # of the second batch, by an earlier try


@server
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), library.DataError("damaged")], ids=["full disk", "damage"]
)
def test_a_full_disk_or_damage_ends_the_run_at_once_and_the_next_run_goes_on(
    error: Exception, trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    batches = Batches(monkeypatch, error, times=9)
    with pytest.raises(type(error)):
        run(trained, scans, tmp_path / "out", batch=2)
    assert batches.tried == [1, 2]
    assert flow_run(scans).state.name == "Failed"
    done = len(list((tmp_path / "out" / "records").glob("*.json")))
    assert 3 <= done <= 4
    batches.times = 0
    result = run(trained, scans, tmp_path / "out", batch=2)
    assert (result.done, result.skipped) == (5 - done, done)


# --------------------------------------------------------------------------- the form


def test_form_describes_every_parameter_and_setting_with_limits_and_choices():
    from flows.predict import predict

    schema = predict.parameters.model_dump()
    order = sorted(schema["properties"], key=lambda name: schema["properties"][name]["position"])
    assert order == ["project", "folder", "out", "model", "cluster", "overwrite", "settings", "overrides"]
    assert schema["required"] == ["project", "folder", "out"]
    assert all(item.get("description") for item in schema["properties"].values())
    settings = schema["definitions"]["PredictConfig"]["properties"]
    assert all(item.get("description") and item.get("title") and "default" in item for item in settings.values())
    assert settings["format"]["enum"] == ["ome-zarr", "tiff"]
    assert (settings["max_failed_fraction"]["minimum"], settings["max_failed_fraction"]["maximum"]) == (0, 1)
    assert all("anyOf" not in item and "oneOf" not in item for item in settings.values())  # these show as raw JSON
