"""The commands below `unetseg models`, on bundles whose networks are never opened."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.answers import say_evaluation
from flows.cli import main
from flows.console import Console
from unetseg.bundle import BundleInfo, versions
from unetseg.config import CardConfig, ScanSource, Settings, Sources, to_plain
from unetseg.json_files import read_json
from unetseg.project import Project, save_project
from unetseg.records import write_record
from unetseg.registry import promote
from unetseg.storage import file_hash, remove, write_bytes

CARD = CardConfig(licence="CC-BY-4.0", intended_use="Slit lamp pictures of adults.", authors="Ada")
INFO = BundleInfo(
    classes=("iris", "pupil"),
    guides=(),
    channels=("grey",),
    settings=Settings(card=CARD),
    pixel_size=None,
    dataset_fingerprint="d",
    training_fingerprint="t",
    validation_score=0.5,
    software={},
    created="2030-01-02T03:04:05+00:00",
)


@pytest.fixture(params=["folder", "store"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Three versions on a disk and in an object store; 0002 is production, which 0001 was."""
    folder = tmp_path if request.param == "folder" else request.getfixturevalue("bucket")
    project = Project(folder, Sources(scans=ScanSource(path="scans")), Settings())
    save_project(project)
    for number in (1, 2, 3):
        make_bundle(project.models / f"{number:04d}", replace(INFO, validation_score=number / 10))
    promote(project.models, "1", why="first")
    promote(project.models, "2", why="better")
    return project


def make_bundle(folder: Path, info: BundleInfo) -> None:
    write_bytes(folder / "model.keras", b"network")
    files = {"model.keras": file_hash(folder / "model.keras")}
    write_record(folder / "bundle.json", {"schema_version": 3, **to_plain(info), "files": files})
    thresholds = {name: {"value": value} for name, value in (("iris", 0.25), ("pupil", 0.75))}
    record = {"schema_version": 2, "thresholds": thresholds, "scores": {"macro": {"f1": 0.625}}}
    write_record(folder / "evaluation" / "evaluation.json", record)


def unetseg(project: Project, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments, "--project", str(project.folder)])


def answer(result: Result) -> dict[str, Any]:
    """The one JSON value on standard output."""
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1, result.stdout
    return json.loads(result.stdout)


def test_show_tells_status_licence_use_thresholds_and_digest(project: Project):
    text = unetseg(project, "show").stdout
    plain = answer(unetseg(project, "show", "--json"))
    for part in ("0002", "production", "CC-BY-4.0", "Slit lamp pictures of adults.", "Ada", plain["digest"]):
        assert part in text
    assert "iris 0.250, pupil 0.750" in text
    assert "not stated (card.limitations)" in text
    assert "each class above its threshold" in text
    assert (plain["alias"], plain["info"]["settings"]["card"]["licence"]) == ("production", "CC-BY-4.0")
    assert "neither production nor previous" in unetseg(project, "show", "3").stdout


def test_list_shows_a_damaged_version_among_the_others(project: Project):
    write_bytes(project.models / "0003" / "bundle.json", b"{")
    result = unetseg(project, "list")
    assert result.exit_code == 0
    assert "0003 is damaged: " in result.stdout
    rows = answer(unetseg(project, "list", "--json"))["models"]
    assert [(row["version"], row["alias"], row["validation_score"]) for row in rows] == [
        ("0001", "previous", 0.1),
        ("0002", "production", 0.2),
        ("0003", "", None),
    ]
    assert [bool(row["damaged"]) for row in rows] == [False, False, True]


def test_history_tells_who_did_what(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNETSEG_WHO", "ada@lab")
    unetseg(project, "promote", "3", "--why", "best")
    unetseg(project, "rollback", "--why", "too eager")
    lines = answer(unetseg(project, "history", "--json"))["history"]
    assert [(line["production"], line["why"]) for line in lines] == [
        ("0001", "first"),
        ("0002", "better"),
        ("0003", "best"),
        ("0002", "too eager"),
    ]
    assert [line["who"] for line in lines[2:]] == ["ada@lab", "ada@lab"]
    assert all(part in unetseg(project, "history").stdout for part in ("ada@lab", "too eager", lines[3]["time"]))


def test_a_rollback_of_a_version_that_is_no_longer_production_changes_nothing(project: Project):
    assert answer(unetseg(project, "rollback", "--of", "2", "--json"))["production"] == "0001"
    assert answer(unetseg(project, "rollback", "--of", "2", "--json"))["production"] == "0001"
    assert unetseg(project, "rollback", "--of", "3").exit_code == 2


def test_clean_removes_what_its_dry_run_told(project: Project):
    promote(project.models, "3", why="best")
    would = unetseg(project, "clean", "--keep", "1", "--dry-run")
    assert would.stdout == "would remove: 0001\n"
    assert versions(project.models) == ["0001", "0002", "0003"]
    assert answer(unetseg(project, "clean", "--keep", "1", "--json")) == {"removed": ["0001"], "dry_run": False}
    assert versions(project.models) == ["0002", "0003"]
    assert unetseg(project, "clean", "--keep", "1").stdout == "removed: none\n"
    assert answer(unetseg(project, "history", "--json"))["history"][-1]["removed"] == ["0001"]


@pytest.mark.parametrize("arguments", [["clean"], ["clean", "--keep", "0"]])
def test_how_many_stay_must_be_said(project: Project, arguments: list[str]):
    result = unetseg(project, *arguments)
    assert result.exit_code == 2
    assert "keep" in result.stderr
    assert versions(project.models) == ["0001", "0002", "0003"]


def test_thresholds_are_not_shown_where_the_most_probable_class_wins(tmp_path: Path):
    exclusive = Settings(model=replace(Settings().model, head="softmax"))
    folder = tmp_path / "models" / "0001"
    make_bundle(folder, replace(INFO, settings=exclusive))
    project = Project(tmp_path, Sources(scans=ScanSource(path="scans")), Settings())
    save_project(project)
    path = folder / "evaluation" / "evaluation.json"
    write_record(path, read_json(path) | {"decision": "argmax"})
    text = unetseg(project, "show", "1").stdout
    assert "its most probable class" in text
    assert "0.250" not in text
    remove(folder / "evaluation")
    assert "its most probable class (not evaluated yet)" in unetseg(project, "show", "1").stdout


@pytest.mark.parametrize("decision", ["thresholds", "argmax"])
def test_an_evaluation_is_told_with_its_thresholds_where_it_has_some(decision: str, capsys: pytest.CaptureFixture[str]):
    thresholds = {"iris": {"value": 0.25, "reason": "highest F1: 0.9"}}
    result = SimpleNamespace(version="0001", scores={}, thresholds=thresholds, decision=decision, report="report.html")
    say_evaluation(Console(as_json=False), result)
    told = capsys.readouterr().out
    assert ("iris: threshold 0.2500, highest F1: 0.9" in told) == (decision == "thresholds")
    assert ("each pixel is the most probable" in told) == (decision == "argmax")
