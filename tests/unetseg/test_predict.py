"""Bulk prediction with the tiny model."""

from __future__ import annotations

import csv
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from skimage.measure import label
from skimage.morphology import remove_small_holes, remove_small_objects

from unetseg import engine_choice
from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig
from unetseg.engines import open_engine
from unetseg.errors import BundleError, DataError, UsageError
from unetseg.inference import predict_tiles
from unetseg.json_files import read_json
from unetseg.normalise import fit_scales, normalise
from unetseg.outputs import FORMATS
from unetseg.predict import predict
from unetseg.predict_estimate import estimate
from unetseg.predict_job import LEAVES_OUTPUTS, make_job
from unetseg.project import Project
from unetseg.records import write_record


@pytest.fixture
def scans(tmp_path: Path, eyes: Path) -> Path:
    """A folder with a sub-folder: three scans, one of an odd size."""
    folder = tmp_path / "scans"
    (folder / "left").mkdir(parents=True)
    for number, source in enumerate(sorted((eyes / "scans").glob("*.tif"))[:3]):
        pixels = tifffile.imread(source)
        place = folder / "left" / source.name if number == 2 else folder / source.name
        tifffile.imwrite(place, pixels[: 80 - 7 * number, : 112 - 5 * number])
    return folder


def run(project: Project, scans: Path, out: Path, **settings):
    return predict(scans, out, bundle=project.models / "0001", config=PredictConfig(**settings))


def contents(out: Path) -> dict[str, bytes]:
    """Every output but the records of when and how long."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in {"run.json", ".lock"}]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_outputs_have_the_size_of_their_scans_and_keep_names_and_folders(
    form: str, trained: Project, scans: Path, tmp_path: Path
):
    result = run(trained, scans, tmp_path / "out", format=form)
    assert (result.done, result.skipped, result.quarantined) == (3, 0, ())
    for scan in scans.rglob("*.tif"):
        place = tmp_path / "out" / scan.relative_to(scans).with_suffix("")
        masks = FORMATS[form].read(place.with_name(place.name + FORMATS[form].suffix))
        assert masks.shape == (3, *tifffile.imread(scan).shape)
        assert set(np.unique(masks)) <= {0, 1}


def test_masks_are_the_network_s_probabilities_cut_at_the_thresholds(trained: Project, scans: Path, tmp_path: Path):
    run(trained, scans, tmp_path / "out", engine="keras", probabilities=True)
    bundle = load_bundle(trained.models / "0001")
    pixels = tifffile.imread(next(scans.glob("s01_1.tif")))[..., None]
    image = normalise(pixels, fit_scales(pixels, bundle.info.settings.ingest))
    expected = open_engine(bundle.folder, "keras")({"image": image[None]})[0]
    found = zarr.open_array(tmp_path / "out" / "s01_1.ome.zarr" / "0", mode="r")[...]
    assert np.array_equal(np.moveaxis(found, 0, -1), expected >= bundle.thresholds)
    stored = zarr.open_array(tmp_path / "out" / "s01_1.probabilities.ome.zarr" / "0", mode="r")[...]
    assert np.array_equal(np.moveaxis(stored, 0, -1), np.rint(expected * 255))


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_tiles_equal_the_whole_scan(engine: str, trained: Project):
    bundle = load_bundle(trained.models / "0001")
    network = open_engine(bundle.folder, engine)
    image = np.random.default_rng(0).random((301, 418, 1)).astype(np.float32)
    whole = list(predict_tiles(network, bundle.info, image, tile=4096))
    assert len(whole) == 1
    tiled = np.full((301, 418, 3), np.nan, np.float32)
    windows = 0
    for window, probabilities in predict_tiles(network, bundle.info, image, tile=2 * bundle.info.halo + 64):
        tiled[window] = probabilities
        windows += 1
    assert windows > 20
    assert np.abs(tiled - whole[0][1]).max() <= 1e-5


def test_too_small_a_halo_would_show(trained: Project):
    bundle = load_bundle(trained.models / "0001")
    network, info = open_engine(bundle.folder, "keras"), replace(bundle.info, halo=0)
    image = np.random.default_rng(0).random((128, 128, 1)).astype(np.float32)
    whole = next(predict_tiles(network, bundle.info, image, tile=4096))[1]
    tiled = np.zeros_like(whole)
    for window, probabilities in predict_tiles(network, info, image, tile=64):
        tiled[window] = probabilities
    assert np.abs(tiled - whole).max() > 1e-3


def test_again_with_nothing_changed_does_nothing(trained: Project, scans: Path, tmp_path: Path):
    run(trained, scans, tmp_path / "out")
    before = contents(tmp_path / "out")
    again = run(trained, scans, tmp_path / "out")
    assert (again.done, again.skipped) == (0, 3)
    assert contents(tmp_path / "out") == before


def test_only_what_is_missing_or_out_of_date_is_done_again(trained: Project, scans: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(trained, scans, out)
    whole = contents(out)
    (out / "records" / "s01_1.json").unlink()  # killed before its record was written
    assert run(trained, scans, out).done == 1
    assert {k: v for k, v in contents(out).items() if "records" not in k} == {
        k: v for k, v in whole.items() if "records" not in k
    }
    changed = scans / "s01_2.tif"
    tifffile.imwrite(changed, 255 - tifffile.imread(changed))
    assert run(trained, scans, out).done == 1
    assert run(trained, scans, out, probabilities=True).done == 3


def test_holes_that_are_filled_and_objects_that_are_dropped_are_those_of_scikit_image(
    trained: Project, scans: Path, tmp_path: Path
):
    run(trained, scans, tmp_path / "plain")
    run(trained, scans, tmp_path / "out", min_object=20, fill_holes=10, objects=True)
    changed = False
    for place in (tmp_path / "plain").rglob("*.ome.zarr"):
        made = tmp_path / "out" / place.relative_to(tmp_path / "plain")
        objects = zarr.open_array(made.with_name(made.name.replace(".ome", ".objects.ome")) / "0", mode="r")[...]
        planes, found = (zarr.open_array(folder / "0", mode="r")[...] for folder in (place, made))
        for plane, kept, numbers in zip(planes, found, objects, strict=True):
            filled = remove_small_holes(np.pad(plane > 0, 20), max_size=10, connectivity=1)[20:-20, 20:-20]
            np.testing.assert_array_equal(kept, remove_small_objects(filled, max_size=19, connectivity=2))
            np.testing.assert_array_equal(numbers, label(kept, connectivity=2))
        changed |= not np.array_equal(planes, found)
    assert changed


def test_label_maps_are_refused_where_classes_may_overlap(trained: Project, scans: Path, tmp_path: Path):
    with pytest.raises(
        UsageError, match=r"^predict.masks: labels gives each pixel one class, but the classes of model"
    ):
        run(trained, scans, tmp_path / "out", masks="labels")
    assert not (tmp_path / "out").exists()


def test_the_engine_is_the_one_that_is_set(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: None)
    run(trained, scans, tmp_path / "out", engine="keras")
    with pytest.raises(UsageError, match=r"^predict.engine: openvino is not installed"):
        run(trained, scans, tmp_path / "other", engine="openvino")


def test_every_setting_but_those_that_leave_outputs_as_they_are_makes_them_out_of_date(
    trained: Project, tmp_path: Path
):
    other = {
        "format": "tiff", "masks": "labels", "objects": True, "min_object": 5, "fill_holes": 5,
        "probabilities": True, "pixel_size": "rescale", "flips": "both", "precision": "bfloat16",
    }  # fmt: skip
    assert set(other) | LEAVES_OUTPUTS == {item.name for item in fields(PredictConfig)}
    bundle = load_bundle(trained.models / "0001")
    made = [make_job(bundle, tmp_path, PredictConfig(**{name: value})).signature for name, value in other.items()]
    assert len({*made, make_job(bundle, tmp_path, PredictConfig()).signature}) == len(other) + 1


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "blended"])
def test_the_tile_is_settled_by_who_starts_and_counts_only_where_tiles_are_blended(
    exact: bool, trained: Project, tmp_path: Path
):
    bundle = load_bundle(trained.models / "0001")
    bundle = replace(bundle, info=replace(bundle.info, exact=exact))
    auto, other = make_job(bundle, tmp_path, PredictConfig()), make_job(bundle, tmp_path, PredictConfig(tile=512))
    same = make_job(bundle, tmp_path, PredictConfig(tile=auto.config.tile))
    assert auto.config.tile > 512
    assert other.config.tile == 512
    assert auto.signature == same.signature
    assert (auto.signature == other.signature) == exact


def test_new_thresholds_make_outputs_out_of_date(trained: Project, scans: Path, tmp_path: Path):
    from unetseg.evaluate import evaluate
    from unetseg.project import override

    run(trained, scans, tmp_path / "out")
    evaluate(replace(trained, settings=override(trained.settings, ["evaluate.criterion=fixed"])))
    assert run(trained, scans, tmp_path / "out").done == 3


def test_bad_scans_are_set_aside_with_reasons_and_the_others_done(
    trained: Project, scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (scans / "broken.tif").write_bytes((scans / "s01_1.tif").read_bytes()[:300])
    (scans / "empty.png").write_bytes(b"")
    tifffile.imwrite(scans / "colour.tif", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    result = run(trained, scans, tmp_path / "out")
    assert result.done == 3
    assert {Path(item.path).name for item in result.quarantined} == {"broken.tif", "empty.png", "colour.tif"}
    assert all(item.reason for item in result.quarantined)
    assert "colour.tif" in result.gallery.read_text()
    told = [line for line in caplog.messages if line.startswith("quarantined")]
    assert sorted(line.count(str(scans)) for line in told) == [1, 1, 1]


def test_too_many_bad_scans_fail_after_the_good_ones_are_stored(trained: Project, scans: Path, tmp_path: Path):
    (scans / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match="max_failed_fraction"):
        run(trained, scans, tmp_path / "out", max_failed_fraction=0.1)
    assert (tmp_path / "out" / "s01_1.ome.zarr").exists()


def test_sixteen_bit_scans_of_the_same_eye_give_nearly_the_same_masks(trained: Project, scans: Path, tmp_path: Path):
    deep = tmp_path / "deep"
    deep.mkdir()
    pixels = tifffile.imread(scans / "s01_1.tif")
    tifffile.imwrite(deep / "s01_1.tif", pixels.astype(np.uint16) * 100 + 5000)
    run(trained, scans, tmp_path / "out8")
    run(trained, deep, tmp_path / "out16")
    both = [zarr.open_array(tmp_path / out / "s01_1.ome.zarr/0", mode="r")[...] for out in ("out8", "out16")]
    assert (both[0] != both[1]).mean() < 1e-3


@pytest.mark.server
def test_a_dask_cluster_gives_the_same_files(trained: Project, scans: Path, tmp_path: Path):
    from distributed import LocalCluster

    run(trained, scans, tmp_path / "here")
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        predict(
            scans,
            tmp_path / "there",
            bundle=trained.models / "0001",
            config=PredictConfig(),
            cluster=cluster.scheduler_address,
        )
    there = contents(tmp_path / "there")
    assert {name: data for name, data in contents(tmp_path / "here").items() if name != "gallery.html"} == {
        name: data for name, data in there.items() if name != "gallery.html"
    }


def test_table_agrees_with_the_masks(trained: Project, scans: Path, tmp_path: Path):
    result = run(trained, scans, tmp_path / "out")
    with (tmp_path / "out" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    for row in rows:
        masks = zarr.open_array(tmp_path / "out" / f"{row['scan']}.ome.zarr/0", mode="r")[...]
        k = ["iris", "pupil", "sclera"].index(row["class_name"])
        assert int(row["pixels"]) == masks[k].sum()
        assert (int(row["height"]), int(row["width"])) == masks.shape[1:]
        assert 0 <= float(row["near_threshold"]) <= 1
    assert result.table.exists()


def test_the_run_record_names_model_settings_and_counts(trained: Project, scans: Path, tmp_path: Path):
    run(trained, scans, tmp_path / "out", tile=512)
    record = read_json(tmp_path / "out" / "run.json")
    assert record["settings"]["tile"] == 512
    assert record["result"]["done"] == 3
    assert set(record["thresholds"]) == {"iris", "pupil", "sclera"}
    assert record["software"]["unetseg"]


def test_dry_run_counts_and_writes_nothing(trained: Project, scans: Path, tmp_path: Path):
    (scans / "empty.png").write_bytes(b"")
    found = estimate(scans, tmp_path / "out", bundle=trained.models / "0001", config=PredictConfig())
    assert found.scans == 3
    assert found.pixels == 80 * 112 + 73 * 107 + 66 * 102
    assert found.seconds > 0
    assert found.disk_bytes > 0
    assert [Path(item.path).name for item in found.quarantined] == ["empty.png"]
    assert not (tmp_path / "out").exists()


def test_wrong_folders_are_wrong_usage_and_nothing_is_written(trained: Project, scans: Path, tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="nowhere"):
        run(trained, tmp_path / "nowhere", out)
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="none"):
        run(trained, tmp_path / "none", out)
    with pytest.raises(UsageError, match="no bundle"):
        predict(scans, out, bundle=tmp_path, config=PredictConfig())
    for inside in (scans, scans / "left" / "out"):
        with pytest.raises(UsageError, match="folder of their own"):
            run(trained, scans, inside)
    assert not out.exists()


def test_a_tile_that_cannot_hold_the_halo_is_wrong_usage(trained: Project):
    bundle = load_bundle(trained.models / "0001")
    image = np.zeros((512, 512, 1), np.float32)
    with pytest.raises(UsageError, match=r"predict\.tile"):
        list(predict_tiles(open_engine(bundle.folder), bundle.info, image, tile=2 * bundle.info.halo))


def test_engine_can_be_chosen_and_both_agree(trained: Project):
    bundle = load_bundle(trained.models / "0001")
    keras_engine, openvino_engine = open_engine(bundle.folder, "keras"), open_engine(bundle.folder, "openvino")
    assert (keras_engine.name, openvino_engine.name) == ("keras", "openvino")
    inputs = {"image": np.random.default_rng(1).random((2, 64, 48, 1)).astype(np.float32)}
    assert np.abs(keras_engine(inputs) - openvino_engine(inputs)).max() < 1e-4


def test_openvino_missing_from_the_bundle_is_said(trained: Project):
    folder = trained.models / "0001"
    (folder / "openvino.xml").unlink()
    with pytest.raises((UsageError, BundleError), match=r"openvino\.xml"):
        open_engine(folder, "openvino")


def test_a_wrong_setting_or_a_damaged_model_ends_the_run_and_leaves_finished_outputs_finished(
    trained: Project, scans: Path, tmp_path: Path
):
    run(trained, scans, tmp_path / "out")
    before = contents(tmp_path / "out")
    (scans / "s01_1.tif").touch()
    tifffile.imwrite(scans / "large.tif", np.zeros((600, 600), np.uint8))
    thin = trained.models / "0001"
    plain = read_json(thin / "bundle.json") | {"halo": 200}
    write_record(thin / "bundle.json", plain)
    with pytest.raises(UsageError, match=r"predict\.tile"):
        run(trained, scans, tmp_path / "out", tile=256)
    # nothing that counted as done has lost its record
    assert set(contents(tmp_path / "out")) == {*before, ".begun.json"}


def test_probabilities_that_nobody_asks_for_any_more_do_not_stay_beside_new_masks(
    trained: Project, scans: Path, tmp_path: Path
):
    place = tmp_path / "out" / "s01_1.probabilities.ome.zarr"
    run(trained, scans, tmp_path / "out", probabilities=True)
    assert place.exists()
    run(trained, scans, tmp_path / "out")
    assert not place.exists()
    run(trained, scans, tmp_path / "out", probabilities=True)
    shutil.rmtree(place)
    assert run(trained, scans, tmp_path / "out", probabilities=True).done == 1


def test_the_gallery_tells_of_files_that_break_and_of_those_that_are_mended(
    trained: Project, scans: Path, tmp_path: Path
):
    run(trained, scans, tmp_path / "out")
    (scans / "broken.tif").write_bytes(b"II*")
    assert "broken.tif" in run(trained, scans, tmp_path / "out").gallery.read_text()
    (scans / "broken.tif").unlink()
    assert "broken.tif" not in run(trained, scans, tmp_path / "out").gallery.read_text()


def test_a_model_that_was_never_evaluated_is_told_of_once(
    trained: Project, scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert not run(trained, scans, tmp_path / "out").warnings
    shutil.rmtree(trained.models / "0001" / "evaluation")
    result = run(trained, scans, tmp_path / "new")
    assert [text for text in result.warnings if "0001 was never evaluated" in text] == list(result.warnings)
    assert "the threshold of each class is one half" in result.warnings[0]
    assert caplog.text.count("was never evaluated") == 1
    assert read_json(tmp_path / "new" / "run.json")["result"]["warnings"] == list(result.warnings)
