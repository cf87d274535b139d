"""The `unetseg` command: results, exit statuses, and what it does not load."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from flows.cli import main
from unetseg.config import PredictConfig
from unetseg.json_files import read_json
from unetseg.nightly import nightly
from unetseg.project import Project
from unetseg.readers import BadFile
from unetseg.records import write_record


def unetseg(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def answer(result: Result) -> dict[str, Any]:
    """The one JSON value on standard output."""
    assert len(result.stdout.splitlines()) == 1, result.stdout
    return json.loads(result.stdout)


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


HEAVY = ("tensorflow", "keras", "jax", "torch", "prefect", "distributed", "openvino", "matplotlib", "skimage")


# --------------------------------------------------------------------------- what to type next


def test_what_to_type_next_can_be_copied_where_names_have_spaces(eyes: Path, tmp_path: Path):
    folder = tmp_path / "my eyes"
    said = unetseg("init", eyes / "scans", eyes / "masks", "--project", folder).output
    assert shlex.split(said.rpartition("next: ")[2]) == ["unetseg", "nightly", "--project", str(folder)]
    missing = unetseg("ingest", "--project", tmp_path / "no eyes").output
    assert shlex.split(missing.partition("such as ")[2].partition(";")[0]) == [str(folder)]


def test_an_evaluation_says_what_follows_it(trained: Project):
    project, folder = ("--project", trained.folder), f" --project {trained.folder}"
    said = unetseg("evaluate", *project).output.splitlines()
    assert said[-1] == f"next: unetseg predict FOLDER OUT{folder}"
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    said = unetseg("thresholds", *project, "--model", "latest", "--set", "iris=fixed:0.25").output.splitlines()
    assert said[-2] == f"0001 is production; both: unetseg models compare 0001 0002{folder}"
    assert said[-1] == f"next: unetseg models promote 0002{folder}"
    (trained.models / "aliases.json").unlink()
    assert "production; both" not in unetseg("evaluate", *project).output


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        (("--project", "p", "nightly"), "It is given after the command."),
        (("models", "--project", "p", "list"), "It is given after the command."),
        (("train", "--epochs", "5"), "It is a setting: --set train.epochs=..."),
        (("train", "--colour", "red"), "'--colour'."),
    ],
)
def test_an_option_that_is_not_known_is_told_with_the_way_out(words: tuple[str, ...], way_out: str):
    result = unetseg(*words)
    assert result.exit_code == 2
    assert result.stderr.strip().endswith(way_out)


@pytest.mark.parametrize(("command", "told"), [("ingest", True), ("evaluate", False)])
def test_who_ends_a_command_is_told_whether_it_goes_on(
    command: str, told: bool, trained: Project, monkeypatch: pytest.MonkeyPatch
):
    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"unetseg.{command}.{command}", end)
    result = unetseg(command, "--project", trained.folder)
    assert result.exit_code == 1
    assert ("ended by you; the same command goes on where it was" in result.stderr) == told


def test_what_may_not_be_written_is_told_with_what_must_be(trained: Project, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(trained.folder / "runs" / ".lock"))

    monkeypatch.setattr("unetseg.ingest.ingest", refuse)
    result = unetseg("ingest", "--project", trained.folder)
    assert (result.exit_code, "runs/.lock: permission denied; the folder of a project" in result.stderr) == (1, True)


def test_without_masks_no_training_is_proposed(eyes: Path, tmp_path: Path):
    said = unetseg("init", eyes / "scans", "--project", tmp_path).output
    assert "nightly" not in said
    assert "without masks" in said


def test_a_project_without_models_says_what_trains_the_first(eyes: Path, tmp_path: Path):
    unetseg("init", eyes / "scans", eyes / "masks", "--project", tmp_path)
    assert "no models yet; next: unetseg nightly" in unetseg("models", "list", "--project", tmp_path).output


def test_a_command_of_a_group_is_found_without_its_group():
    said = unetseg("rollback")
    assert (said.exit_code, "Did you mean 'models rollback'?" in said.output) == (2, True)


def test_an_option_that_is_a_setting_is_told_how_it_is_given(tmp_path: Path):
    said = unetseg("train", "--project", tmp_path, "--learning-rate", "0.1")
    assert said.exit_code == 2
    assert "--set train.learning_rate=..." in said.output
    both = unetseg("train", "--project", tmp_path, "--normalisation", "batch").output
    assert "--set ingest.normalisation=... or --set model.normalisation=..." in both
    assert "--set train.max_minutes=..." in unetseg("train", "--project", tmp_path, "--max-minutes", "3").output
    assert "--set" not in unetseg("train", "--project", tmp_path, "--quick").output
    assert "--set" not in unetseg("models", "list", "--project", tmp_path, "--epochs", "3").output


def test_each_command_has_one_whole_line_in_the_list():
    code = "from deployments.cli import main; main(['--help'], prog_name='unetseg')"
    listed = run_python(code).partition("Commands:")[2]
    assert "predictions" in listed
    assert "..." not in listed


# --------------------------------------------------------------------------- the chain


def test_init_ingest_and_models_answer_in_json(eyes: Path, tmp_path: Path):
    found = answer(unetseg("init", eyes / "scans", eyes / "masks", "--project", tmp_path, "--json"))
    assert [item["name"] for item in found["sources"]["classes"]] == ["iris", "pupil", "sclera"]
    assert found["sources"]["scans"]["group"]
    first = answer(unetseg("ingest", "--project", tmp_path, "--json"))
    assert (first["done"], first["skipped"], first["quarantined"], first["failed"]) == (16, 0, 0, 0)
    assert first["quarantine"] == []
    assert first["page"] == str(tmp_path / "data_check.html")
    again = answer(unetseg("ingest", "--project", tmp_path, "--json"))
    assert (again["done"], again["skipped"]) == (0, 16)
    assert answer(unetseg("models", "list", "--project", tmp_path, "--json")) == {"models": []}


def test_ingest_says_what_classes_there_are_what_overlaps_and_where_the_page_is(trained: Project):
    result = unetseg("ingest", "--project", trained.folder)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("ingested 0 scans, 16 unchanged (")
    assert "all splits: 16 scans, 143,360 pixels" in lines
    assert sum(line.startswith("train: ") for line in lines) == 1
    assert sum(line.split() == ["class", "scans", "with", "without", "pixels", "share"] for line in lines) == 2
    assert ["pupil", "100.00%", "100.00%", "100.00%"] in [line.split() for line in lines]  # within iris and sclera
    assert lines[-2] == f"data check: {trained.folder / 'data_check.html'}"
    assert Path(lines[-2].removeprefix("data check: ")).exists()
    assert lines[-1] == f"next: unetseg nightly --project {trained.folder}"


def test_ingest_names_ten_scans_to_look_at_and_counts_the_others(capsys: pytest.CaptureFixture[str]):
    from types import SimpleNamespace

    from flows.console import Console
    from flows.ingest_summary import _say_suspicions

    found = {f"scan {number:02}": ("odd",) for number in range(13)}
    _say_suspicions(Console(as_json=False), SimpleNamespace(suspicions=found))  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert said.count("odd") == 11  # with the head of the column
    assert "scan 09" in said
    assert "3 more are on the page" in said


def test_classes_that_do_not_overlap_have_no_table_of_overlaps():
    from unetseg.class_statistics import class_statistics
    from unetseg.class_table import class_rows, overlap_rows

    class Scan:
        split, vanished = "train", False

        def __init__(self, *combinations: tuple[int, int]):
            self.combinations = combinations

    apart = class_statistics([Scan((0, 50), (1, 25), (2, 25))], ["a", "b"])
    assert overlap_rows(apart) == []
    assert class_rows(apart) == [["a", "1", "0", "25", "25.00%"], ["b", "1", "0", "25", "25.00%"]]
    together = class_statistics([Scan((0, 1000), (1, 30), (3, 10))], ["a", "b", "c"])
    assert overlap_rows(together) == [
        ["a", "100.00%", "25.00%", "0.00%"],
        ["b", "100.00%", "100.00%", "0.00%"],
        ["c", "–", "–", "–"],
    ]


def test_train_evaluate_and_predict_answer_in_json(trained: Project, eyes: Path, tmp_path: Path):
    quick = ("--set", "train.epochs=1", "--set", "train.steps_per_epoch=1")
    done = answer(unetseg("train", "--project", trained.folder, *quick, "--json"))
    assert done["version"] == "0002"
    scored = answer(unetseg("evaluate", "--project", trained.folder, "--model", "1", "--json"))
    row = {"recall", "precision", "f1", "dice", "iou", "average_precision", "threshold", "support"}
    assert all(row <= set(scored["scores"][name]) for name in ("iris", "micro", "macro", "weighted"))
    out = tmp_path / "out"
    segmented = answer(unetseg("predict", eyes / "scans", out, "--project", trained.folder, "--json"))
    assert (segmented["done"], segmented["quarantined"]) == (16, 0)
    with_bundle = unetseg("predict", eyes / "scans", out, "--bundle", trained.models / "0001", "--json")
    assert answer(with_bundle)["skipped"] == 16


def test_other_scans_are_scored_and_a_broken_one_ends_with_status_3(trained: Project, eyes: Path, tmp_path: Path):
    shutil.copytree(eyes, tmp_path / "clinic")
    (tmp_path / "clinic/masks/iris/s01_1.tif").write_bytes(b"no TIFF")
    on = ("--on", tmp_path / "clinic/scans", "--masks", tmp_path / "clinic/masks", "--name", "march")
    result = unetseg("evaluate", "--project", trained.folder, *on, "--json")
    assert result.exit_code == 3
    found = answer(result)
    assert found["report"] == str(trained.folder / "evaluations/march/0001/report.html")
    assert found["scores"]["iris"]["support"] == 15
    assert found["quarantined"] == 1
    assert "trained the model" in found["warnings"][-1]
    assert "iris: threshold" in result.stderr


def test_masks_without_scans_are_wrong_usage(trained: Project, eyes: Path):
    result = unetseg("evaluate", "--project", trained.folder, "--masks", eyes / "masks")
    assert result.exit_code == 2
    assert "scans need masks" in result.stderr


def test_thresholds_are_chosen_anew_without_the_network(trained: Project):
    result = unetseg("thresholds", "--project", trained.folder, "--set", "iris=fixed:0.25", "--json")
    assert answer(result)["thresholds"]["iris"]["value"] == 0.25
    wrong = unetseg("thresholds", "--project", trained.folder, "--set", "iris=best")
    assert wrong.exit_code == 2
    assert "must be CLASS=CRITERION" in wrong.stderr


def test_two_versions_are_compared_on_a_page(trained: Project):
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    result = unetseg("models", "compare", "1", "latest", "--project", trained.folder, "--json")
    found = answer(result)
    assert found["page"] == str(trained.folder / "comparisons" / "0001-0002.html")
    assert "<h1" in Path(found["page"]).read_text()
    assert found["comparison"]["scores"]["iris"]["f1"]["difference"] == 0
    assert "model 0001 and model 0002 on the same test scans" in result.stderr


def test_versions_of_other_scans_are_compared_once_they_are_scored_on_todays(trained: Project):
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    write_record(path, read_json(path) | {"test_fingerprint": "another", "dataset_fingerprint": "another"})
    before = path.read_bytes()
    arguments = ("models", "compare", "1", "2", "--project", trained.folder, "--json")
    refused = unetseg(*arguments)
    assert refused.exit_code == 2
    assert "unetseg models compare 0001 0002 --score" in refused.stderr
    scored = unetseg(*arguments, "--score")
    found = answer(scored)["comparison"]
    assert found["anew"] == ["0001"]
    assert "0001 was evaluated on other test scans: it was scored anew on these scans" in scored.stderr
    assert {row["f1"]["difference"] for row in found["differences"].values()} == {0}
    assert found["scores"]["iris"]["surface_dice"]["difference"] == pytest.approx(0, abs=1e-12)
    assert path.read_bytes() == before


def test_without_a_dataset_training_and_its_plan_are_refused_before_keras_is_imported(
    eyes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    imported = list[str]()
    monkeypatch.setattr("flows.cli_stages.import_keras_quietly", lambda: imported.append("train"))
    monkeypatch.setattr("flows.cli.import_keras_quietly", lambda: imported.append("plan"))
    unetseg("init", eyes / "scans", eyes / "masks", "--project", tmp_path)
    for command in ("train", "plan"):
        refused = unetseg(command, "--project", tmp_path)
        assert (refused.exit_code, "no dataset yet; run ingest first" in refused.stderr) == (2, True)
    assert imported == []


def test_a_promotion_is_told_once_and_with_it_what_was_noticed_in_training(trained: Project):
    (trained.models / "aliases.json").unlink()
    (trained.models / "0001" / "gate.json").unlink()
    path = trained.models / "0001" / "bundle.json"
    write_record(path, read_json(path) | {"notes": ["stopped by the clock", "iris: overfitted"]})
    said = unetseg("nightly", "--project", trained.folder)
    assert said.output.count("promoted 0001: ") == 1
    notes = [line for line in said.stdout.splitlines() if line.startswith("note: ")]
    assert notes == ["note: stopped by the clock", "note: iris: overfitted"]
    again = unetseg("nightly", "--project", trained.folder).stdout
    assert "note: " not in again  # nothing was trained


def test_a_night_with_files_in_quarantine_ends_with_how_many_and_where_the_reasons_are(
    trained: Project, monkeypatch: pytest.MonkeyPatch
):
    night = nightly(trained)
    bad = BadFile(str(trained.folder / "torn.tif"), "no TIFF")
    torn = replace(night, ingest=replace(night.ingest, quarantined=(bad,)))
    monkeypatch.setattr("flows.night_with_bars.night_with_bars", lambda *_, **__: torn)
    said = unetseg("nightly", "--project", trained.folder)
    assert said.exit_code == 3
    last = f"finished, with 1 file in quarantine (exit status 3); reasons: {trained.folder / 'data_check.html'}"
    assert said.stdout.splitlines()[-1] == last


def test_a_night_whose_prediction_set_a_file_aside_ends_as_such_a_prediction_does(trained: Project):
    incoming = trained.folder / "incoming"
    incoming.mkdir()
    scan = next(iter(sorted(Path(trained.sources.scans.path).glob("*.tif"))))
    shutil.copy(scan, incoming)
    (incoming / "torn.tif").write_bytes(scan.read_bytes()[:100])
    overrides = ("--set", "nightly.predict_folder=incoming", "--set", "nightly.predict_out=segmented")
    said = unetseg("nightly", "--project", trained.folder, *overrides)
    gallery = trained.folder / "segmented" / "gallery.html"
    last = f"finished, with 1 file in quarantine of the prediction (exit status 3); reasons: {gallery}"
    assert (said.exit_code, said.stdout.splitlines()[-1]) == (3, last)
    assert "torn.tif" in gallery.read_text(encoding="utf-8")


def test_nightly_says_unchanged_and_gives_scores(trained: Project):
    result = unetseg("nightly", "--project", trained.folder, "--json")
    assert result.exit_code == 0
    assert answer(result)["outcome"] == "unchanged"
    assert set(answer(result)["scores"]) >= {"iris", "pupil", "sclera", "micro", "macro", "weighted"}
    assert "unchanged since 0001: nothing to train" in result.stderr


def test_a_night_says_first_what_its_ingest_found(trained: Project):
    said = unetseg("nightly", "--project", trained.folder).stdout.splitlines()
    assert said[0].startswith("ingested 0 scans, 16 unchanged (")
    assert said[0].endswith("; 0 without masks, 0 quarantined, 0 vanished")


def test_a_night_that_may_not_wait_says_for_whom_and_is_no_failure(trained: Project):
    there = {"token": "x", "what": "train", "who": "ada@lab", "since": "noon", "process": [], "beat": time.time()}
    (trained.folder / "runs" / "working.json").write_text(json.dumps(there))
    result = unetseg("nightly", "--project", trained.folder, "--set", "nightly.when_busy=skip", "--json")
    assert result.exit_code == 0
    assert (answer(result)["outcome"], answer(result)["ingest"]) == ("skipped", None)
    assert "skipped: trained: train by ada@lab works there since noon" in result.stderr


def test_models_list_show_promote_and_rollback(trained: Project):
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    project = ("--project", trained.folder)
    assert [item["alias"] for item in answer(unetseg("models", "list", *project, "--json"))["models"]] == [
        "production",
        "",
    ]
    assert answer(unetseg("models", "promote", "0002", *project, "--json"))["production"] == "0002"
    assert answer(unetseg("models", "show", *project, "--json"))["version"] == "0002"
    assert answer(unetseg("models", "rollback", *project, "--json"))["production"] == "0001"
    assert "0002" in unetseg("models", "list", *project).stdout


def test_settings_lists_every_setting_with_its_meaning(trained: Project):
    from dataclasses import fields

    from unetseg.config import Settings

    rows = answer(unetseg("settings", "--project", trained.folder, "--json"))["settings"]
    names = {f"{section.name}.{item.name}" for section in fields(Settings) for item in fields(section.default_factory)}
    assert {row["name"] for row in rows} == names
    assert all(row["meaning"] for row in rows)
    assert next(row for row in rows if row["name"] == "train.patch")["value"] == "64"


def test_settings_show_a_value_that_is_not_the_default_as_set_takes_it(tmp_path: Path):
    text = "schema_version: 1\nsources: {scans: {path: scans}}\n"
    (tmp_path / "unetseg.yaml").write_text(f"{text}model: {{upsampling: [transposed, nearest], attention: true}}\n")
    rows = {row["name"]: row for row in answer(unetseg("settings", "--project", tmp_path, "--json"))["settings"]}
    shown = {name: (rows[name]["value"], rows[name]["default"]) for name in ("model.upsampling", "model.attention")}
    assert shown == {"model.upsampling": ("transposed,nearest", "nearest"), "model.attention": ("yes", "no")}
    assert (rows["model.dropout"]["value"], rows["loss.scale_weights"]["value"]) == ("0.0", "")


def test_settings_name_the_choices(tmp_path: Path):
    rows = {row["name"]: row for row in answer(unetseg("settings", "--project", tmp_path, "--json"))["settings"]}
    assert rows["loss.class_weights"]["choices"] == ["none", "total_over_class", "inverse_frequency"]
    assert rows["model.upsampling"]["choices"] == ["nearest", "bilinear", "transposed"]
    assert rows["model.dropout"]["choices"] == rows["train.epochs"]["choices"] == rows["card.authors"]["choices"] == []
    people = " ".join(unetseg("settings", "--project", tmp_path).stdout.split())
    assert "(one of: sigmoid, softmax)" in people
    assert people.count("one of: ") == sum(bool(row["choices"]) for row in rows.values())


def test_dry_run_writes_nothing(trained: Project, eyes: Path, tmp_path: Path):
    result = unetseg("predict", eyes / "scans", tmp_path / "out", "--project", trained.folder, "--dry-run", "--json")
    assert answer(result)["scans"] == 16
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------- exit statuses


def test_quarantined_scans_end_with_status_3(trained: Project, eyes: Path, tmp_path: Path):
    scans = tmp_path / "scans"
    scans.mkdir()
    tifffile.imwrite(scans / "good.tif", tifffile.imread(eyes / "scans" / "s01_1.tif"))
    (scans / "bad.tif").write_bytes(b"II*\0")
    result = unetseg("predict", scans, tmp_path / "out", "--project", trained.folder, "--json")
    assert result.exit_code == 3
    found = answer(result)
    assert (found["done"], found["quarantined"], found["failed"]) == (1, 1, 0)
    assert [Path(item["path"]).name for item in found["quarantine"]] == ["bad.tif"]
    assert found["quarantine"][0]["reason"]


@pytest.mark.parametrize("by", ["--project", "--bundle"])
def test_workers_of_the_command_line_reach_the_prediction(
    trained: Project, eyes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
):
    from unetseg import predict_workers

    class Enough(Exception):
        pass

    def opened(**given: object) -> None:
        found.update(given)
        raise Enough

    found: dict[str, object] = {}
    monkeypatch.setattr(predict_workers, "open_workers", opened)
    model = trained.folder if by == "--project" else trained.models / "0001"
    more = ("--processes", 3, "--cluster", "tcp://here:1", "--cluster-resource", "GPU=2", "--set", "predict.workers=5")
    result = unetseg("predict", eyes / "scans", tmp_path / "out", by, model, *more)
    assert isinstance(result.exception, Enough)
    expected = {"processes": 3, "cluster": "tcp://here:1", "resource": "GPU=2", "workers": 5, "out": tmp_path / "out"}
    assert {name: found[name] for name in expected} == expected
    assert found["sees"][0] == trained.models / "0001" / "bundle.json"
    assert found["sees"][1].parent == eyes / "scans"


def test_a_damaged_model_ends_with_status_1(trained: Project, eyes: Path, tmp_path: Path):
    (trained.models / "0001" / "openvino.bin").write_bytes(b"")
    result = unetseg("predict", eyes / "scans", tmp_path / "out", "--project", trained.folder)
    assert result.exit_code == 1
    assert "openvino.bin was changed or damaged" in result.stderr


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["init", "{here}/nowhere", "{eyes}/masks", "--project", "{here}/p"], ["nowhere"]),
        (["init", "{here}/none", "{eyes}/masks", "--project", "{here}/p"], ["none"]),
        (["init", "{eyes}/scans", "{here}/nowhere", "--project", "{here}/p"], ["nowhere"]),
        (["init", "{eyes}/scans", "{here}/others", "--project", "{here}/p"], ["others", "pair"]),
        (["init", "{eyes}/scans", "{eyes}/masks", "--project", "{here}/p", "--set", "train.epoch=5"], ["epochs"]),
        (["ingest", "--project", "{here}/p"], ["unetseg.yaml", "unetseg init"]),
        (["train", "--project", "{project}", "--set", "train.epochs=-1"], ["train.epochs", "0", "found '-1'"]),
        (["train", "--project", "{project}", "--set", "train.epochs"], ["section.field=value"]),
        (["train", "--project", "{project}", "--set", "trian.epochs=3"], ["trian", "train"]),
        (["nightly", "--project", "{project}", "--set", "ingest.dtype=int8"], ["ingest.dtype", "float16"]),
        (["evaluate", "--project", "{project}", "--model", "9"], ["9", "0001"]),
        (["predict", "{here}/nowhere", "{here}/out", "--project", "{project}"], ["nowhere"]),
        (["predict", "{here}/none", "{here}/out", "--project", "{project}"], ["none"]),
        (["predict", "{eyes}/scans", "{here}/out", "--bundle", "{here}"], ["no bundle"]),
        (["models", "promote", "7", "--project", "{project}"], ["7", "0001"]),
        (["models", "rollback", "--project", "{project}"], ["only model", "none to go back to"]),
    ],
)
def test_wrong_usage_is_one_line_with_status_2_and_writes_nothing(
    arguments: list[str], says: list[str], trained: Project, eyes: Path, tmp_path: Path
):
    (tmp_path / "none").mkdir()
    (tmp_path / "others").mkdir()
    tifffile.imwrite(tmp_path / "others" / "unrelated.tif", np.zeros((80, 112), np.uint8))
    before = tree(tmp_path)
    places = {"here": tmp_path, "eyes": eyes, "project": trained.folder}
    result = unetseg(*(text.format(**places) for text in arguments))
    assert result.exit_code == 2, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert all(word in errors[0] for word in says), errors[0]
    assert "Traceback" not in result.output
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "wrong", [["ingest", "--project", "{here}"], ["ingest", "--wrong"], ["predict"], ["models", "shw"]]
)
def test_errors_are_json_too_where_that_was_asked_for(wrong: list[str], tmp_path: Path):
    result = unetseg(*(text.format(here=tmp_path) for text in wrong), "--json")
    assert result.exit_code == 2
    assert answer(result)["status"] == 2
    assert answer(result)["error"]
    assert not unetseg(*(text.format(here=tmp_path) for text in wrong)).stdout


def test_init_does_not_overwrite_a_project(eyes: Path, trained: Project):
    before = (trained.folder / "unetseg.yaml").read_text()
    result = unetseg("init", eyes / "scans", eyes / "masks", "--project", trained.folder)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert (trained.folder / "unetseg.yaml").read_text() == before
    assert unetseg("init", eyes / "scans", eyes / "masks", "--project", trained.folder, "--overwrite").exit_code == 0
    assert (trained.folder / "unetseg.yaml").read_text() != before


# --------------------------------------------------------------------------- what is not loaded


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["init", "{eyes}/scans", "{eyes}/masks", "--project", "{here}/p"],
        ["models", "list", "--project", "{project}"],
        ["models", "show", "--project", "{project}"],
        ["models", "promote", "1", "--project", "{project}"],
    ],
)
def test_commands_without_a_network_load_no_framework(command: list[str], trained: Project, eyes: Path, tmp_path: Path):
    places = {"here": tmp_path, "eyes": eyes, "project": trained.folder}
    arguments = [text.format(**places) for text in command]
    out = run_python(
        f"import sys; sys.argv = ['unetseg', *{arguments!r}]\n"
        "from deployments.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"print('loaded', sorted(set(sys.modules) & set({HEAVY[:6]!r})))"
    )
    assert out.splitlines()[-1] == "loaded []"


def test_help_loads_nothing_heavy():
    heavy = {*HEAVY, "numpy", "pydantic", "psutil"}
    code = f"import deployments.cli, unetseg, sys; print(sorted(set(sys.modules) & {heavy!r}))"
    assert run_python(code).strip() == "[]"


def test_with_a_server_in_the_environment_stages_run_as_flows(trained: Project, monkeypatch: pytest.MonkeyPatch):
    import flows.ingest
    from unetseg.ingest import ingest

    calls = []

    def as_flow(**parameters):
        calls.append(parameters)
        return ingest(trained)

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setattr(flows.ingest, "ingest", as_flow)
    assert unetseg("ingest", "--project", trained.folder, "--set", "ingest.workers=1").exit_code == 0
    assert calls == [{"project": str(trained.folder), "cluster": "", "overrides": ("ingest.workers=1",)}]
    assert os.environ["PREFECT_API_URL"]


def test_the_engines_of_the_option_are_those_of_the_setting():
    (option,) = (item for item in main.commands["predict"].params if item.name == "engine")
    assert tuple(option.type.choices) == get_args(get_type_hints(PredictConfig)["engine"])


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["table", "json"])
def test_a_command_whose_words_nobody_reads_ends_without_a_word_of_its_own(words: tuple[str, ...], trained: Project):
    command = [sys.executable, "-m", "flows.cli", "settings", "--project", str(trained.folder), *words]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE
    assert [word for word in ("error: ", "Broken pipe", "Exception") if word in done.stderr] == []


def test_another_broken_pipe_than_ones_own_is_told(trained: Project, monkeypatch: pytest.MonkeyPatch):
    def lost(*_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("flows.settings_table.settings_rows", lost)
    result = unetseg("settings", "--project", trained.folder)
    assert (result.exit_code, result.stderr) == (1, "error: [Errno 32] Broken pipe\n")


def test_what_must_go_on_loses_words_that_nobody_reads_and_nothing_else():
    code = "from flows.console import say_if_read; say_if_read('a'); say_if_read('b')"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-c", code + "; raise SystemExit(7)"]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (7, "")


def test_a_server_that_is_away_is_told_in_one_sentence_before_any_work(trained: Project):
    from deployments.server import address

    host = f"{address(0)}/api".removeprefix("http://")  # nobody listens there
    command = [sys.executable, "-m", "flows.cli", "train", "--project", str(trained.folder)]
    environment = {**os.environ, "PREFECT_API_URL": f"http://ann:secret@{host}", "PREFECT_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(f"error: PREFECT_API_URL=http://***@{host}: the server cannot be reached")
    assert "unset PREFECT_API_URL" in done.stderr
