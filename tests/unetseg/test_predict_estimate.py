"""What a dry run says against what the prediction then takes: scans, disk, memory; time is a drill."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from unetseg import gallery_trial, predict_estimate, predict_trial, scan_rows
from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig, ScanSource
from unetseg.disk_usage import Disk, disk_at
from unetseg.errors import BadFileError
from unetseg.formats import OpenPlane
from unetseg.gallery_trial import PageRates, page_bytes
from unetseg.inference import predict_band
from unetseg.memory import network_memory
from unetseg.outputs import FORMATS
from unetseg.predict import predict
from unetseg.predict_capacity import Capacity
from unetseg.predict_estimate import estimate
from unetseg.predict_job import make_job
from unetseg.predict_memory import memory_bytes
from unetseg.predict_open import open_prediction
from unetseg.predict_pieces import Cutter, Work, spread
from unetseg.predict_scan import wanted_bands
from unetseg.predict_trial import measure
from unetseg.project import Project
from unetseg.readers import ScanRef, list_scans, read_header
from unetseg.scan_rows import open_in_bands


def eyes_like(side: int, seed: int) -> np.ndarray:
    """Dark spots of some sizes."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random((side, side)), 6, mode="wrap")
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def write(folder: Path, sides: list[int]) -> Path:
    folder.mkdir()
    for number, side in enumerate(sides):
        tifffile.imwrite(folder / f"s{number:02d}.tif", eyes_like(side, number))
    return folder


def test_damage_behind_a_header_is_told_of_as_a_file_that_will_fail(
    trained: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    scans, given = write(tmp_path / "scans", [96, 96, 96, 96]), {"bundle": trained.models / "0001"}
    whole = estimate(scans, tmp_path / "out", config=PredictConfig(), **given)
    path = scans / "broken.png"
    Image.fromarray(eyes_like(96, 9)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = estimate(scans, tmp_path / "out", config=PredictConfig(), **given)
    assert [item.path for item in found.quarantined] == [str(path)]
    assert found.quarantined[0].reason.startswith("cannot be read: ")
    assert (found.scans, found.pixels) == (whole.scans, whole.pixels) == (4, 4 * 96 * 96)
    assert "no picture of" not in caplog.text
    told = predict(scans, tmp_path / "out", config=PredictConfig(), **given).quarantined
    assert found.quarantined == told


def test_where_no_scan_can_be_read_each_that_was_tried_is_told_of(trained: Project, tmp_path: Path):
    scans = tmp_path / "scans"
    scans.mkdir()
    path = scans / "broken.png"
    Image.fromarray(eyes_like(96, 9)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = estimate(scans, tmp_path / "out", bundle=trained.models / "0001", config=PredictConfig())
    assert (found.scans, [item.path for item in found.quarantined]) == (0, [str(path)])
    assert "time and disk are not known" in found.warnings[0]


def taken(out: Path) -> int:
    """What all that is in a folder of outputs takes, in the disk's blocks."""
    return disk_at(out).taken(out)


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize(
    ("sides", "tile", "large"),
    [
        pytest.param([96] * 12 + [128] * 8, 0, False, id="many-small"),
        pytest.param([600, 700, 800], 0, False, id="a-few-medium"),
        pytest.param([2304], 512, True, id="one-large"),
    ],
)
def test_disk_is_estimated_within_20_percent(
    form: str,
    sides: list[int],
    tile: int,
    large: bool,
    trained: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    if large:
        monkeypatch.setattr(scan_rows, "_WHOLE", 4e6)
    scans, out, bundle = write(tmp_path / "scans", sides), tmp_path / "out", trained.models / "0001"
    config = PredictConfig(format=form, tile=tile, probabilities=large)
    found = estimate(scans, out, bundle=bundle, config=config)
    assert not out.exists()
    predict(scans, out, bundle=bundle, config=config)
    assert found.disk_bytes == pytest.approx(taken(out), rel=0.2)


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize(
    ("sides", "tile", "large"),
    [
        pytest.param([96] * 60, 0, False, id="more-than-are-tried"),
        pytest.param([1100, 1300, 2100], 512, False, id="levels"),
        pytest.param([2304], 512, True, id="in-bands"),
    ],
)
def test_disk_is_told_to_a_few_blocks_where_nothing_is_found(
    form: str,
    sides: list[int],
    tile: int,
    large: bool,
    trained: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    if large:
        monkeypatch.setattr(scan_rows, "_WHOLE", 4e6)
    scans, out, bundle = tmp_path / "scans", tmp_path / "out", trained.models / "0001"
    (scans / "a" / "b").mkdir(parents=True)
    for number, side in enumerate(sides):
        tifffile.imwrite(scans / "a" / "b" / f"s{number:02d}.tif", eyes_like(side, number))
    config = PredictConfig(format=form, tile=tile, min_object=10**8)  # nothing is as large
    found = estimate(scans, out, bundle=bundle, config=config)
    predict(scans, out, bundle=bundle, config=config)
    assert found.disk_bytes == pytest.approx(taken(out), rel=0.03, abs=4 * disk_at(out).block)


def test_it_says_so_where_nothing_was_found_on_what_was_tried(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(predict_trial, "_PIECES", 3)
    scans = write(tmp_path / "scans", [96] * 8)
    config = PredictConfig(min_object=96 * 96 + 1)  # nothing is as large
    found = estimate(scans, tmp_path / "out", bundle=trained.models / "0001", config=config)
    assert found.warnings == (predict_estimate._BLIND,)
    for path in sorted(scans.iterdir())[3:]:
        path.unlink()
    monkeypatch.setattr(predict_trial, "_PIECES", 8)
    assert estimate(scans, tmp_path / "out", bundle=trained.models / "0001", config=config).warnings == ()


@pytest.mark.parametrize("sides", [[96] * 6, [700, 900]], ids=["whole", "cut"])
def test_the_page_of_overlays_is_drawn_to_know_its_size(sides: list[int], trained: Project, tmp_path: Path):
    scans, out, bundle = write(tmp_path / "scans", sides), tmp_path / "out", trained.models / "0001"
    config = PredictConfig(tile=256)
    prediction = open_prediction(scans, out, bundle=bundle, config=config)
    works, _ = predict_estimate._works(prediction)
    rates = measure(prediction.job, works, Disk())
    predict(scans, out, bundle=bundle, config=config)
    assert page_bytes([rates.page]) == pytest.approx((out / "gallery.html").stat().st_size, rel=0.05)


def test_no_scan_is_read_for_its_picture_where_that_takes_long(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scans, bundle = write(tmp_path / "scans", [600]), trained.models / "0001"
    prediction = open_prediction(scans, tmp_path / "out", bundle=bundle, config=PredictConfig(tile=256))
    works, _ = predict_estimate._works(prediction)
    drawn, real = list[str](), gallery_trial.write_gallery

    def noted(page: Path, model: Any, rows: Any, ranked: Any, refs: Any, *others: Any, **more: Any) -> None:
        drawn.extend(ref.id for ref in refs)
        real(page, model, rows, ranked, refs, *others, **more)

    monkeypatch.setattr(gallery_trial, "write_gallery", noted)
    monkeypatch.setattr(gallery_trial, "_SECONDS", -1.0)
    assert measure(prediction.job, works, Disk()).page.picture > 0
    assert drawn
    assert all(name.startswith("piece") for name in drawn)


@pytest.mark.parametrize(
    ("settings", "side", "pages"),
    [
        pytest.param({"format": "ome-zarr"}, 96, 12, id="zarr-planes"),
        pytest.param({"format": "tiff"}, 96, 12, id="tiff-planes"),
        pytest.param({"format": "tiff", "probabilities": True}, 200, 6, id="tiff-probabilities"),
        pytest.param({"format": "ome-zarr", "probabilities": True}, 1100, 3, id="zarr-levels"),
    ],
)
def test_stacks_are_counted_and_estimated_as_stacks(
    settings: dict[str, Any], side: int, pages: int, trained: Project, tmp_path: Path
):
    scans, out, bundle = tmp_path / "scans", tmp_path / "out", trained.models / "0001"
    scans.mkdir()
    for number in range(2):
        planes = [eyes_like(side, 20 * number + page) for page in range(pages)]
        tifffile.imwrite(scans / f"vol{number}.tif", np.stack(planes), photometric="minisblack")
    config = PredictConfig(**settings)
    found = estimate(scans, out, bundle=bundle, config=config)
    assert (found.scans, found.stacks, found.pages, found.pixels) == (2, 2, 2 * pages, 2 * pages * side**2)
    predict(scans, out, bundle=bundle, config=config)
    assert found.disk_bytes == pytest.approx(taken(out), rel=0.2)
    done = estimate(scans, out, bundle=bundle, config=config)
    assert (done.scans, done.up_to_date, done.seconds) == (2, 2, 0)


def test_scans_and_stacks_have_one_page_of_overlays(trained: Project, tmp_path: Path):
    """Both kinds are blank, so that the page is most of what there is."""
    scans, out, bundle = write(tmp_path / "scans", [96] * 30), tmp_path / "out", trained.models / "0001"
    for number in range(30):
        planes = np.stack([eyes_like(96, 90 + number)] * 2)
        tifffile.imwrite(scans / f"vol{number:02d}.tif", planes, photometric="minisblack")
    config = PredictConfig(min_object=10**8)  # nothing is as large
    found = estimate(scans, out, bundle=bundle, config=config)
    predict(scans, out, bundle=bundle, config=config)
    page = (out / "gallery.html").stat().st_size
    assert found.disk_bytes == pytest.approx(taken(out), abs=page / 4)


def test_pictures_of_the_page_are_shared_by_the_kinds_of_scans():
    few, many = PageRates(bare=100.0, picture=10.0, scans=4), PageRates(bare=80.0, picture=1.0, scans=12)
    assert page_bytes([few, many]) == 100 + 4 * 10 + 12 * 1
    crowd = PageRates(bare=80.0, picture=1.0, scans=44)
    assert page_bytes([few, crowd]) == pytest.approx(100 + 24 * (4 * 10 + 44 * 1) / 48)
    assert page_bytes([]) == 0


def test_a_stack_with_a_page_that_cannot_be_read_is_one_file_that_fails(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scans = write(tmp_path / "scans", [96])
    tifffile.imwrite(scans / "vol.tif", np.stack([eyes_like(96, 1)] * 4), photometric="minisblack")

    def broken(ref: ScanRef, *, max_gigabytes: float) -> AbstractContextManager[OpenPlane]:
        if ref.page in {1, 2}:
            raise BadFileError("no header")
        return open_in_bands(ref, max_gigabytes=max_gigabytes)

    monkeypatch.setattr(predict_estimate, "open_in_bands", broken)
    found = estimate(scans, tmp_path / "out", bundle=trained.models / "0001", config=PredictConfig())
    assert (found.scans, found.stacks, found.pages) == (1, 0, 0)
    assert [Path(item.path).name for item in found.quarantined] == ["vol.tif"]


def test_scans_that_are_up_to_date_cost_nothing(trained: Project, tmp_path: Path):
    scans, out, bundle = write(tmp_path / "scans", [96] * 6), tmp_path / "out", trained.models / "0001"
    whole = estimate(scans, out, bundle=bundle, config=PredictConfig())
    predict(scans, out, bundle=bundle, config=PredictConfig())
    done = estimate(scans, out, bundle=bundle, config=PredictConfig())
    assert (done.scans, done.pixels, done.up_to_date) == (6, 6 * 96**2, 6)
    assert (done.seconds, done.disk_bytes, done.memory_bytes) == (0, 0, 0)
    for name in ("s01.tif", "s02.tif"):
        tifffile.imwrite(scans / name, eyes_like(96, 77))
    half = estimate(scans, out, bundle=bundle, config=PredictConfig())
    assert half.up_to_date == 4
    assert half.disk_bytes == pytest.approx(whole.disk_bytes / 3, rel=0.3)
    assert estimate(scans, out, bundle=bundle, config=PredictConfig(), overwrite=True).up_to_date == 0


def test_a_disk_that_is_too_small_is_told_of(trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scans, bundle = write(tmp_path / "scans", [96]), trained.models / "0001"
    assert estimate(scans, tmp_path / "out", bundle=bundle, config=PredictConfig()).warnings == ()
    monkeypatch.setattr(predict_estimate, "disk_at", lambda _path: Disk(4096, 4096, free=100))
    found = estimate(scans, tmp_path / "out", bundle=bundle, config=PredictConfig())
    assert found.free_bytes == 100
    assert len(found.warnings) == 1
    assert "0.0 GB are free" in found.warnings[0]


def test_scans_that_break_are_no_reason_to_stop(trained: Project, tmp_path: Path):
    scans = write(tmp_path / "scans", [96] * 4)
    tifffile.imwrite(scans / "colour.tif", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    found = estimate(scans, tmp_path / "out", bundle=trained.models / "0001", config=PredictConfig())
    assert (found.scans, [Path(item.path).name for item in found.quarantined]) == (4, ["colour.tif"])
    assert found.disk_bytes > 0
    for path in scans.glob("s*.tif"):
        path.unlink()
    alone = estimate(scans, tmp_path / "out", bundle=trained.models / "0001", config=PredictConfig())
    assert alone.warnings == ("time and disk are not known: none of the scans that were tried can be segmented",)
    assert alone.quarantined == found.quarantined


def test_the_first_piece_may_be_the_one_that_cannot_be_used(trained: Project, tmp_path: Path):
    scans = write(tmp_path / "scans", [96] * 8)
    for number in range(8):
        place = tmp_path / f"out{number}"
        one = scans / f"s{number:02d}.tif"
        kept = one.read_bytes()
        tifffile.imwrite(one, np.zeros((5, 96, 96), np.uint8), photometric="minisblack", planarconfig="separate")
        assert estimate(scans, place, bundle=trained.models / "0001", config=PredictConfig(format="tiff")).disk_bytes
        one.write_bytes(kept)


def test_memory_is_that_of_the_network_and_of_what_is_in_flight(trained: Project, tmp_path: Path):
    bundle = trained.models / "0001"
    scans = write(tmp_path / "scans", [1000, 1000])
    one, two = (estimate(scans, tmp_path / "out", bundle=bundle, config=PredictConfig(workers=n)) for n in (1, 2))
    # Bytes: as read, and of each of two or more classes the mask, as it was found and as it is written; and runs.
    in_flight = 1000 * 1000 * (1 + 2 * 2 + 2.5)
    assert two.memory_bytes - one.memory_bytes >= in_flight
    assert two.memory_bytes <= 350e6 + network_memory() + 4 * in_flight


def test_a_large_scan_that_cannot_be_streamed_is_estimated_as_one_that_is_held_whole(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scan_rows, "_WHOLE", 1e6)
    shown, found = eyes_like(2304, 0), {}
    for name in ("s.tif", "s.png"):
        folder = tmp_path / Path(name).suffix
        folder.mkdir()
        Image.fromarray(shown).save(folder / name)
        prediction = open_prediction(
            folder, tmp_path / "out", bundle=trained.models / "0001", config=PredictConfig(tile=512, workers=4)
        )
        (found[name],), _ = predict_estimate._works(prediction)
    assert [work.streamed for work in found.values()] == [True, False]
    capacity = Capacity(1, 1, 0, "by one thread")
    streamed, whole = (memory_bytes(prediction.job, [work], capacity) for work in found.values())
    assert whole - streamed >= shown.nbytes * (1 - 512 / 2304)


def test_a_scan_beyond_the_limit_is_told_of(trained: Project, tmp_path: Path):
    scans, config = write(tmp_path / "scans", [96]), PredictConfig(max_scan_gigabytes=0.01)
    Image.fromarray(np.zeros((4000, 3000), np.uint8)).save(scans / "large.png")
    found = estimate(scans, tmp_path / "out", bundle=trained.models / "0001", config=config)
    assert (found.scans, [Path(item.path).name for item in found.quarantined]) == (1, ["large.png"])


# --------------------------------------------------------------------------- parts


@pytest.mark.parametrize(("block", "folder", "expected"), [(1, 0, 4098), (4096, 4096, 4096 * (2 + 2 + 1))])
def test_files_take_whole_blocks(block: int, folder: int, expected: int, tmp_path: Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name, size in (("a/one", 1), ("a/b/two", 4097), ("a/b/none", 0)):
        (tmp_path / name).write_bytes(bytes(size))
    assert Disk(block, folder).taken(tmp_path / "a") == expected


def test_a_disk_is_known_before_its_folder_is_there(tmp_path: Path):
    assert disk_at(tmp_path / "a" / "b").free == pytest.approx(disk_at(tmp_path).free or 0, rel=0.1)


def test_a_cut_out_has_the_pixels_of_its_scan(trained: Project, tmp_path: Path):
    scans = write(tmp_path / "scans", [600])
    job = make_job(load_bundle(trained.models / "0001"), tmp_path / "out", PredictConfig(tile=256))
    (ref,), _ = list_scans(ScanSource(str(scans)))
    work, cutter = Work(ref, read_header(ref)), Cutter(job, tmp_path, 256)
    piece = cutter.cut_out(work, (0.5, 1.0), (100, 200))
    assert np.array_equal(tifffile.imread(piece.ref.path), eyes_like(600, 0)[250:350, 400:600])
    assert (piece.pixels, piece.cut) == (100 * 200, True)
    tile = cutter.piece(work, (0.0, 0.0))
    assert cutter.is_cut(work)
    assert max(tifffile.imread(tile.ref.path).shape) <= 256
    assert tifffile.imread(cutter.piece(work, (1.0, 1.0)).ref.path).shape == tifffile.imread(tile.ref.path).shape


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "blended"])
@pytest.mark.parametrize("shape", [(100, 90), (300, 1000), (1700, 700)], ids=["one-tile", "wide", "bands"])
def test_the_pixels_that_are_computed_are_those_that_the_network_is_given(
    exact: bool, shape: tuple[int, int], trained: Project, tmp_path: Path
):
    job = make_job(load_bundle(trained.models / "0001"), tmp_path / "out", PredictConfig(tile=256))
    job = replace(job, info=replace(job.info, exact=exact))
    given = 0

    def network(inputs: dict[str, np.ndarray]) -> np.ndarray:
        nonlocal given
        given += inputs["image"][..., 0].size
        return np.zeros((*inputs["image"].shape[:3], len(job.info.classes)), np.float32)

    for rows in wanted_bands(job.info, 256, shape[0]):
        image = np.zeros((min(rows.outer[1], shape[0]) - rows.outer[0], shape[1], 1), np.float32)
        deque(predict_band(network, job.info, image, rows=rows, tile=256), maxlen=0)
    assert Cutter(job, tmp_path, 256).computed(shape) == given


def test_pieces_are_spread_evenly_and_always_the_same():
    first = spread(8, 7)
    assert [number for number, _ in first] == [4, 2, 6, 1, 5, 3, 7]
    assert spread(8, 3) == first[:3]
