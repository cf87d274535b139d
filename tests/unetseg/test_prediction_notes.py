"""What a project remembers of its predictions."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from unetseg import prediction_notes
from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig
from unetseg.errors import UsageError
from unetseg.json_files import read_json, write_json
from unetseg.predict import predict
from unetseg.predict_job import make_job
from unetseg.prediction_notes import Notes, forget, read_notes, remember
from unetseg.project import Project
from unetseg.storage import text_hash


@pytest.fixture
def scans(some_scans: Callable[[int], Path]) -> Path:
    """Three scans."""
    return some_scans(3)


def run(project: Project, scans: Path, out: Path, **settings):
    config = PredictConfig(**settings)
    return predict(scans, out, bundle=project.models / "0001", config=config, project=project.folder)


def note(project: Project, scans: Path, out: Path) -> None:
    """As at the beginning of a prediction."""
    config = PredictConfig()
    remember(project.folder, scans, make_job(load_bundle(project.models / "0001"), out, config), config)


def test_a_prediction_is_remembered_with_model_settings_and_counts(trained: Project, scans: Path, tmp_path: Path):
    run(trained, scans, tmp_path / "out", format="tiff", workers=2)
    run(trained, scans, tmp_path / "out", format="tiff", workers=2)
    (found,) = read_notes(trained.folder).remembered
    assert (found.folder, found.out, found.model) == (str(scans), str(tmp_path / "out"), "0001")
    assert found.digest == load_bundle(trained.models / "0001").digest
    assert found.settings == PredictConfig(format="tiff", workers=2)
    assert found.counts == {"done": 0, "skipped": 3, "quarantined": 0, "failed": 0}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_project_that_may_only_be_read_predicts_all_the_same(
    number: int, trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    refused = [number]

    def refuse(path: Path, *_: object) -> None:
        raise OSError(refused[-1], os.strerror(refused[-1]), str(path))

    monkeypatch.setattr(prediction_notes, "write_json", refuse)
    assert run(trained, scans, tmp_path / "out").done == 3
    assert f"the project does not remember {tmp_path / 'out'}" in caplog.text
    refused.append(errno.ENOSPC)
    with pytest.raises(OSError, match="space"):
        run(trained, scans, tmp_path / "other")


def test_a_prediction_without_a_project_is_remembered_nowhere(trained: Project, scans: Path, tmp_path: Path):
    predict(scans, tmp_path / "out", bundle=trained.models / "0001", config=PredictConfig())
    assert read_notes(trained.folder).remembered == ()


def test_one_that_was_killed_is_remembered_without_counts(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unetseg.predict.segment_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        run(trained, scans, tmp_path / "out")
    assert [item.counts for item in read_notes(trained.folder).remembered] == [{}]


@pytest.mark.parametrize("place", ["folder", "store"])
def test_notes_are_kept_on_disks_and_in_object_stores(
    place: str, trained: Project, scans: Path, tmp_path: Path, request: pytest.FixtureRequest
):
    project = tmp_path / "project" if place == "folder" else request.getfixturevalue("bucket")
    for name in ("b", "a"):
        job = make_job(load_bundle(trained.models / "0001"), tmp_path / name, PredictConfig(tile=512))
        remember(project, scans, job, PredictConfig(tile=512), counts={"done": 3})
    assert [(item.out, item.settings.tile) for item in read_notes(project).remembered] == [
        (str(tmp_path / "a"), 512), (str(tmp_path / "b"), 512)
    ]  # fmt: skip
    forget(project, tmp_path / "a")
    assert [item.out for item in read_notes(project).remembered] == [str(tmp_path / "b")]
    with pytest.raises(UsageError, match=f"there are: {scans} -> {tmp_path / 'b'}"):
        forget(project, tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "words", "forgotten"),
    [
        pytest.param("{", "damaged, not valid JSON", True, id="no-json"),
        pytest.param("[]", "damaged, tells of no prediction", True, id="no-object"),
        pytest.param('{"schema_version": 1, "out": "x"}', "damaged, tells of no prediction", True, id="field-missing"),
        pytest.param('{"schema_version": 3}', "schema 3 is newer", False, id="newer"),
        pytest.param("", "cannot be read", False, id="no-file"),
    ],
)
def test_a_note_that_cannot_be_read_hides_no_other_and_is_told_with_a_way_out(
    content: str, words: str, forgotten: bool, trained: Project, scans: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    note(trained, scans, tmp_path / "out")
    path = trained.folder / "predictions" / "a.json"
    path.write_text(content) if content else path.mkdir()
    assert [item.out for item in read_notes(trained.folder).remembered] == [str(tmp_path / "out")]
    (left_out,) = read_notes(trained.folder).unreadable
    assert str(left_out) in caplog.text
    assert (left_out.path, words in left_out.reason) == (str(path), True)
    command = f"unetseg predictions forget {path} --project {trained.folder}"
    assert left_out.reason.endswith(command) == forgotten
    if forgotten:
        forget(trained.folder, path)
    else:
        with pytest.raises(UsageError, match="no prediction"):
            forget(trained.folder, path)
    assert path.exists() != forgotten
    assert [item.out for item in read_notes(trained.folder).remembered] == [str(tmp_path / "out")]


def test_a_damaged_note_hinders_no_other_and_one_of_version_1_goes_by_its_name(
    trained: Project, scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    project, model = tmp_path / "project", load_bundle(trained.models / "0001")
    old = {name: project / "predictions" / f"{text_hash(str(tmp_path / name))[:16]}.json" for name in ("a", "b")}
    other = project / "predictions" / "0123456789abcdef.json"
    for path in (*old.values(), other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    remember(project, scans, make_job(model, tmp_path / "a", PredictConfig()), PredictConfig())
    assert [path.exists() for path in (*old.values(), other)] == [False, True, True]
    assert f"{old['a']}: damaged" in caplog.text
    caplog.clear()
    forget(project, tmp_path / "a", folder=scans)
    with pytest.raises(UsageError, match="there are: none"):
        forget(project, tmp_path / "b", folder=scans)
    forget(project, tmp_path / "b")
    assert list((project / "predictions").iterdir()) == [other]
    assert f"{other}: damaged" in caplog.text


def test_notes_that_may_not_be_read_are_not_taken_for_none(tmp_path: Path, refuse: Callable[[Path], None]):
    (tmp_path / "predictions").mkdir()
    assert read_notes(tmp_path) == Notes((), ())
    refuse(tmp_path / "predictions")
    with pytest.raises(PermissionError):
        read_notes(tmp_path)


def test_all_of_a_folder_of_outputs_is_forgotten_or_what_one_folder_of_scans_gave(
    trained: Project, scans: Path, tmp_path: Path
):
    other = tmp_path / "other"
    for folder, out in ((scans, "a"), (other, "a"), (scans, "b")):
        note(trained, folder, tmp_path / out)
    forget(trained.folder, tmp_path / "b", folder=scans)
    forget(trained.folder, tmp_path / "a", folder=other)
    assert [(item.folder, item.out) for item in read_notes(trained.folder).remembered] == [
        (str(scans), str(tmp_path / "a"))
    ]
    note(trained, other, tmp_path / "a")
    forget(trained.folder, tmp_path / "a")
    assert read_notes(trained.folder).remembered == ()


def test_a_note_of_version_1_is_read_until_its_folder_is_predicted_again(trained: Project, scans: Path, tmp_path: Path):
    out, other = tmp_path / "out", tmp_path / "other"
    note(trained, scans, out)
    (path,) = (trained.folder / "predictions").glob("*.json")
    old = path.with_name(f"{text_hash(str(out))[:16]}.json")
    write_json(old, read_json(path) | {"schema_version": 1})
    path.unlink()
    note(trained, other, out)
    assert [item.folder for item in read_notes(trained.folder).remembered] == [str(scans), str(other)]
    note(trained, scans, out)
    assert sorted(item.folder for item in read_notes(trained.folder).remembered) == [str(other), str(scans)]
    assert not old.exists()
