"""What unetseg writes itself is no scan and no mask, wherever the project lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unetseg.config import PredictConfig
from unetseg.errors import UsageError
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.listing import image_files
from unetseg.places import PROJECT_FILE, PROJECT_PLACES
from unetseg.predict import predict
from unetseg.project import Project, load_project

SIDE = 32
TINY = ("model.width=2", "model.depth=2", "train.epochs=1", "train.steps_per_epoch=1", "train.batch=2")


def draw(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def draw_pairs(folder: Path, numbers: range) -> None:
    for number in numbers:
        noise = np.random.default_rng(number).integers(0, 200, (SIDE, SIDE), np.uint8)
        block = np.zeros((SIDE, SIDE), np.uint8)
        block[8:24, 8 : 20 + number % 4] = 255
        draw(folder / f"fish{number}.png", noise // 2 + block // 4)
        draw(folder / f"fish{number}_mask.png", block)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of eight scans, each beside its mask."""
    draw_pairs(tmp_path / "pairs", range(8))
    return tmp_path / "pairs"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


# --------------------------------------------------------------------------- listing


@pytest.mark.parametrize("project", ["", "deep/project/"])
def test_a_project_s_places_are_passed_over_wherever_it_lies(tmp_path: Path, project: str):
    places = [f"{project}{place}/x/y.png" for place in PROJECT_PLACES if place != PROJECT_FILE]
    touch(tmp_path, *places, f"{project}scans/a.png", f"{project}b.png", f"{project}{PROJECT_FILE}")
    assert image_files(tmp_path) == sorted([f"{project}scans/a.png", f"{project}b.png"])


@pytest.mark.parametrize("pattern", ["*.png", "models/*", "models/**/*", "*/*.png"])
def test_they_are_for_any_pattern(tmp_path: Path, pattern: str):
    touch(tmp_path, "models/a.png", "own/b.png", "c.png")
    every = image_files(tmp_path, pattern)
    touch(tmp_path, PROJECT_FILE)
    assert image_files(tmp_path, pattern) == [name for name in every if name != "models/a.png"]


def test_the_same_names_elsewhere_are_the_user_s(tmp_path: Path):
    names = ["models/a.png", "p/runs/a.png", "project/remodels/a.png", "project/sub/models/a.png"]
    touch(tmp_path, *names, f"project/{PROJECT_FILE}")
    assert image_files(tmp_path) == names
    assert image_files(tmp_path / "project/sub/models") == ["a.png"]


def test_of_a_folder_of_outputs_the_outputs_are_passed_over_and_nothing_else(tmp_path: Path):
    outputs = ["out/a.ome.zarr/zarr.json", "out/p/b.v2.objects.ome.tif"]
    own = ["out/c.png", "out/raw/a.tif", "a.ome.tif"]
    touch(tmp_path, *outputs, *own, "out/records/a.json", "out/records/p/b.v2.json")
    assert len(image_files(tmp_path)) == len(outputs) + len(own)  # anybody may have a folder called records
    touch(tmp_path, "out/.files.json")
    assert image_files(tmp_path) == sorted(own)
    assert image_files(tmp_path / "out") == ["a.ome.zarr", "c.png", "p/b.v2.objects.ome.tif", "raw/a.tif"]


# --------------------------------------------------------------------------- a project among its scans


def test_a_project_among_its_scans_takes_nothing_of_its_own(pairs: Path):
    init(pairs, pairs, project=pairs, overrides=TINY)
    project = load_project(pairs)
    first, again = ingest(project), ingest(project)
    assert (first.done, again.done, again.skipped, again.quarantined) == (8, 0, 8, ())
    draw(project.runs / "train-1/curves.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    draw(project.models / "0001/network.png", np.zeros((SIDE, SIDE), np.uint8))
    third = ingest(project)
    assert (third.done, third.skipped, third.quarantined, third.unlabelled) == (0, 8, (), ())
    assert third.fingerprint == first.fingerprint


def test_init_of_such_a_project_again_finds_what_it_found_before(pairs: Path):
    before = init(pairs, pairs, project=pairs)
    project = load_project(pairs)
    ingest(project)
    draw(project.runs / "train-1/curves.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    assert init(pairs, pairs, project=pairs, overwrite=True) == before
    assert init(pairs, None, project=pairs, overwrite=True).rows[0] == ("scans", "16")


@pytest.mark.parametrize("place", ["models", "dataset.zarr"])
def test_a_new_project_is_not_made_where_scans_are_in_its_places(pairs: Path, place: str):
    draw(pairs / place / "a.png", np.zeros((SIDE, SIDE), np.uint8))
    with pytest.raises(UsageError, match=rf"{place}: holds images, but in .*pairs unetseg keeps files of its own"):
        init(pairs, pairs, project=pairs)
    assert not (pairs / PROJECT_FILE).exists()


def test_beside_its_scans_a_project_may_be_made_whatever_is_there(pairs: Path, tmp_path: Path):
    draw(tmp_path / "models/a.png", np.zeros((SIDE, SIDE), np.uint8))
    init(pairs, pairs, project=tmp_path)
    assert ingest(load_project(tmp_path)).done == 8


@pytest.mark.parametrize("form", ["ome-zarr", "tiff"])
def test_outputs_among_the_scans_of_a_project_are_no_scans(trained: Project, tmp_path: Path, form: str):
    source, scans = Path(trained.sources.scans.path), tmp_path / "scans"
    for name in image_files(source)[:2]:
        (scans / "new").mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, scans / "new")
    before = image_files(scans)
    settings = PredictConfig(format=form, objects=True, probabilities=True)
    done = predict(scans / "new", scans / "out", bundle=trained.models / "0001", config=settings)
    assert (done.done, len(image_files(scans / "out"))) == (2, 6)
    assert image_files(scans) == before
