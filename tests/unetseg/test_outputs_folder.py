"""Where outputs may go, and where they would be among files that are not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from unetseg.config import ClassSource, GuideSource, PredictConfig, ScanSource, Settings, Sources
from unetseg.errors import UsageError
from unetseg.nightly import nightly
from unetseg.outputs_folder import check_outputs_folder
from unetseg.places import OUTPUTS_BEGUN, OUTPUTS_COUNTED, PROJECT_FILE
from unetseg.predict import predict
from unetseg.predict_estimate import estimate
from unetseg.project import Project, override


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "eyes").mkdir()
    (tmp_path / "eyes" / PROJECT_FILE).touch()
    return tmp_path / "eyes"


@pytest.mark.parametrize(
    "inside", [".", "dataset.zarr", "models", "models/0001", "models/new/out", "runs", "predictions", "a/../models"]
)
def test_no_outputs_go_among_the_files_of_a_project(project: Path, inside: str):
    with pytest.raises(UsageError, match=rf"unetseg keeps files of the project there; use for example {project}/seg"):
        check_outputs_folder(project / inside, project / "scans")


@pytest.mark.parametrize(
    "inside", ["segmented", "segmented/models", "remodels", "scans2", "../models", "../scans/runs"]
)
def test_any_other_folder_may_have_them(project: Path, inside: str):
    check_outputs_folder(project / inside, project / "scans")


@pytest.mark.parametrize(("name", "what"), [("bundle.json", "a model"), ("zarr.json", "a dataset")])
def test_a_model_or_dataset_that_is_in_no_project_is_known_by_what_it_holds(tmp_path: Path, name: str, what: str):
    check_outputs_folder(tmp_path / "models", tmp_path / "scans")
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match=f"and this is {what}"):
        check_outputs_folder(tmp_path, tmp_path / "scans")


@pytest.mark.parametrize(
    ("masks", "pattern", "out", "what"),
    [
        ("masks", "{id}.*", "masks", "masks of iris"),
        ("masks", "{id}.*", "masks/p1", "masks of iris"),
        ("scans", "{id}_mask.*", "scans", "scans"),
        ("scans", "masks/{id}.*", "scans/masks", "masks of iris"),
        (".", "labels/{name}.*", "labels", "masks of iris"),
        ("scans", "{folder}masks/{name}.*", "scans/p1/masks", "masks of iris"),
        ("scans", "{id}_mask.*", "scans/segmented", ""),
        (".", "labels/{name}.*", "segmented", ""),
        ("masks", "{id}.*", "masks2", ""),
    ],
)
def test_outputs_do_not_go_where_the_project_looks_for_masks(
    tmp_path: Path, masks: str, pattern: str, out: str, what: str
):
    """Else its next ingest would learn from them."""
    sources = Sources(
        ScanSource(str(tmp_path / "scans")),
        (ClassSource("iris", str(tmp_path / masks), pattern=pattern),),
        (GuideSource("rough", str(tmp_path / "guides")),),
    )
    project = Project(tmp_path / "eyes", sources, Settings())
    new = tmp_path / "new"
    if what:
        with pytest.raises(
            UsageError, match=f"the project looks for {what} there; use for example {tmp_path}/eyes/seg"
        ):
            check_outputs_folder(tmp_path / out, new, project)
    else:
        check_outputs_folder(tmp_path / out, new, project)
    with pytest.raises(UsageError, match="the project looks for guides of rough there"):
        check_outputs_folder(tmp_path / "guides", new, project)
    check_outputs_folder(tmp_path / out, new)  # a bundle belongs to no project


def test_outputs_need_a_folder_and_not_a_file(tmp_path: Path):
    (tmp_path / "todo.txt").touch()
    with pytest.raises(UsageError, match=r"todo\.txt: the outputs need a folder, and this is a file"):
        check_outputs_folder(tmp_path / "todo.txt", tmp_path / "scans")


@pytest.mark.parametrize("marker", [OUTPUTS_COUNTED, OUTPUTS_BEGUN])
def test_swapped_folders_are_told_of(tmp_path: Path, marker: str):
    for name in ("scans/a.png", f"outputs/{marker}", f"more/{marker}"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    check_outputs_folder(tmp_path / "outputs", tmp_path / "scans")
    with pytest.raises(UsageError, match=rf"{tmp_path}/outputs: .* are the two folders swapped\?"):
        check_outputs_folder(tmp_path / "scans", tmp_path / "outputs")
    for other in ("new", "more"):  # outputs may be segmented as well, where no files of others are in the way
        check_outputs_folder(tmp_path / other, tmp_path / "outputs")


def test_predict_and_its_dry_run_refuse_them_and_write_nothing(trained: Project):
    scans, model = Path(trained.sources.scans.path), {"bundle": trained.models / "0001", "config": PredictConfig()}
    before = sorted(trained.folder.rglob("*"))
    for out in (trained.folder, trained.dataset, trained.models):
        for run in (predict, estimate):
            with pytest.raises(UsageError, match=f"use for example {trained.folder}/segmented"):
                run(scans, out, **model)
    assert sorted(trained.folder.rglob("*")) == before


@pytest.mark.parametrize("out", ["models", ".", "incoming/out"])
def test_a_night_refuses_them_before_it_does_anything(trained: Project, out: str):
    texts = ("nightly.predict_folder=incoming", f"nightly.predict_out={out}", "train.epochs=2")
    project = Project(trained.folder, trained.sources, override(trained.settings, texts))
    with pytest.raises(UsageError, match="need a folder of their own"):
        nightly(project)
    assert [path.name for path in trained.models.glob("0*")] == ["0001"]
