"""What killed runs left without a commit marker goes with the next run of other names, and nothing else does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from unetseg.config import PredictConfig
from unetseg.json_files import write_json
from unetseg.predict_begun import begin_outputs, end_outputs
from unetseg.predict_open import Prediction, open_prediction
from unetseg.project import Project

NEW = PredictConfig(engine="keras", tile=512)
KILLED = PredictConfig(engine="keras", tile=512, format="tiff", objects=True)
LEFT = ("s.ome.tif", "s.objects.ome.tif")


@pytest.fixture
def scans(tmp_path: Path, eyes: Path) -> Path:
    """A folder with the scan ``s``."""
    (tmp_path / "scans").mkdir()
    shutil.copy(min((eyes / "scans").glob("*.tif")), tmp_path / "scans" / "s.tif")
    return tmp_path / "scans"


@pytest.fixture(params=["folder", "store"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Folder of the outputs."""
    found: Path = tmp_path / "out" if request.param == "folder" else request.getfixturevalue("bucket") / "out"
    return found


def opened(project: Project, scans: Path, out: Path, config: PredictConfig) -> Prediction:
    return open_prediction(scans, out, bundle=project.models / "0001", config=config)


def put(out: Path, names: Iterable[str], *, age: float = 0.0) -> None:
    """Files, or folders of a file where a name is one of OME-Zarr, changed so many seconds ago."""
    for name in names:
        inside = out / name / "zarr.json" if name.endswith(".zarr") else out / name
        write_json(inside, {})
        for path in {inside, out / name} if age else ():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))


def there(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} - {".begun.json", "records"}


@pytest.mark.parametrize(("before", "after"), [(KILLED, NEW), (NEW, KILLED)], ids=["tiff", "zarr"])
def test_outputs_of_a_killed_run_that_have_no_marker_go(
    before: PredictConfig, after: PredictConfig, trained: Project, scans: Path, out: Path
):
    begin_outputs(opened(trained, scans, out, before))
    put(out, ["s.ome.tif", "s.ome.zarr", "other.ome.tif", "other.ome.zarr"])
    begin_outputs(opened(trained, scans, out, after))
    own = "s.ome.zarr" if after is NEW else "s.ome.tif"  # made again, in its place
    assert there(out) == {own, "other.ome.tif", "other.ome.zarr"}


def test_what_is_older_than_the_killed_run_stays(trained: Project, scans: Path, tmp_path: Path):
    begin_outputs(opened(trained, scans, tmp_path / "out", KILLED))
    put(tmp_path / "out", LEFT[:1], age=3600)
    put(tmp_path / "out", LEFT[1:])
    begin_outputs(opened(trained, scans, tmp_path / "out", NEW))
    assert there(tmp_path / "out") == {"s.ome.tif"}


def test_what_a_run_that_ended_made_stays_without_its_markers_too(trained: Project, scans: Path, tmp_path: Path):
    ended = opened(trained, scans, tmp_path / "out", KILLED)
    begin_outputs(ended)
    put(tmp_path / "out", LEFT)
    end_outputs(ended)
    begin_outputs(opened(trained, scans, tmp_path / "out", NEW))
    assert there(tmp_path / "out") == set(LEFT)


@pytest.mark.parametrize(
    ("marked", "stays"), [("s", set(LEFT)), ("s.objects", {"s.objects.ome.tif"})], ids=["same", "other-id"]
)
def test_what_a_marker_may_tell_of_stays(marked: str, stays: set[str], trained: Project, scans: Path, tmp_path: Path):
    begin_outputs(opened(trained, scans, tmp_path / "out", KILLED))
    put(tmp_path / "out", LEFT)
    write_json(tmp_path / "out" / "records" / f"{marked}.json", {})
    begin_outputs(opened(trained, scans, tmp_path / "out", NEW))
    assert there(tmp_path / "out") == stays


def test_kills_are_remembered_until_the_same_scans_are_done_whatever_ran_meanwhile(
    trained: Project, scans: Path, tmp_path: Path
):
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(scans, other)
    (other / "s.tif").rename(other / "t.tif")
    begin_outputs(opened(trained, scans, out, KILLED))
    put(out, LEFT)
    begun = (out / ".begun.json").read_bytes()
    meanwhile = opened(trained, other, out, NEW)
    begin_outputs(meanwhile)
    end_outputs(meanwhile)
    assert (there(out), (out / ".begun.json").read_bytes()) == (set(LEFT), begun)
    begin_outputs(opened(trained, scans, out, PredictConfig(format="tiff")))  # killed as well
    assert there(out) == {"s.ome.tif"}
    last = opened(trained, scans, out, NEW)
    begin_outputs(last)
    end_outputs(last)
    assert (there(out), (out / ".begun.json").exists()) == (set(), False)
