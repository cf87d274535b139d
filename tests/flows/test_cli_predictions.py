"""The commands below `unetseg predictions`, and what a rollback says of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.cli import main
from unetseg.json_files import read_json, write_json
from unetseg.project import Project
from unetseg.records import write_record
from unetseg.registry import promote


def unetseg(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def answer(result: Result) -> dict[str, Any]:
    assert len(result.stdout.splitlines()) == 1, result.stdout
    return json.loads(result.stdout)


@pytest.fixture
def scans(eyes: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("s01_1.tif", "s01_2.tif"):
        shutil.copy(eyes / "scans" / name, folder)
    return folder


def test_a_rollback_names_the_command_that_makes_the_bad_model_s_outputs_again(
    trained: Project, scans: Path, tmp_path: Path
):
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    path = trained.models / "0002" / "bundle.json"
    write_record(path, read_json(path) | {"created": "2030-01-02T03:04:05+00:00"})
    promote(trained.models, "0002", why="better")
    here = ("--project", trained.folder)
    out = tmp_path / "out"
    assert answer(unetseg("predict", scans, out, *here, "--json"))["model"] == "0002"
    (line,) = answer(unetseg("predictions", "list", *here, "--json"))["predictions"]
    assert (line["out"], line["model"], line["models"]) == (str(out), "0002", {"0002": 2})
    assert (line["missing"], line["out_of_date"], line["counts"]["done"]) == (0, 0, 2)
    back = unetseg("models", "rollback", *here)
    assert f"not made by production, 0001: {scans} -> {out} (0002: 2)" in back.output
    listed = unetseg("predictions", "list", *here)
    assert f"not made by production, 0001: {scans} -> {out} (0002: 2)" in listed.output
    assert answer(unetseg("predictions", "list", *here, "--json"))["redo"] == [str(out)]
    assert answer(unetseg("models", "promote", "2", *here, "--json"))["redo"] == []
    assert "not made by" not in unetseg("predictions", "list", *here).output
    assert answer(unetseg("models", "promote", "1", *here, "--json"))["redo"] == [str(out)]
    assert f"unetseg predictions redo --project {trained.folder}" in back.output
    redone = answer(unetseg("predictions", "redo", *here, "--model", "2", "--json"))["redone"]
    assert [(item["out"], item["result"]["done"], item["result"]["model"]) for item in redone] == [
        (str(out), 2, "0001")
    ]
    assert "0001: 2" in unetseg("predictions", "list", *here).output
    told = unetseg("predictions", "redo", *here, "--with", "2")
    assert told.output.count(f"{scans} -> {out}") == 1
    assert f"{scans} -> {out}: 2 scans done with model 0002, 0 were up to date, 0 quarantined" in told.stdout
    unetseg("predictions", "redo", *here)
    again = unetseg("predictions", "redo", *here)
    assert (again.exit_code, again.output) == (0, "nothing to do: no remembered folder has such outputs\n")


def test_without_predictions_a_sentence_says_how_to_make_one(trained: Project, scans: Path, tmp_path: Path):
    here = ("--project", trained.folder)
    following = f"; next: unetseg predict FOLDER OUT --project {trained.folder}\n"
    assert unetseg("predictions", "list", *here).output == f"no predictions yet{following}"
    assert answer(unetseg("predictions", "list", *here, "--json"))["predictions"] == []
    unetseg("predict", scans, tmp_path / "out", *here)
    assert "quarantined" in unetseg("predictions", "list", *here).output
    others = unetseg("predictions", "list", "--model", "7", *here).output
    assert others == f"no predictions with outputs of 7{following}"


def test_a_folder_that_is_gone_is_said_and_can_be_forgotten(trained: Project, scans: Path, tmp_path: Path):
    here, out = ("--project", trained.folder), tmp_path / "out"
    unetseg("predict", scans, out, *here)
    marker = out / "records" / "s01_1.json"
    whole = read_json(marker)
    marker.write_text("{")
    damaged = unetseg("predictions", "list", *here).output
    assert ("s01_1.json: damaged" in damaged, "to forget it" in damaged) == (True, False)
    write_json(marker, whole | {"model": {"version": "0007", "digest": ""}})
    shutil.rmtree(scans)
    gone = unetseg("predictions", "list", *here).output
    assert f"to forget it: unetseg predictions forget {out} --scans {scans}" in gone
    failed = unetseg("predictions", "redo", *here)
    assert failed.exit_code == 1
    assert f"{scans} -> {out}: failed: {scans}: folder of scans not found" in failed.output
    shutil.rmtree(out)
    gone = unetseg("predictions", "list", *here).output
    assert f"{scans} -> {out}: the folder of outputs is gone; to forget it: unetseg predictions forget {out}" in gone
    elsewhere = unetseg("predictions", "forget", out, "--scans", tmp_path, *here)
    assert (elsewhere.exit_code, f"there are: {scans} -> {out}" in elsewhere.output) == (2, True)
    assert answer(unetseg("predictions", "forget", out, *here, "--json")) == {"forgotten": str(out)}
    assert answer(unetseg("predictions", "list", *here, "--json")) == {
        "predictions": [],
        "redo": [],
        "unreadable_notes": [],
    }
    assert unetseg("predictions", "forget", out, *here).exit_code == 2


def test_a_damaged_note_is_told_by_the_exit_status_until_it_is_forgotten(trained: Project, scans: Path, tmp_path: Path):
    here, note = ("--project", trained.folder), trained.folder / "predictions" / "a.json"
    unetseg("predict", scans, tmp_path / "out", *here)
    note.write_text("{")
    listed = unetseg("predictions", "list", *here, "--json")
    assert listed.exit_code == 3
    assert [item["out"] for item in answer(listed)["predictions"]] == [str(tmp_path / "out")]
    assert [item["path"] for item in answer(listed)["unreadable_notes"]] == [str(note)]
    assert f"{note}: damaged" in listed.stderr
    redone = unetseg("predictions", "redo", *here)
    assert (redone.exit_code, f"failed: {note}: damaged" in redone.stdout) == (1, True)
    assert unetseg("predictions", "forget", note, *here).exit_code == 0
    assert [unetseg("predictions", what, *here).exit_code for what in ("list", "redo")] == [0, 0]


def test_each_note_is_read_once_and_told_of_once(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, damaged = ("--project", trained.folder), trained.folder / "predictions" / "a.json"
    unetseg("predict", scans, tmp_path / "out", *here)
    damaged.write_text("{")
    read = list[Path]()

    def noted(path: Path) -> object:
        read.append(path)
        return read_json(path)

    monkeypatch.setattr("unetseg.prediction_notes.read_json", noted)
    for what in ("list", "redo"):
        read.clear()
        told = unetseg("predictions", what, *here).stderr
        assert sorted(read) == sorted(damaged.parent.glob("*.json"))
        assert told.count(f"{damaged}: damaged") == 1


def test_overwrite_does_all_again_and_a_bundle_of_no_project_is_not_remembered(
    trained: Project, scans: Path, tmp_path: Path
):
    call = ("predict", scans, tmp_path / "out", "--bundle", trained.models / "0001", "--json")
    assert answer(unetseg(*call))["done"] == 2
    assert answer(unetseg(*call, "--dry-run"))["up_to_date"] == 2
    assert answer(unetseg(*call, "--dry-run", "--overwrite"))["up_to_date"] == 0
    assert answer(unetseg(*call, "--overwrite"))["done"] == 2
    assert not (trained.folder / "predictions").exists()


def test_a_folder_of_guides_is_below_the_folder_in_which_it_is_typed(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    unetseg("predict", scans, tmp_path / "out", "--project", trained.folder, "--set", "predict.guides=more")
    (line,) = answer(unetseg("predictions", "list", "--project", trained.folder, "--json"))["predictions"]
    assert line["settings"]["guides"] == str(tmp_path / "more")


@pytest.mark.server
def test_the_flow_remembers_too(trained: Project, scans: Path, tmp_path: Path):
    from flows.predict import predict
    from unetseg.prediction_notes import read_notes

    predict(project=str(trained.folder), folder=str(scans), out=str(tmp_path / "out"))
    assert [item.out for item in read_notes(trained.folder).remembered] == [str(tmp_path / "out")]
    assert predict(project=str(trained.folder), folder=str(scans), out=str(tmp_path / "out"), overwrite=True).done == 2
