"""Patches: windows of scans, where they lie, and the batches that ``model.fit`` is fed with."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from unetseg.bit_fields import pack
from unetseg.config import AugmentConfig, TrainConfig
from unetseg.dataset import Dataset, Planes, open_dataset
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.patch_centres import PatchCentres
from unetseg.patch_reader import PatchReader
from unetseg.patches import PatchBatches, _held, _thinned, grid_patches, stack_batch
from unetseg.prefetch import Prefetch
from unetseg.project import load_project

PLAIN = AugmentConfig(flips=False, warped_fraction=0.0, contrast=0.0, brightness=0.0, noise=0.0)


@pytest.fixture(scope="module")
def dataset(eyes: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixteen scans of 80 x 112, three classes, two guides."""
    folder = tmp_path_factory.mktemp("patches")
    init(eyes / "scans", eyes / "masks", guides=eyes / "guides", project=folder, overrides=("ingest.chunk=32",))
    project = load_project(folder)
    ingest(project)
    return open_dataset(project.dataset)


# --------------------------------------------------------------------------- windows


@pytest.mark.parametrize("held", [True, False], ids=["held", "from disk"])
@pytest.mark.parametrize(
    ("top", "left"), [(3, 5), (-8, 100), (70, -30), (-20, 40), (-40, 0), (200, 10)], ids=lambda value: str(value)
)
def test_windows_are_the_scan_padded_with_zeros_and_ignored_masks(held: bool, top: int, left: int, dataset: Dataset):
    scan = dataset.scans("train")[0]
    classes = len(dataset.index.classes)
    found = PatchReader(dataset, [scan], held=held).read(scan, top, left, (32, 24)).planes(classes)
    margin = ((256, 256), (256, 256), (0, 0))
    window = slice(256 + top, 288 + top), slice(256 + left, 280 + left)
    np.testing.assert_array_equal(found.image, np.pad(dataset.image(scan), margin)[window])
    np.testing.assert_array_equal(found.guides, np.pad(dataset.guides(scan), margin)[window])
    np.testing.assert_array_equal(found.masks, np.pad(dataset.masks(scan), margin, constant_values=-1)[window])


@pytest.mark.parametrize(
    ("share", "held", "said"), [(0.0, False, "read patch by patch"), (0.3, True, "held in memory")]
)
def test_scans_are_held_where_they_fit_and_the_log_says_so(
    share: float, held: bool, said: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, caplog
):
    monkeypatch.setattr("unetseg.patch_reader._MEMORY_SHARE", share)
    with caplog.at_level("INFO", "unetseg.patch_reader"):
        reader = PatchReader(dataset, dataset.scans("train"))
    assert reader.held == held
    assert said in caplog.text


def test_memory_is_reckoned_as_what_the_arrays_take(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    scans = dataset.scans("train")
    stored = [(dataset.image(scan), dataset.guides(scan), dataset.fields(scan)) for scan in scans]
    size = sum(array.nbytes for arrays in stored for array in arrays)
    monkeypatch.setattr("unetseg.patch_reader._MEMORY_SHARE", 0.5)
    monkeypatch.setattr("unetseg.patch_reader.machine_memory", lambda: 2 * size)
    assert not PatchReader(dataset, scans).held
    monkeypatch.setattr("unetseg.patch_reader.machine_memory", lambda: 2 * size + 2)
    assert PatchReader(dataset, scans).held


def test_threads_that_miss_the_same_scan_read_it_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    reads: list[str] = []
    started = threading.Barrier(4)
    image = Dataset.image

    def counted(self, scan, *window):
        reads.append(scan.id)
        return image(self, scan, *window)

    monkeypatch.setattr(Dataset, "image", counted)
    scan = dataset.scans("train")[0]
    reader = PatchReader(dataset, [scan], held=True)

    def read(_) -> bytes:
        started.wait()
        return reader.read(scan, 0, 0, (16, 16)).image.tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(read, range(4)))) == 1
    assert reads == [scan.id]


def test_a_scan_that_is_held_cannot_be_changed(dataset: Dataset):
    scan = dataset.scans("train")[0]
    patch = PatchReader(dataset, [scan], held=True).read(scan, 0, 0, (16, 16))
    for planes in (patch.image, patch.guides, patch.fields):
        with pytest.raises(ValueError, match="read-only"):
            planes += 1


def test_grid_patches_cover_the_scans(dataset: Dataset):
    scans = dataset.scans("validation")
    patches = grid_patches(PatchReader(dataset, scans), (32, 32))
    assert len(patches) == len(scans) * 3 * 4
    counted = sum(int((patch.masks[..., 0] >= 0).sum()) for patch in patches)
    assert counted == sum(scan.shape[0] * scan.shape[1] for scan in scans)


def test_a_smaller_grid_is_spread_over_the_scans(dataset: Dataset):
    scans = dataset.scans("train")
    every = [patch.image.tobytes() for patch in grid_patches(PatchReader(dataset, scans), (32, 32), limit=10_000)]
    few = [patch.image.tobytes() for patch in grid_patches(PatchReader(dataset, scans), (32, 32), limit=5)]
    assert len(few) == 5
    assert len({every.index(patch) // 12 for patch in few}) >= 4  # scans


def test_a_smaller_grid_holds_what_is_rare():
    held = np.ones((200, 3), dtype=bool)
    held[:, 1] = np.arange(200) == 137
    held[:, 2] = False
    chosen = _thinned(held, 20)
    assert len(chosen) == 20
    assert 137 in chosen
    assert np.diff(chosen).max() < 40


def test_which_patch_holds_which_class_is_told_as_the_masks_say(dataset: Dataset):
    reader, shape = PatchReader(dataset, dataset.scans("train")[:2], held=False), (32, 48)
    places = [(scan, top, left) for scan in reader.scans for top in (0, 32, 64) for left in (0, 48, 96)]
    found = _held(reader, places, shape)
    for (scan, top, left), held in zip(places, found, strict=True):
        masks = dataset.masks(scan)[top : top + 32, left : left + 48]
        assert held.tolist() == (masks == 1).any(axis=(0, 1)).tolist()


def test_batches_carry_guides_where_there_are_some():
    plain = Planes(np.zeros((4, 4, 1), np.float16), np.zeros((4, 4, 0), np.uint8), np.zeros((4, 4, 2), np.int8))
    guided = replace(plain, guides=np.ones((4, 4, 2), np.uint8))
    assert set(stack_batch([plain])[0]) == {"image"}
    inputs, masks = stack_batch([guided, guided])
    assert inputs["guides"].shape == (2, 4, 4, 2)
    assert (inputs["image"].dtype, inputs["guides"].dtype, masks.dtype) == (np.float32, np.float32, np.int8)


# --------------------------------------------------------------------------- centres


@dataclass
class Scans:
    """Scans in memory, as `PatchCentres` needs them of a reader; ``read`` notes what was asked for."""

    masks: list[np.ndarray]
    chunk: int = 16
    read: list[tuple[int, slice]] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = tuple(f"class {k}" for k in range(self.masks[0].shape[-1]))
        self.dataset = SimpleNamespace(index=SimpleNamespace(classes=names))
        self.scans = [
            SimpleNamespace(
                id=str(number),
                key=f"key{number}",
                shape=masks.shape[:2],
                chunk=self.chunk,
                class_pixels={name: int((masks[..., k] == 1).sum()) for k, name in enumerate(names)},
            )
            for number, masks in enumerate(self.masks)
        ]

    def fields(self, scan, rows: slice) -> np.ndarray:
        self.read.append((int(scan.id), rows))
        return pack(self.masks[int(scan.id)])[rows]


def rare(scans: int = 50) -> Scans:
    """Class 0 in every scan, class 1 in the last alone, class 2 in none; some of it ignored."""
    masks = np.zeros((scans, 40, 60, 3), np.int8)
    masks[:, 10:20, 20:30, 0] = 1
    masks[:, :5] = -1
    masks[-1, 30:33, 50:53, 1] = 1
    return Scans(list(masks))


def test_a_class_of_one_scan_in_fifty_is_drawn_as_often_as_one_that_all_have():
    source = rare()
    centres = PatchCentres(source, 1.0, seed=0)
    random = np.random.default_rng(0)
    drawn = [centres.draw(random) for _ in range(2000)]
    classes = Counter(k for _, k in drawn)
    assert set(classes) == {0, 1}
    assert classes[1] / 2000 == pytest.approx(0.5, abs=0.05)
    assert {scan for scan, k in drawn if k == 1} == {49}
    assert len({scan for scan, k in drawn if k == 0}) == 50
    assert source.read == []  # the records know it


def test_scans_are_drawn_by_the_root_of_their_pixels():
    masks = [np.zeros((side, 60, 2), np.int8) for side in (10, 90)]
    for area, one in zip((4, 36), masks, strict=True):
        one[0, :area, 1] = 1
    centres = PatchCentres(Scans(masks), 0.5, seed=0)
    random = np.random.default_rng(0)
    drawn = [centres.draw(random) for _ in range(4000)]
    # roots of 10 : 90 rows and of 4 : 36 pixels are 1 : 3
    for chosen in (None, 1):
        assert np.mean([scan for scan, k in drawn if k == chosen]) == pytest.approx(0.75, abs=0.03)
    assert np.mean([k == 1 for _, k in drawn]) == pytest.approx(0.5, abs=0.03)


def test_a_foreground_patch_holds_its_class_in_its_middle_half():
    source = rare()
    centres = PatchCentres(source, 1.0, seed=0)
    random = np.random.default_rng(1)
    for _ in range(300):
        number, k = centres.draw(random)
        top, left = centres.corner((number, k), (16, 24), random)
        assert 0 <= top <= 40 - 16
        assert 0 <= left <= 60 - 24
        assert (source.masks[number][top : top + 16, left : left + 24, k] == 1).any()
    free = {centres.corner((0, 0), (8, 8), random) for _ in range(2000)}
    tops, lefts = np.array(sorted(free)).T
    # a pixel of rows 10 to 19 at row 2 to 5 of the patch: corners from 5 to 17
    assert (tops.min(), tops.max(), lefts.min(), lefts.max()) == (5, 17, 15, 27)


def test_every_pixel_of_a_class_is_as_likely_in_whatever_band_it_lies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unetseg.patch_centres.band_rows", lambda chunk: 7)
    masks = np.zeros((40, 30, 1), np.int8)
    masks[np.random.default_rng(0).random((40, 30)) < 0.05] = 1
    source = Scans([masks])
    centres = PatchCentres(source, 1.0, seed=0)
    points = centres._find(0)[0]
    pixels, counts = np.unique(points, return_counts=True)
    np.testing.assert_array_equal(pixels, np.flatnonzero(masks[..., 0]))  # 16384 draws of some 60 pixels: all of them
    expected = len(points) / len(pixels)
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert [rows for _, rows in source.read] == [slice(start, min(start + 7, 40)) for start in range(0, 40, 7)]


def test_pixels_kept_are_bounded_and_read_once():
    source = rare()
    centres = PatchCentres(source, 1.0, seed=0)
    random = np.random.default_rng(0)
    for _ in range(400):
        centres.corner(centres.draw(random), (16, 16), random)
    assert max(Counter(number for number, _ in source.read).values()) == 1
    assert {len(points) for found in centres._points.values() for points in found.values()} == {16384}
    assert PatchCentres(rare(2000), 1.0, seed=0)._kept == 2**23 // 2001


def test_corners_do_not_depend_on_what_was_drawn_before():
    first, second = PatchCentres(rare(), 1.0, seed=4), PatchCentres(rare(), 1.0, seed=4)
    for number in (7, 3, 49):
        second.corner((number, 0), (8, 8), np.random.default_rng(0))
    draws = [(number, 0) for number in (3, 49, 7)]
    assert [first.corner(draw, (8, 8), np.random.default_rng(9)) for draw in draws] == [
        second.corner(draw, (8, 8), np.random.default_rng(9)) for draw in draws
    ]


def test_without_any_foreground_patches_lie_anywhere():
    centres = PatchCentres(Scans([np.zeros((10, 12, 1), np.int8)]), 1.0, seed=0)
    random = np.random.default_rng(0)
    assert centres.draw(random) == (0, None)
    corners = {centres.corner((0, None), (8, 16), random) for _ in range(200)}
    # a scan that is smaller than the patch lies anywhere in it
    assert corners == {(top, left) for top in range(3) for left in range(-4, 1)}


# --------------------------------------------------------------------------- batches


def batches(
    dataset: Dataset, augment: AugmentConfig = PLAIN, *, epoch: int = 0, scales: dict[str, int] | None = None, **more
) -> PatchBatches:
    config = TrainConfig(**({"batch": 4, "steps_per_epoch": 3} | more))
    reader = PatchReader(dataset, dataset.scans("train"))
    return PatchBatches(reader, config, augment, (32, 32), scales=scales, epoch=epoch)


def image(batch) -> np.ndarray:
    return batch[0]["image"]


def test_a_batch_depends_on_seed_epoch_and_number_alone(dataset: Dataset):
    strong = AugmentConfig(warped_fraction=1.0, elastic=2.0)
    first, again = batches(dataset, strong), batches(dataset, strong)
    again[2]
    for part in ("image", "guides"):
        assert np.array_equal(first[1][0][part], again[1][0][part])
    assert np.array_equal(first[1][1], again[1][1])
    assert not np.array_equal(image(first[0]), image(first[1]))
    assert not np.array_equal(image(first[1]), image(batches(dataset, strong, epoch=1)[1]))
    assert not np.array_equal(image(first[1]), image(batches(dataset, strong, seed=3)[1]))
    first.epoch = 1
    assert np.array_equal(image(first[1]), image(batches(dataset, strong, epoch=1)[1]))


def test_a_batch_has_the_shapes_and_types_that_the_network_takes(dataset: Dataset):
    inputs, masks = batches(dataset, AugmentConfig(), batch=3)[0]
    found = {name: (value.shape, value.dtype) for name, value in (inputs | {"masks": masks}).items()}
    assert found == {
        "image": ((3, 32, 32, 1), np.float32),
        "guides": ((3, 32, 32, 2), np.float32),
        "masks": ((3, 32, 32, 3), np.int8),
    }
    assert all(value.flags.c_contiguous for value in (*inputs.values(), masks))


def test_foreground_patches_hold_foreground(dataset: Dataset):
    always, never = (batches(dataset, foreground_fraction=share, batch=16) for share in (1.0, 0.0))
    held = [(source[i][1] == 1).any(axis=(1, 2, 3)).mean() for source in (always, never) for i in range(3)]
    assert min(held[:3]) == 1
    assert max(held[3:]) < 1


def test_pixels_of_flipped_patches_are_pixels_of_the_scans(dataset: Dataset):
    source = batches(dataset, replace(PLAIN, flips=True), batch=8)
    pairs = set()
    for scan in source.reader.scans:
        whole, masks = dataset.image(scan), dataset.masks(scan)
        pairs |= {(float(v), *map(int, m)) for v, m in zip(whole.ravel(), masks.reshape(-1, 3), strict=True)}
    inputs, masks = source[0]
    counted = masks[..., 0] >= 0
    found = {(float(v), *map(int, m)) for v, m in zip(inputs["image"][counted].ravel(), masks[counted], strict=True)}
    assert found <= pairs


def test_the_scans_of_a_batch_are_those_that_its_patches_come_from(dataset: Dataset):
    source = batches(dataset, batch=6, foreground_fraction=0.7, epoch=2)
    found = source.scans_of(1)
    assert len(found) == 6
    assert len(set(found)) > 1
    for scan_id, patch in zip(found, image(source[1]), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(
            dataset.image(dataset.index.scans[scan_id])[..., 0], (32, 32)
        )
        assert (windows == patch[..., 0]).all(axis=(2, 3)).any()
    assert source.scans_of(0) != found


def test_several_scales_give_a_mask_per_output(dataset: Dataset):
    scales = {"masks": 1, "masks_2": 2}
    inputs, targets = batches(dataset, scales=scales)[1]
    plain = batches(dataset)[1]
    assert np.array_equal(inputs["image"], image(plain))
    assert {name: value.shape[1:3] for name, value in targets.items()} == {"masks": (32, 32), "masks_2": (16, 16)}
    assert np.array_equal(targets["masks"], plain[1])
    assert isinstance(batches(dataset, scales={"masks": 1})[1][1], np.ndarray)


def test_fit_sees_the_batches_of_each_epoch_in_order(dataset: Dataset):
    source = batches(dataset, steps_per_epoch=4, batch=2)
    expected = [
        float(image(batches(dataset, steps_per_epoch=4, batch=2, epoch=e)[i]).sum()) for e in (0, 1) for i in range(4)
    ]
    inputs = {"image": keras.Input((32, 32, 1), name="image"), "guides": keras.Input((32, 32, 2), name="guides")}
    # A network that changes nothing and learns nothing: its loss is the mean of the batch.
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, kernel_initializer="ones")(inputs["image"]))
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=lambda masks, found: keras.ops.mean(found))
    totals: list[float] = []
    noted = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(source, "epoch", epoch),
        on_train_batch_end=lambda batch, logs: totals.append((batch + 1) * float(logs["loss"])),
    )
    model.fit(source, epochs=2, shuffle=False, verbose=0, callbacks=[noted])
    means = np.diff(np.reshape(totals, (2, 4)), prepend=0)  # Keras tells the mean over the batches so far
    np.testing.assert_allclose(means.ravel() * 2 * 32 * 32, expected, rtol=1e-4)


# --------------------------------------------------------------------------- ahead


def test_values_are_made_ahead_once_each_and_forgotten_when_not_wanted():
    made: list[int] = []
    source = Prefetch(lambda key: made.append(key) or key * 10, workers=1)
    assert source.get(0, [1, 2]) == 0
    assert source.get(1, [2, 3]) == 10
    assert source.get(7, [8]) == 70
    assert source.get(8, []) == 80
    assert source.get(3, []) == 30
    assert [key for key in made if key != 3] == [0, 1, 2, 7, 8]
    assert source._begun == {}


def test_values_come_in_the_order_asked_for_however_long_they_take():
    wait = threading.Event()

    def slow_first(key: int) -> int:
        return key if key else wait.wait(10) and key

    source = Prefetch(slow_first, workers=3)
    threading.Timer(0.05, wait.set).start()
    assert [source.get(key, range(key + 1, key + 4)) for key in range(6)] == [0, 1, 2, 3, 4, 5]


def test_an_error_comes_up_where_its_value_is_asked_for():
    def half(key: int) -> float:
        return 1 / key

    source = Prefetch(half, workers=2)
    assert source.get(2, [0, 4]) == 0.5
    with pytest.raises(ZeroDivisionError):
        source.get(0, [4])
    assert source.get(4, []) == 0.25
