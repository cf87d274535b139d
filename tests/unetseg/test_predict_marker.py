"""Commit markers: what a killed run leaves is never taken for an output, and goes with the next one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from unetseg import scan_rows
from unetseg.config import PredictConfig
from unetseg.json_files import read_json
from unetseg.outputs import FORMATS, OBJECTS
from unetseg.predict import PredictResult, predict
from unetseg.predictions_redo import list_predictions, redo
from unetseg.project import Project
from unetseg.records import write_record
from unetseg.registry import promote, rollback

BEFORE = PredictConfig(engine="keras", probabilities=True, tile=512)
KILLED = PredictConfig(engine="keras", format="tiff", objects=True, tile=512)
AFTER = PredictConfig(engine="keras", tile=512)
HOW = ["write", "place", "write_stack"]  # a small scan, a large one, a stack


@pytest.fixture(params=HOW, ids=["small", "large", "stack"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of a format's methods makes the outputs of the scan."""
    if request.param == "place":
        monkeypatch.setattr(scan_rows, "_WHOLE", 0.0)
    return str(request.param)


@pytest.fixture
def scans(how: str, tmp_path: Path, eyes: Path) -> Path:
    """A folder with one scan."""
    folder = tmp_path / "scans"
    folder.mkdir()
    pixels = tifffile.imread(min((eyes / "scans").glob("*.tif")))[:72, :100]
    shown = np.stack([pixels, pixels[::-1]]) if how == "write_stack" else pixels
    tifffile.imwrite(folder / "a.tif", shown, photometric="minisblack", rowsperstrip=16, compression="zlib")
    return folder


def run(project: Project, scans: Path, out: Path, config: PredictConfig, model: str = "0001") -> PredictResult:
    return predict(scans, out, bundle=project.models / model, config=config, project=project.folder)


def contents(out: Path) -> dict[str, bytes]:
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in {"run.json", ".lock"}]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def kill(project: Project, scans: Path, out: Path, how: str, model: str = "0001") -> None:
    """Stop a run where the masks of a scan are there, and its objects are not."""
    form = type(FORMATS["tiff"])
    real = getattr(form, how)

    def killed(*given: Any, kind: Any) -> None:
        if kind is OBJECTS:
            raise OSError(28, "No space left on device")
        real(*given, kind=kind)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(form, how, killed)
        with pytest.raises(OSError, match="No space"):
            run(project, scans, out, KILLED, model)
    assert (out / "a.ome.tif").exists()


def test_what_was_there_before_a_kill_does_not_stay_beside_what_is_made_after_it(
    trained: Project, scans: Path, tmp_path: Path, how: str
):
    run(trained, scans, tmp_path / "expected", AFTER)
    run(trained, scans, tmp_path / "out", BEFORE)
    kill(trained, scans, tmp_path / "out", how)
    assert (tmp_path / "out/a.probabilities.ome.zarr").exists()
    assert run(trained, scans, tmp_path / "out", AFTER).done == 1
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


def test_what_a_kill_leaves_of_a_scan_without_marker_does_not_stay_beside_outputs_of_other_names(
    trained: Project, scans: Path, tmp_path: Path, how: str
):
    run(trained, scans, tmp_path / "expected", AFTER)
    kill(trained, scans, tmp_path / "out", how)
    assert (tmp_path / "out/a.ome.tif").exists()
    assert run(trained, scans, tmp_path / "out", AFTER).done == 1
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


@pytest.mark.parametrize("how", HOW[:1], ids=["small"], indirect=True)
def test_outputs_that_the_same_model_was_making_again_are_its_own_and_out_of_date(
    trained: Project, scans: Path, tmp_path: Path, how: str
):
    run(trained, scans, tmp_path / "out", BEFORE)
    kill(trained, scans, tmp_path / "out", how)
    marker = read_json(tmp_path / "out/records/a.json")
    assert (marker["signature"], sorted(marker["outputs"])) == (
        "",
        ["a.objects.ome.tif", "a.ome.tif", "a.ome.zarr", "a.probabilities.ome.zarr"],
    )
    (found,) = list_predictions(trained)
    assert (dict(found.models), found.missing, found.out_of_date) == ({"0001": 1}, 0, 1)
    (again,) = redo(trained, model="0001", by="0001")  # with the settings of the run that was killed
    assert again.result is not None
    assert again.result.done == 1
    assert {path.name for path in (tmp_path / "out").glob("a.*")} == {"a.ome.tif", "a.objects.ome.tif"}


@pytest.mark.parametrize("how", HOW[:1], ids=["small"], indirect=True)
def test_a_scan_that_has_no_outputs_yet_gets_no_marker_before_it_is_done(
    trained: Project, scans: Path, tmp_path: Path, how: str
):
    kill(trained, scans, tmp_path / "out", how)
    assert not (tmp_path / "out/records").exists()


@pytest.mark.parametrize("how", HOW[:1], ids=["small"], indirect=True)
@pytest.mark.parametrize(
    ("damaged", "asked"),
    [pytest.param(False, {"model": "2"}, id="marker-whole"), pytest.param(True, {}, id="marker-damaged")],
)
def test_outputs_that_a_bad_model_had_begun_to_replace_are_made_again_after_a_rollback(
    trained: Project, scans: Path, tmp_path: Path, how: str, damaged: bool, asked: dict[str, str]
):
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    bundle = trained.models / "0002" / "bundle.json"
    write_record(bundle, read_json(bundle) | {"created": "2030-01-02T03:04:05+00:00"})
    promote(trained.models, "0002", why="better")
    marker = tmp_path / "out/records/a.json"
    run(trained, scans, tmp_path / "out", BEFORE)
    made_from = read_json(marker)["sources"]
    if damaged:
        marker.write_text("{")
    for _ in range(2):  # the second one finds what the first one left
        kill(trained, scans, tmp_path / "out", how, "0002")
    assert read_json(marker).get("sources") == (None if damaged else made_from)
    rollback(trained.models)
    (found,) = list_predictions(trained)
    assert (dict(found.models), found.holds("0002"), found.holds_others_than("0001")) == ({"unknown": 1}, True, True)
    assert [item.result and (item.result.model, item.result.done) for item in redo(trained, **asked)] == [("0001", 1)]
    assert dict(list_predictions(trained)[0].models) == {"0001": 1}
    assert redo(trained, **asked) == []
