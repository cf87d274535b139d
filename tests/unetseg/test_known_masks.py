"""Which files of a folder a project knows as masks; predictions, and all that look at them, pass these over."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from unetseg.config import ClassSource, GuideSource, PredictConfig, ScanSource, Sources
from unetseg.errors import NoScansError
from unetseg.known_masks import known_masks
from unetseg.listing import image_files
from unetseg.predict import predict
from unetseg.predict_estimate import estimate
from unetseg.predictions_redo import list_predictions, redo
from unetseg.project import Project, load_project, save_project


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def known(folder: Path, sources: Sources) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in known_masks(ScanSource(str(folder)), sources))


def sources(scans: Path, masks: Path, pattern: str = "{id}.*", *, exclude: str = "", guides: str = "") -> Sources:
    given = (GuideSource("region", guides),) if guides else ()
    return Sources(ScanSource(str(scans), exclude=exclude), (ClassSource("iris", str(masks), pattern),), given)


def test_all_below_folders_of_masks_and_guides_are_known(tmp_path: Path):
    touch(tmp_path, "scans/a.png", "masks/a.png", "masks/gone.png", "guides/a.tif", "masks2/a.png", "b.png")
    project = sources(tmp_path / "scans", tmp_path / "masks", guides=str(tmp_path / "guides"))
    assert known(tmp_path, project) == ["guides/a.tif", "masks/a.png", "masks/gone.png"]
    assert known(tmp_path / "masks", project) == ["a.png", "gone.png"]
    assert known(tmp_path / "scans", project) == known(tmp_path / "masks2", project) == []


def test_masks_among_scans_are_those_that_go_with_one(tmp_path: Path):
    names = ["a.png", "a_mask.png", "p/b.tif", "p/b_mask.tif", "test_c.png", "test_c_mask.png", "our_mask.png"]
    touch(tmp_path / "own", *names)
    touch(tmp_path / "new", *names)
    project = sources(tmp_path / "own", tmp_path / "own", "{id}_mask.*", exclude="test_*")
    masks = ["a_mask.png", "p/b_mask.tif", "test_c_mask.png"]  # what was left out of training may be segmented
    assert known(tmp_path / "own", project) == known(tmp_path / "new", project) == masks
    assert known(tmp_path / "own/p", project) == ["b_mask.tif"]
    assert known(tmp_path, project) == [f"{folder}/{mask}" for folder in ("new", "own") for mask in masks]


def test_several_files_of_a_scan_are_known(tmp_path: Path):
    touch(tmp_path, "p1/images/7.png", "p1/masks/1.png", "p1/masks/2.png", "p2/images/8.png")
    project = sources(tmp_path, tmp_path, "{folder:images=masks}*.*")
    objects = replace(project, classes=(replace(project.classes[0], encoding="objects"),))
    assert known(tmp_path, objects) == ["p1/masks/1.png", "p1/masks/2.png"]
    assert known(tmp_path / "p1", objects) == ["masks/1.png", "masks/2.png"]


def test_masks_around_the_scans_are_known_by_their_pairs(tmp_path: Path):
    touch(tmp_path, "raw/a.png", "raw/new.png", "a_mask.png", "other.png")
    assert known(tmp_path, sources(tmp_path / "raw", tmp_path, "{name}_mask.*")) == ["a_mask.png"]


def test_a_list_and_a_single_file_say_themselves_what_is_a_scan(tmp_path: Path):
    touch(tmp_path, "masks/a.png")
    (tmp_path / "list.txt").write_text("masks/a.png")
    project = sources(tmp_path / "scans", tmp_path / "masks")
    assert known(tmp_path, project) == ["masks/a.png"]
    for source in ("list.txt", "masks/a.png"):
        assert not known_masks(ScanSource(str(tmp_path / source)), project)


# --------------------------------------------------------------------------- predictions


@pytest.fixture
def mixed(trained: Project, tmp_path: Path) -> Project:
    """A trained project two of whose scans lie beside masks of a new layout, in one folder."""
    scans, folder = Path(trained.sources.scans.path), tmp_path / "mixed"
    folder.mkdir()
    for name in image_files(scans)[:2]:
        for ending in ("", "_iris"):
            shutil.copy(scans / name, folder / f"{Path(name).stem}{ending}{Path(name).suffix}")
    classes = (ClassSource("iris", str(folder), "{id}_iris.*"),)
    save_project(replace(trained, sources=Sources(replace(trained.sources.scans, path=str(folder)), classes)))
    return load_project(trained.folder)


def test_all_that_look_at_a_prediction_pass_over_the_same_files(
    mixed: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder, out = Path(mixed.sources.scans.path), tmp_path / "out"
    model = {"bundle": mixed.models / "0001", "config": PredictConfig()}
    assert estimate(folder, out, **model, project=mixed.folder).scans == 2
    with caplog.at_level(logging.INFO):
        assert predict(folder, out, **model, project=mixed.folder).done == 2
    assert f"{folder}: 2 files left out, which the project knows as masks or guides" in caplog.messages
    assert not list(out.glob("*_iris*"))
    (found,) = list_predictions(mixed)
    assert (found.models, found.missing, found.gone) == ({"0001": 2}, 0, 0)
    (again,) = redo(mixed, model="0001")
    assert (again.result.done, again.result.skipped) == (0, 2)


def test_without_a_project_every_image_is_a_scan(mixed: Project, tmp_path: Path):
    folder, model = mixed.sources.scans.path, {"bundle": mixed.models / "0001", "config": PredictConfig()}
    assert estimate(Path(folder), tmp_path / "out", **model).scans == 4


def test_a_folder_of_masks_alone_holds_no_scans_and_that_is_said(mixed: Project, tmp_path: Path):
    folder, model = Path(mixed.sources.scans.path), {"bundle": mixed.models / "0001", "config": PredictConfig()}
    (tmp_path / "masks").mkdir()
    for mask in folder.glob("*_iris.*"):
        mask.rename(tmp_path / "masks" / mask.name)
    apart = replace(mixed.sources.classes[0], path=str(tmp_path / "masks"))
    save_project(replace(mixed, sources=replace(mixed.sources, classes=(apart,))))
    with pytest.raises(NoScansError, match=r"no scans found; .* but not 2 files known as masks or guides"):
        predict(tmp_path / "masks", tmp_path / "out", **model, project=mixed.folder)
