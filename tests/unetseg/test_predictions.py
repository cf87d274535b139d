"""What is in the folders of outputs of a project, and making it again after a rollback."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetseg import predict_scan
from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig
from unetseg.json_files import read_json, write_json
from unetseg.predict import predict
from unetseg.prediction_notes import read_notes
from unetseg.predictions import look_at
from unetseg.predictions_redo import list_predictions, redo
from unetseg.project import Project, load_project
from unetseg.records import write_record
from unetseg.registry import promote, rollback
from unetseg.storage import locked, text_hash


@pytest.fixture
def scans(some_scans: Callable[[int], Path]) -> Path:
    """Three scans."""
    return some_scans(3)


@pytest.fixture
def two(trained: Project) -> Project:
    """A project whose second model is production, which the first one was; both mark the same."""
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    path = trained.models / "0002" / "bundle.json"
    write_record(path, read_json(path) | {"created": "2030-01-02T03:04:05+00:00"})
    promote(trained.models, "0002", why="better")
    return trained


def run(project: Project, scans: Path, out: Path, model: str = "0001", **settings):
    config = PredictConfig(**settings)
    return predict(scans, out, bundle=project.models / model, config=config, project=project.folder)


# --------------------------------------------------------------------------- what is there


def test_a_folder_tells_which_models_made_what_is_there(two: Project, scans: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(two, scans, out)
    (out / "records" / "s01_1.json").unlink()
    assert run(two, scans, out).done == 1
    marker = out / "records" / "s01_2.json"
    write_json(marker, read_json(marker) | {"model": {"version": "0002", "digest": ""}})
    (scans / "s01_1.tif").unlink()
    shutil.copy(scans / "s01_2.tif", scans / "new.tif")
    tifffile.imwrite(scans / "s02_1.tif", np.zeros((64, 64), np.uint8))
    (found,) = list_predictions(two)
    assert found.models == {"0001": 1, "0002": 1}
    assert (found.missing, found.out_of_date, found.gone, found.problem) == (1, 1, 1, "")


def test_a_scan_that_was_quarantined_is_not_missing(two: Project, scans: Path, tmp_path: Path):
    broken = scans / "broken.tif"
    whole = (scans / "s01_1.tif").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    (scans / "noise.png").write_bytes(b"no picture")
    aside = run(two, scans, tmp_path / "out", max_failed_fraction=0.9).aside
    assert {Path(item.path).name for item in aside} == {"broken.tif", "noise.png"}
    (found,) = list_predictions(two)
    assert (found.models, found.missing, found.quarantined) == ({"0001": 3}, 0, 2)
    broken.write_bytes(whole)
    later = (tmp_path / "out" / "run.json").stat().st_mtime_ns + 1_000_000_000
    os.utime(broken, ns=(later, later))
    (found,) = list_predictions(two)
    assert (found.missing, found.quarantined) == (1, 1)  # the next run will try it
    for damaged in ("{", "[]", '{"result": {}}'):
        (tmp_path / "out" / "run.json").write_text(damaged)
        (found,) = list_predictions(two)
        assert found.quarantined == 0


def test_markers_name_the_model_and_old_ones_count_as_unknown(trained: Project, scans: Path, tmp_path: Path):
    run(trained, scans, tmp_path / "out")
    path = tmp_path / "out" / "records" / "s01_1.json"
    marker = read_json(path)
    assert marker["model"] == {"version": "0001", "digest": load_bundle(trained.models / "0001").digest}
    write_json(path, {key: value for key, value in marker.items() if key not in {"model", "schema_version"}})
    assert list_predictions(trained)[0].models == {"0001": 2, "unknown": 1}
    assert run(trained, scans, tmp_path / "out").skipped == 3  # an older record is still read


def test_another_project_s_model_of_the_same_number_is_told_apart(trained: Project, scans: Path, tmp_path: Path):
    run(trained, scans, tmp_path / "out")
    path = tmp_path / "out" / "records" / "s01_1.json"
    write_json(path, read_json(path) | {"model": {"version": "0001", "digest": "abcdef0123456789"}})
    (found,) = list_predictions(trained)
    assert found.models == {"0001": 2, "0001 (abcdef01)": 1}
    assert found.holds_others_than("0001")


@pytest.mark.parametrize("what", ["out", "scans", "model"])
def test_what_is_gone_is_said(what: str, two: Project, scans: Path, tmp_path: Path):
    run(two, scans, tmp_path / "out")
    shutil.rmtree({"out": tmp_path / "out", "scans": scans, "model": two.models / "0001"}[what])
    (found,) = list_predictions(two)
    assert found.problem
    assert (found.missing, found.out_of_date, found.folder_gone) == (None, None, what != "model")
    assert found.models == ({} if what == "out" else {"0001": 3})


def test_damage_in_one_folder_hides_no_other_and_the_scan_is_done_again(two: Project, scans: Path, tmp_path: Path):
    for name in ("a", "b"):
        run(two, scans, tmp_path / name)
    marker = sorted((tmp_path / "a" / "records").glob("*.json"))[0]
    marker.write_text("{")
    damaged, whole = list_predictions(two)
    assert "damaged" in damaged.problem
    assert (whole.problem, whole.models) == ("", {"0001": 3})
    assert run(two, scans, tmp_path / "a").done == 1
    assert [item.problem for item in list_predictions(two)] == ["", ""]


def test_outputs_in_a_folder_called_records_are_no_markers(two: Project, scans: Path, tmp_path: Path):
    for path in list(scans.iterdir()):
        (scans / "records").mkdir(exist_ok=True)
        path.rename(scans / "records" / path.name)
    run(two, scans, tmp_path / "out")
    (found,) = list_predictions(two)
    assert (found.models, found.gone) == ({"0001": 3}, 0)


# --------------------------------------------------------------------------- once more


def test_after_a_rollback_one_call_makes_the_bad_model_s_outputs_again(two: Project, scans: Path, tmp_path: Path):
    for name, model in (("good", "0001"), ("bad", "0002"), ("both", "0002")):
        run(two, scans, tmp_path / name, model, format="tiff")
    marker = tmp_path / "both" / "records" / "s01_1.json"
    write_json(marker, read_json(marker) | {"model": {"version": "0001", "digest": ""}})
    rollback(two.models)
    assert {item.about.out for item in list_predictions(two, model="2")} == {
        str(tmp_path / "bad"), str(tmp_path / "both")
    }  # fmt: skip
    done = redo(two, model="0002")
    assert [(item.out, item.result and item.result.done) for item in done] == [
        (str(tmp_path / "bad"), 3), (str(tmp_path / "both"), 3)
    ]  # fmt: skip
    assert list_predictions(two, model="0002") == []
    assert all(item.models == {"0001": 3} and not item.out_of_date for item in list_predictions(two))
    assert (tmp_path / "bad" / "s01_1.ome.tif").exists()
    assert redo(two) == []


def test_without_a_model_what_production_would_make_otherwise_now_is_done(two: Project, scans: Path, tmp_path: Path):
    run(two, scans, tmp_path / "out", "0002")
    assert redo(two) == []
    shutil.copy(scans / "s01_2.tif", scans / "s01_1.tif")
    (found,) = list_predictions(two)
    assert (found.out_of_date, found.holds_others_than("0002"), found.wants_redo("0002")) == (1, False, True)
    (again,) = redo(two)
    assert again.result
    assert (again.result.done, again.result.skipped) == (1, 2)
    assert redo(two) == []


def test_without_a_model_all_that_is_not_production_s_is_done_and_failures_stop_nothing(
    two: Project, scans: Path, tmp_path: Path
):
    other = tmp_path / "other"
    shutil.copytree(scans, other)
    run(two, other, tmp_path / "a")
    run(two, scans, tmp_path / "b")
    shutil.rmtree(other)
    first, second = redo(two)
    assert (first.out, first.result) == (str(tmp_path / "a"), None)
    assert "not found" in first.problem
    assert second.result
    assert (second.result.done, second.result.model) == (3, "0002")


def test_outputs_that_cannot_be_looked_at_are_left_out_of_nothing(
    two: Project, scans: Path, tmp_path: Path, refuse: Callable[[Path], None]
):
    run(two, scans, tmp_path / "out")
    refuse(tmp_path / "out" / "records")
    (found,) = list_predictions(two, model="7")
    assert "Permission denied" in found.problem
    assert (found.unreadable, found.folder_gone) == (True, False)
    assert [item.out for item in redo(two, model="7")] == [found.about.out]


def test_a_note_that_cannot_be_read_stops_no_other_and_counts_as_not_done(two: Project, scans: Path, tmp_path: Path):
    for name in ("a", "b"):
        run(two, scans, tmp_path / name)
    lost = next(
        path for path in (two.folder / "predictions").iterdir() if read_json(path)["out"] == str(tmp_path / "b")
    )
    lost.write_text("{")
    assert [item.about.out for item in list_predictions(two, model="1")] == [str(tmp_path / "a")]
    done, missed = redo(two, model="1")
    assert (done.out, done.result and done.result.done) == (str(tmp_path / "a"), 3)
    assert (missed.folder, missed.out, missed.result) == ("", "", None)
    assert missed.problem.startswith(f"{lost}: damaged")
    assert run(two, scans, tmp_path / "b", "0002").done == 3  # the same once more writes the note anew
    assert redo(two, model="1") == []


def test_a_model_that_was_removed_hinders_nobody(two: Project, scans: Path, tmp_path: Path):
    run(two, scans, tmp_path / "out")
    shutil.rmtree(two.models / "0001")
    (found,) = redo(two, model="1")
    assert found.result
    assert (found.result.done, found.problem) == (3, "")
    assert list_predictions(two)[0].models == {"0002": 3}


# --------------------------------------------------------------------------- several folders of scans


@pytest.fixture
def other(scans: Path, tmp_path: Path) -> Path:
    """Two scans of other names."""
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("s01_1", "s01_2"):
        shutil.copy(scans / f"{name}.tif", folder / f"more_{name}.tif")
    return folder


def test_folders_that_were_predicted_into_one_are_told_apart_and_all_made_again(
    two: Project, scans: Path, other: Path, tmp_path: Path
):
    out = tmp_path / "out"
    run(two, scans, out, "0001", exclude="s02*")
    run(two, other, out, "0001", workers=2)
    (other / "more_s01_2.tif").unlink()
    first, second = list_predictions(two)
    assert [(item.about.folder, item.models) for item in (first, second)] == [
        (str(scans), {"0001": 2}), (str(other), {"0001": 1})
    ]  # fmt: skip
    assert [(item.missing, item.out_of_date, item.gone) for item in (first, second)] == [(0, 0, 0), (0, 0, 1)]
    done = redo(two)
    assert [(item.folder, item.result and item.result.done) for item in done] == [(str(scans), 2), (str(other), 1)]
    assert [item.about.settings for item in list_predictions(two)] == [
        PredictConfig(exclude="s02*"), PredictConfig(workers=2)
    ]  # fmt: skip


def test_a_damaged_marker_is_told_of_its_own_folder_and_may_be_of_any_model(
    two: Project, scans: Path, other: Path, tmp_path: Path
):
    for folder in (scans, other):
        run(two, folder, tmp_path / "out")
    (tmp_path / "out" / "records" / "more_s01_1.json").write_text("{")
    first, second = list_predictions(two)
    assert (first.problem, first.models) == ("", {"0001": 3})
    assert "more_s01_1.json: damaged; the next predict or redo" in second.problem
    assert [item.about.folder for item in list_predictions(two, model="2")] == [str(other)]
    assert [item.result and item.result.done for item in redo(two, model="2", by="0001")] == [1]
    assert list_predictions(two, model="2") == []


def test_outputs_of_a_folder_that_is_gone_are_its_own_and_the_others_go_on(
    two: Project, scans: Path, other: Path, tmp_path: Path
):
    for folder in (other, scans):
        run(two, folder, tmp_path / "out")
    shutil.rmtree(other)
    found = {item.about.folder: item.models for item in list_predictions(two)}
    assert found == {str(other): {"0001": 2}, str(scans): {"0001": 3}}
    done = {item.folder: (item.result and item.result.done, item.problem) for item in redo(two)}
    assert done[str(scans)] == (3, "")
    assert done[str(other)][0] is None
    assert "not found" in done[str(other)][1]


def test_an_output_that_a_later_folder_replaced_is_the_later_one_s(two: Project, scans: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(scans / "s01_2.tif", other / "s01_1.tif")
    run(two, scans, tmp_path / "out")
    run(two, other, tmp_path / "out")
    found = {item.about.folder: (item.models, item.missing) for item in list_predictions(two)}
    assert found == {str(scans): ({"0001": 2}, 1), str(other): ({"0001": 1}, 0)}


def test_two_patterns_of_one_folder_are_two_predictions(two: Project, scans: Path, tmp_path: Path):
    run(two, scans, tmp_path / "out", pattern="s01*.tif")
    run(two, scans, tmp_path / "out", exclude="s01_1*")
    assert [item.models for item in list_predictions(two)] == [{"0001": 2}, {"0001": 2}]
    assert [item.missing for item in list_predictions(two)] == [0, 0]
    assert [item.result and (item.result.done, item.result.skipped) for item in redo(two)] == [(2, 0), (1, 1)]


# --------------------------------------------------------------------------- guides


def test_a_relative_folder_of_guides_is_below_the_project(trained: Project):
    with_guides = replace(trained.settings, predict=PredictConfig(guides="more/guides"))
    assert replace(trained, settings=with_guides).prediction.guides == str(trained.folder / "more/guides")
    assert load_project(trained.folder, ["predict.guides=s3://bucket/guides"]).prediction.guides == "s3://bucket/guides"
    assert trained.prediction.guides == ""


# --------------------------------------------------------------------------- one folder of outputs


def contents(out: Path) -> dict[str, bytes]:
    """All files of a folder of outputs but ``run.json`` and the markers."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in {"run.json", "gallery.html"} and path.parent.name != "records"
    }


def test_overwriting_does_every_scan_again_to_the_same_outputs(trained: Project, scans: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(trained, scans, out)
    before = contents(out)
    bundle = trained.models / "0001"
    for _ in range(2):
        again = predict(scans, out, bundle=bundle, config=PredictConfig(), overwrite=True)
        assert (again.done, again.skipped) == (3, 0)
    assert contents(out) == before
    assert run(trained, scans, out).skipped == 3


def _stopped_after(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on the disk is full after so many scans; what is given back ends that."""
    real, seen = predict_scan._write, []

    def write(*arguments):
        if len(seen) == number:
            raise OSError(28, "No space left on device")
        seen.append(1)
        return real(*arguments)

    monkeypatch.setattr(predict_scan, "_write", write)
    return lambda: monkeypatch.setattr(predict_scan, "_write", real)


@pytest.mark.parametrize(("given_up", "left"), [pytest.param(False, 2, id="go-on"), pytest.param(True, 3, id="anew")])
def test_an_overwriting_that_was_killed_goes_on_unless_it_is_given_up(
    given_up: bool, left: int, trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, bundle = tmp_path / "out", trained.models / "0001"
    run(trained, scans, out)
    whole = contents(out)
    mend = _stopped_after(1, monkeypatch)
    with pytest.raises(OSError, match="No space"):
        predict(scans, out, bundle=bundle, config=PredictConfig(workers=1), overwrite=True)
    assert contents(out).keys() >= whole.keys()  # nothing is lost before its successor is there
    mend()
    if given_up:
        run(trained, scans, out)
    again = predict(scans, out, bundle=bundle, config=PredictConfig(), overwrite=True)
    assert (again.done, again.skipped) == (left, 3 - left)


def test_leftovers_of_killed_runs_go_but_not_what_may_be_in_the_making(trained: Project, scans: Path, tmp_path: Path):
    out = tmp_path / "out"
    old = [out / ".tmp-a.ome.zarr-1" / "0", out / "records" / ".tmp-b.json-2", out / "left" / ".tmp-c.ome.tif-3"]
    new, gone = out / "left" / ".tmp-d.ome.tif-4", out / ".unfinished" / "0123456789abcdef" / "masks"
    kept = out / "s01_1.ome.zarr" / ".tmp-inside"
    for path in (*old, new, gone, kept):
        path.mkdir(parents=True)
    for path in (*old, old[0].parent, kept):
        os.utime(path, (0, 0))
    mine = out / ".unfinished" / text_hash("s01_1")[:16] / "masks"
    mine.mkdir(parents=True)
    run(trained, scans, out)
    assert not any(path.exists() for path in (*old, old[0].parent, gone))
    assert new.exists()
    assert not mine.exists()  # the scan is done


def test_a_second_prediction_into_the_same_folder_waits_and_finds_all_done(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    waiting, results = threading.Event(), []
    monkeypatch.setattr("unetseg.local_disk.logger.info", lambda *_args: waiting.set())
    with locked(tmp_path / "out"):
        thread = threading.Thread(target=lambda: results.append(run(trained, scans, tmp_path / "out")))
        thread.start()
        assert waiting.wait(60)
        assert not (tmp_path / "out" / "records").exists()
    thread.join()
    assert [item.done for item in results] == [3]


def test_the_run_record_has_fingerprints_that_do_not_tell_of_places_and_times(
    trained: Project, scans: Path, tmp_path: Path
):
    records = []
    shutil.copytree(scans, tmp_path / "elsewhere")
    for folder, out in ((scans, "a"), (tmp_path / "elsewhere", "b")):
        run(trained, folder, tmp_path / out)
        records.append(read_json(tmp_path / out / "run.json"))
    run(trained, scans, tmp_path / "a")
    records.append(read_json(tmp_path / "a" / "run.json"))
    for name in ("inputs_fingerprint", "outputs_fingerprint", "model", "settings", "software", "signature"):
        assert records[0][name] == records[1][name] == records[2][name]
    hashes = [[path.stem, [text(path)]] for path in sorted(scans.glob("*.tif"))]
    assert records[0]["inputs_fingerprint"] == text_hash(hashes)
    assert records[0]["counts"] == {"done": 3, "skipped": 0, "quarantined": 0, "failed": 0}
    assert records[2]["counts"]["skipped"] == 3
    assert records[0]["began"] <= records[0]["ended"]
    tifffile.imwrite(scans / "s01_1.tif", np.zeros((64, 64), np.uint8))
    run(trained, scans, tmp_path / "a")
    changed = read_json(tmp_path / "a" / "run.json")
    for name in ("inputs_fingerprint", "outputs_fingerprint"):
        assert changed[name] != records[0][name]


def text(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_the_same_is_looked_at_as_the_command_would(trained: Project, scans: Path, tmp_path: Path):
    run(trained, scans, tmp_path / "out", exclude="s02*")
    (about,) = read_notes(trained.folder).remembered
    (found,) = look_at([about], trained)
    assert (found.models, found.missing, found.out_of_date) == ({"0001": 2}, 0, 0)
