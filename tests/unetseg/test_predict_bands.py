"""Large scans, segmented in bands, give what they give in one piece."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from unetseg import predict_bands, scan_rows, zarr_arrays
from unetseg.config import PredictConfig
from unetseg.json_files import read_json
from unetseg.outputs import FORMATS, MASKS, OBJECTS, PROBABILITIES, Kind
from unetseg.predict import PredictResult, predict
from unetseg.project import Project, load_project
from unetseg.registry import model_folder

ALL = PredictConfig(probabilities=True, objects=True, min_object=20, fill_holes=30)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one scan of three bands, with spots of all sizes; in strips of 64 rows."""
    folder = tmp_path_factory.mktemp("large")
    random = np.random.default_rng(3)
    pixels = ndimage.gaussian_filter(random.random((1230, 97)), 3)
    pixels += 0.3 * ndimage.gaussian_filter(random.random((1230, 97)), 1)
    shown = np.uint8(255 * (pixels - pixels.min()) / np.ptp(pixels))
    tifffile.imwrite(folder / "slide.tif", shown, rowsperstrip=64, compression="zlib")
    return folder


@pytest.fixture
def in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_rows, "_WHOLE", 0.0)
    monkeypatch.setattr(scan_rows, "_BAND", 97 * 100)


def run(project: Project, scans: Path, out: Path, config: PredictConfig = ALL, **more: Any) -> PredictResult:
    config = replace(config, tile=512, workers=2)
    return predict(scans, out, bundle=model_folder(project.models, "latest"), config=config, **more)


def planes(out: Path, form: str, kind: Kind = MASKS) -> np.ndarray:
    middle = "" if kind is MASKS else f".{kind.name}"
    return FORMATS[form].read(out / f"slide{middle}{FORMATS[form].suffix}", kind=kind)


@pytest.fixture(scope="module")
def whole(trained_folder: Path, large: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    run(load_project(trained_folder), large, out)
    return out


def test_the_scan_says_something_about_bands(whole: Path):
    masks = planes(whole, "ome-zarr")
    assert masks.shape[1:] == (1230, 97)
    assert (masks[:, 511] & masks[:, 512]).any()  # an object across a border
    assert 0 < masks.mean() < 1


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.usefixtures("in_bands")
def test_bands_give_the_same_outputs_and_the_same_table(
    trained: Project, large: Path, whole: Path, tmp_path: Path, form: str
):
    run(trained, large, tmp_path, replace(ALL, format=form))
    for kind in (MASKS, OBJECTS, PROBABILITIES):
        np.testing.assert_array_equal(planes(tmp_path, form, kind), planes(whole, "ome-zarr", kind))
    assert (tmp_path / "table.csv").read_text() == (whole / "table.csv").read_text()
    assert not list((tmp_path / ".unfinished").iterdir())


@pytest.mark.usefixtures("in_bands")
def test_bands_without_filters_are_what_the_network_marks(trained: Project, large: Path, tmp_path: Path):
    run(trained, large, tmp_path / "bands", PredictConfig())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_rows, "_WHOLE", 1e9)
        run(trained, large, tmp_path / "whole", PredictConfig())
    np.testing.assert_array_equal(planes(tmp_path / "bands", "ome-zarr"), planes(tmp_path / "whole", "ome-zarr"))
    assert (tmp_path / "bands/table.csv").read_text() == (tmp_path / "whole/table.csv").read_text()


@pytest.mark.usefixtures("in_bands")
def test_strips_of_columns_give_the_same_outputs_and_the_same_table(
    trained: Project, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A wide scan of two bands, in files of 512 columns: three strips."""
    scans = tmp_path / "scans"
    scans.mkdir()
    pixels = tifffile.imread(large / "slide.tif")
    tifffile.imwrite(scans / "slide.tif", np.hstack([pixels[:700]] * 13)[:, :1230], rowsperstrip=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_rows, "_WHOLE", 1e9)
        run(trained, scans, tmp_path / "whole")
    monkeypatch.setattr(zarr_arrays, "_SHARD_CHUNKS", 1)
    run(trained, scans, tmp_path / "strips")
    for kind in (MASKS, OBJECTS, PROBABILITIES):
        found, expected = (planes(tmp_path / name, "ome-zarr", kind) for name in ("strips", "whole"))
        np.testing.assert_array_equal(found, expected)
        assert (found[:, :, 511] & found[:, :, 512]).any()  # something across a border
    assert (tmp_path / "strips/table.csv").read_text() == (tmp_path / "whole/table.csv").read_text()


@pytest.mark.usefixtures("in_bands")
def test_what_a_killed_run_has_done_is_not_done_again(
    trained: Project, large: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, seen = predict_bands._segment_band, []

    def counted(job: Any, scan: Any, kinds: Any, span: Any) -> None:
        if len(seen) == 2:
            raise OSError(28, "No space left on device")
        seen.append(span.inner)
        real(job, scan, kinds, span)

    monkeypatch.setattr(predict_bands, "_segment_band", counted)
    with pytest.raises(OSError, match="No space"):
        predict(
            large, tmp_path, bundle=model_folder(trained.models, "latest"), config=replace(ALL, tile=512, workers=1)
        )
    assert not (tmp_path / "records/slide.json").exists()
    assert not (tmp_path / "slide.ome.zarr").exists()
    seen_before, again = list(seen), []
    monkeypatch.setattr(predict_bands, "_segment_band", lambda *given: (again.append(given[-1].inner), real(*given)))
    run(trained, large, tmp_path)
    assert sorted(seen_before + again) == [(0, 512), (512, 1024), (1024, 1230)]
    np.testing.assert_array_equal(planes(tmp_path, "ome-zarr"), planes(whole, "ome-zarr"))
    assert run(trained, large, tmp_path).skipped == 1


@pytest.mark.usefixtures("in_bands")
def test_a_scan_that_breaks_in_the_middle_is_set_aside(trained: Project, large: Path, tmp_path: Path):
    scans = tmp_path / "scans"
    scans.mkdir()
    data = bytearray((large / "slide.tif").read_bytes())
    with tifffile.TiffFile(large / "slide.tif") as file:
        offset, size = file.pages[0].dataoffsets[12], file.pages[0].databytecounts[12]
    data[offset : offset + size] = bytes(size)
    (scans / "broken.tif").write_bytes(data)
    (scans / "slide.tif").write_bytes((large / "slide.tif").read_bytes())
    result = run(trained, scans, tmp_path / "out")
    assert (result.done, [Path(item.path).name for item in result.quarantined]) == (1, ["broken.tif"])
    assert read_json(tmp_path / "out/run.json")["schema_version"] == 3


@pytest.mark.usefixtures("in_bands")
def test_a_worker_that_a_killed_command_left_behind_writes_into_no_other_run(
    trained: Project, large: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, units = predict_bands._segment_band, []

    def killed(*unit: Any) -> None:
        if len(units) == 1:
            raise OSError(28, "No space left on device")
        units.append(unit)
        real(*unit)

    def late(*unit: Any) -> None:
        real(*unit)
        with suppress(ValueError):  # of TensorStore: its folder is gone
            real(*units[0])

    monkeypatch.setattr(predict_bands, "_segment_band", killed)
    with pytest.raises(OSError, match="No space"):  # flips change what is found
        run(trained, large, tmp_path, replace(ALL, flips="both"))
    monkeypatch.setattr(predict_bands, "_segment_band", late)
    run(trained, large, tmp_path)
    for kind in (MASKS, OBJECTS, PROBABILITIES):
        np.testing.assert_array_equal(planes(tmp_path, "ome-zarr", kind), planes(whole, "ome-zarr", kind))
    assert run(trained, large, tmp_path).skipped == 1
    assert not list((tmp_path / ".unfinished").iterdir())
