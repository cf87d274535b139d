"""Guide masks flow through ingest, training, evaluation and prediction."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig
from unetseg.dataset import open_dataset
from unetseg.engines import open_engine
from unetseg.errors import UsageError
from unetseg.evaluate_on import evaluate_on
from unetseg.init import init
from unetseg.nightly import nightly
from unetseg.predict import predict
from unetseg.predict_estimate import estimate
from unetseg.project import load_project


@pytest.fixture(scope="module")
def guided(eyes: Path, tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guided")
    quick = (*tiny, "train.epochs=1", "train.steps_per_epoch=2")
    init(eyes / "scans", eyes / "masks", project=folder, guides=eyes / "guides", overrides=quick)
    nightly(load_project(folder))
    return folder


def test_the_dataset_holds_the_guides(guided: Path, eyes: Path):
    import tifffile

    dataset = open_dataset(load_project(guided).dataset)
    assert dataset.index.guides == ("eye_region", "reflections")
    scan = dataset.scans("train")[0]
    expected = [tifffile.imread(eyes / "guides" / name / f"{scan.id}.tif") > 0 for name in dataset.index.guides]
    assert np.array_equal(dataset.guides(scan), np.stack(expected, axis=-1))


def test_the_network_sees_the_guides(guided: Path):
    folder = load_project(guided).models / "0001"
    random = np.random.default_rng(0)
    image = random.random((1, 32, 32, 1), dtype=np.float32)
    for name in ("keras", "openvino"):
        engine = open_engine(folder, name)
        without, with_guides = (
            engine({"image": image, "guides": np.full((1, 32, 32, 2), value, np.float32)}) for value in (0, 1)
        )
        assert np.abs(without - with_guides).max() > 1e-4


def test_prediction_uses_the_guides_and_sets_scans_without_aside(guided: Path, eyes: Path, tmp_path: Path):
    project = load_project(guided)
    guides = tmp_path / "guides"
    shutil.copytree(eyes / "guides", guides)
    (guides / "reflections" / "s02_1.tif").unlink()
    config = PredictConfig(guides=str(guides))
    result = predict(eyes / "scans", tmp_path / "out", bundle=project.models / "0001", config=config)
    assert result.done == 15
    assert "s02_1" in result.quarantined[0].reason
    assert "reflections" in result.quarantined[0].reason


def test_prediction_without_the_guides_is_wrong_usage(guided: Path, eyes: Path, tmp_path: Path):
    bundle = load_project(guided).models / "0001"
    with pytest.raises(UsageError, match="eye_region, reflections"):
        predict(eyes / "scans", tmp_path / "out", bundle=bundle, config=PredictConfig())


@pytest.mark.parametrize("given", ["guides/eye_region", "nowhere"])
def test_a_folder_that_is_not_the_one_of_all_guides_is_told_of_before_any_scan(
    given: str, guided: Path, eyes: Path, tmp_path: Path
):
    bundle, config = load_project(guided).models / "0001", PredictConfig(guides=str(eyes / given))
    for run in (predict, estimate):
        with pytest.raises(UsageError, match=r"^predict\.guides: .* holds no folder eye_region, reflections; give the"):
            run(eyes / "scans", tmp_path / "out", bundle=bundle, config=config)
    assert not (tmp_path / "out").exists()


def test_other_scans_are_scored_with_guides_that_lie_as_those_of_predict(guided: Path, eyes: Path, tmp_path: Path):
    project = load_project(guided)
    test = [scan.id for scan in open_dataset(project.dataset).scans("test")]
    for part in ("scans", "masks/iris", "masks/pupil", "masks/sclera", "guides/eye_region", "guides/reflections"):
        (tmp_path / part).mkdir(parents=True)
        for name in test:
            shutil.copy(eyes / part / f"{name}.tif", tmp_path / part)
    folders = [tmp_path / part for part in ("scans", "masks")]
    found = evaluate_on(project, *folders, guides=tmp_path / "guides", model="0001")
    assert found.scores == load_bundle(project.models / "0001").evaluation["scores"]


def test_scans_without_a_guide_are_quarantined_by_ingest(guided: Path, eyes: Path, tmp_path: Path):
    from unetseg.ingest import ingest

    guides = tmp_path / "guides"
    shutil.copytree(eyes / "guides", guides)
    (guides / "eye_region" / "s01_1.tif").unlink()
    project = load_project(guided)
    moved = tuple(replace(guide, path=str(guides / guide.name)) for guide in project.sources.guides)
    result = ingest(replace(project, folder=tmp_path / "p", sources=replace(project.sources, guides=moved)))
    assert [Path(item.path).name for item in result.quarantined] == ["s01_1.tif"]
    assert result.quarantined[0].reason.startswith("scan s01_1: no guide eye_region: looked for ")


def test_the_bundle_names_its_guides(guided: Path):
    assert load_bundle(load_project(guided).models / "0001").info.guides == ("eye_region", "reflections")


def test_a_corrected_guide_is_predicted_again(guided: Path, eyes: Path, tmp_path: Path):
    import tifffile

    guides = tmp_path / "guides"
    shutil.copytree(eyes / "guides", guides)
    config = PredictConfig(guides=str(guides))

    def run() -> int:
        return predict(eyes / "scans", tmp_path / "o", bundle=load_project(guided).models / "0001", config=config).done

    assert run() == 16
    place = guides / "eye_region" / "s01_1.tif"
    tifffile.imwrite(place, 255 - tifffile.imread(place))
    assert run() == 1
