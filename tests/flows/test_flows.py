"""Flows do what the library does, on a Prefect server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from unetseg.config import EvaluateConfig, PredictConfig, Settings, TrainConfig
from unetseg.json_files import read_json
from unetseg.project import Project, load_project
from unetseg.registry import read_aliases

pytestmark = pytest.mark.usefixtures("prefect_server")


def artifacts(key: str) -> list[str]:
    """What runs have shown under a key."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return [str(item.data) for item in client.read_artifacts() if item.key == key]


def test_nightly_flow_trains_promotes_and_then_finds_nothing_to_do(eyes: Path, tiny: tuple[str, ...], tmp_path: Path):
    from flows.init import init
    from flows.nightly import nightly

    found = init(str(eyes / "scans"), str(eyes / "masks"), str(tmp_path))
    assert [item.name for item in found.sources.classes] == ["iris", "pupil", "sclera"]
    short = (*tiny, "train.epochs=1", "train.steps_per_epoch=2")
    first = nightly(project=str(tmp_path), overrides=short)
    assert first.outcome == "promoted"
    assert read_aliases(tmp_path / "models").production == "0001"
    again = nightly(project=str(tmp_path), overrides=short)
    assert again.outcome == "unchanged"
    assert any(first.sentence in text for text in artifacts("outcome"))
    assert any("| pupil |" in text for text in artifacts("scores"))


def test_nightly_flow_and_library_give_the_same_model(
    trained: Project, eyes: Path, tiny: tuple[str, ...], tmp_path: Path
):
    from flows.ingest import ingest
    from flows.train import train

    shutil.copy(trained.folder / "unetseg.yaml", tmp_path / "unetseg.yaml")
    assert ingest(project=str(tmp_path)).fingerprint == read_json(trained.dataset / "index.json")["fingerprint"]
    result = train(project=str(tmp_path), settings=TrainConfig(epochs=1), overrides=("train.steps_per_epoch=1",))
    bundle = read_json(result.bundle / "bundle.json")
    assert bundle["settings"]["train"]["epochs"] == 1
    assert bundle["settings"]["train"]["batch"] == 4  # of unetseg.yaml: the form's default does not override it
    assert bundle["settings"]["train"]["steps_per_epoch"] == 1


def test_evaluate_flow_takes_its_settings(trained: Project):
    from flows.evaluate import evaluate

    result = evaluate(project=str(trained.folder), settings=EvaluateConfig(criterion="fixed", fixed_threshold=0.25))
    assert {item["value"] for item in result.thresholds.values()} == {0.25}


def test_other_scans_and_other_thresholds_are_flows_too(trained: Project, eyes: Path):
    from flows.evaluate_on import evaluate_on
    from flows.thresholds import thresholds

    changed = thresholds(project=str(trained.folder), criteria=("iris=fixed:0.25",))
    result = evaluate_on(project=str(trained.folder), scans=str(eyes / "scans"), masks=str(eyes / "masks"))
    assert result.thresholds == changed.thresholds
    assert result.scores["iris"]["threshold"] == 0.25
    assert any(str(result.report) in text for text in artifacts("scores"))


def test_predict_flow_writes_what_the_library_writes(trained: Project, eyes: Path, tmp_path: Path):
    from flows.predict import predict
    from unetseg.predict import predict as library

    (eyes / "scans").exists()
    predict(project=str(trained.folder), folder=str(eyes / "scans"), out=str(tmp_path / "flow"))
    library(eyes / "scans", tmp_path / "library", bundle=trained.models / "0001", config=PredictConfig())
    for place in sorted((tmp_path / "library").glob("*.ome.zarr")):
        other = tmp_path / "flow" / place.name
        both = [zarr.open_array(folder / "0", mode="r")[...] for folder in (place, other)]
        assert np.array_equal(*both)


def test_quarantined_files_are_shown(trained: Project, eyes: Path, tmp_path: Path):
    from flows.predict import predict

    scans = tmp_path / "scans"
    scans.mkdir()
    shutil.copy(eyes / "scans" / "s01_1.tif", scans)
    (scans / "broken.tif").write_bytes(b"II*\0")
    result = predict(project=str(trained.folder), folder=str(scans), out=str(tmp_path / "out"))
    assert result.done == 1
    assert any("broken.tif" in text for text in artifacts("quarantine"))


def test_promote_and_rollback_flows(trained: Project):
    from flows.promote import promote
    from flows.rollback import rollback

    shutil.copytree(trained.models / "0001", trained.models / "0002")
    after = promote(project=str(trained.folder), version="2", why="a test")
    assert (after.production, after.previous) == ("0002", "0001")
    assert rollback(project=str(trained.folder)).production == "0001"
    assert rollback(project=str(trained.folder), of="2").production == "0001"


def test_a_wrong_setting_fails_the_run_before_any_work(trained: Project):
    from flows.train import train

    with pytest.raises(ValueError, match="epoch"):
        train(project=str(trained.folder), overrides=("train.epoch=1",))
    assert [item.name for item in sorted(trained.models.glob("0*"))] == ["0001"]


def test_only_errors_of_files_and_connections_are_tried_again(trained: Project):
    import asyncio

    from prefect.states import Failed

    from tasks.step import is_io_error

    def would_retry(error: Exception) -> bool:
        return asyncio.run(is_io_error(None, None, Failed(data=error)))

    assert would_retry(ConnectionResetError())
    assert would_retry(OSError(5, "Input/output error"))
    assert not would_retry(OSError(28, "no space left"))
    assert not would_retry(ValueError("wrong setting"))


def test_forms_override_only_what_was_changed_in_them(trained: Project):
    from flows.parameters import project_with

    changed = project_with(str(trained.folder), [], settings=Settings(train=TrainConfig(seed=3)))
    assert changed.settings.train.seed == 3
    assert changed.settings.train.batch == load_project(trained.folder).settings.train.batch
    strongest = project_with(str(trained.folder), ["train.seed=0"], train=TrainConfig(seed=3))
    assert strongest.settings.train.seed == 0


def test_demo_runs_the_flow_segments_new_eyes_and_names_what_to_look_at(tiny: tuple[str, ...], tmp_path: Path):
    from click.testing import CliRunner

    from flows.cli import main
    from unetseg.init import init
    from unetseg.synth import write_eyes

    # A project that is there already is taken as it is: here, one that trains in seconds.
    eyes = write_eyes(tmp_path / "eyes", subjects=6, scans_per_subject=2, size=(80, 112))
    write_eyes(tmp_path / "new_eyes", subjects=1, scans_per_subject=2, size=(80, 112), seed=1)
    init(eyes.scans, eyes.masks, project=tmp_path, overrides=(*tiny, "train.epochs=2"))
    result = CliRunner().invoke(main, ["demo", "--project", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["done"] == 2
    assert set(answer["scores"]) == {"iris", "pupil", "sclera", "micro", "macro", "weighted"}
    assert answer["nightly"]["outcome"] == "promoted"
    assert all(Path(answer[name]).exists() for name in ("data_check", "report", "gallery", "table", "masks"))
