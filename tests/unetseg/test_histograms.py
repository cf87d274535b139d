"""Histograms against slow loops and hand values."""

import subprocess
import sys
import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg import tally
from unetseg.errors import UsageError
from unetseg.histograms import BINS, Histograms, check_masks

FEW_BINS = [0, 1, 2, 100, 32767, 32768, 50000, 65534, 65535]  # few, so that ties and gaps are common


def slow_histograms(y_true, y_pred):
    """Pixel by pixel, in Python integers."""
    classes = y_true.shape[-1]
    positives, negatives = np.zeros((2, classes, BINS), np.int64)
    for truth, probabilities in zip(y_true.reshape(-1, classes), y_pred.reshape(-1, classes), strict=True):
        for k in range(classes):
            slot = min(int(float(probabilities[k]) * 65536), 65535)
            if truth[k] == 1:
                positives[k, slot] += 1
            elif truth[k] == 0:
                negatives[k, slot] += 1
    return positives, negatives


pixels = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from(FEW_BINS).map(lambda slot: slot / BINS)),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_add_counts_like_a_loop(dtype, random_pixels, assert_same):
    y_true, y_pred = random_pixels(0, (9, 7, 3), dtype)
    histograms = Histograms.empty(3)
    histograms.add(y_true, y_pred)
    assert_same(histograms, slow_histograms(y_true, y_pred))


@pytest.mark.parametrize("block", [1, 5, 64, 10_000])
@pytest.mark.parametrize("layout", ["plain", "classes first in memory", "every second pixel", "leading axis of one"])
def test_blocks_and_memory_layout_change_nothing(monkeypatch, block, layout, random_pixels, assert_same):
    y_true, y_pred = random_pixels(1, (8, 6, 3))
    change = {
        "plain": lambda array: array,
        "classes first in memory": lambda array: np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 0)), 0, -1),
        "every second pixel": lambda array: array[:, ::2],
        "leading axis of one": lambda array: array[None],
    }[layout]
    y_true, y_pred = change(y_true), change(y_pred)
    monkeypatch.setattr(tally, "_BLOCK", block)
    histograms = Histograms.empty(3)
    histograms.add(y_true, y_pred)
    assert_same(histograms, slow_histograms(y_true, y_pred))


def test_only_one_of_two_arrays_may_be_laid_out_differently(random_pixels, assert_same):
    y_true, y_pred = random_pixels(2, (8, 6, 3))
    histograms = Histograms.empty(3)
    histograms.add(np.asfortranarray(y_true), y_pred)
    assert_same(histograms, slow_histograms(y_true, y_pred))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_])
def test_every_mask_type_counts_alike(dtype, random_pixels, assert_same):
    y_true, y_pred = random_pixels(3, (50, 2))
    y_true = (y_true == 1).astype(dtype)
    histograms = Histograms.empty(2)
    histograms.add(y_true, y_pred)
    assert_same(histograms, slow_histograms(y_true.astype(int), y_pred))


def test_every_negative_value_is_ignored(histogram_of):
    histograms = histogram_of([-1, -2, -128, 1, 0], [0.5, 0.5, 0.5, 0.5, 0.5])
    assert (histograms.positives.sum(), histograms.negatives.sum()) == (1, 1)


def test_a_pixel_falls_into_the_bin_of_its_probability(histogram_of):
    histograms = histogram_of([1, 1, 1, 0], [0.0, 0.5, 1.0, np.nextafter(np.float32(0.5), np.float32(0))])
    assert np.flatnonzero(histograms.positives).tolist() == [0, 32768, 65535]
    assert np.flatnonzero(histograms.negatives).tolist() == [32767]


def test_one_pixel_and_no_pixel_can_be_added():
    histograms = Histograms.empty(2)
    histograms.add(np.array([1, 0], np.int8), np.array([0.5, 0.25], np.float32))
    histograms.add(np.zeros((0, 4, 2), np.int8), np.zeros((0, 4, 2), np.float32))
    assert histograms.positives.sum(axis=1).tolist() == [1, 0]
    assert histograms.negatives.sum(axis=1).tolist() == [0, 1]


@settings(max_examples=50, deadline=None)
@given(first=pixels, second=pixels)
def test_merging_equals_adding_all(first, second, histogram_of, assert_same):
    merged = histogram_of(*zip(*first, strict=True)) + histogram_of(*zip(*second, strict=True))
    together = histogram_of(*zip(*(first + second), strict=True))
    assert_same(merged, (together.positives, together.negatives))


def test_merging_leaves_its_parts_alone(histogram_of):
    part = histogram_of([1, 0], [0.5, 0.5])
    total = part + part
    assert (part.positives.sum(), total.positives.sum()) == (1, 2)


def test_pooled_sums_classes(random_pixels, assert_same):
    y_true, y_pred = random_pixels(4, (60, 3))
    histograms = Histograms.empty(3)
    histograms.add(y_true, y_pred)
    assert_same(histograms.pooled(), slow_histograms(y_true.reshape(-1, 1), y_pred.reshape(-1, 1)))


def test_memory_stays_small_for_memory_mapped_scans(tmp_path):
    shape = (1, 4096, 2048, 1)  # 8 M pixels: 32 MB of probabilities, 64 MB as 64-bit indices
    y_pred = np.memmap(tmp_path / "probabilities", np.float32, "w+", shape=shape)
    y_true = np.memmap(tmp_path / "masks", np.uint8, "w+", shape=shape)
    histograms = Histograms.empty(1)
    tracemalloc.start()
    histograms.add(y_true, y_pred)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert histograms.negatives[0, 0] == 4096 * 2048
    assert peak < 40e6


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        (np.zeros((2, 1), np.int8), np.array([[0.5], [np.nan]], np.float32), r"\[0, 1\], got nan"),
        (np.zeros((2, 1), np.int8), np.array([[0.5], [1.5]], np.float32), r"\[0, 1\], got 1.5; apply the sigmoid"),
        (np.zeros((2, 1), np.int8), np.array([[0.5], [-0.25]], np.float32), r"\[0, 1\], got -0.25"),
        (np.zeros((2, 1), np.int8), np.array([[0], [255]], np.uint8), "got uint8; divide"),
        (np.array([[0], [255]], np.uint8), np.zeros((2, 1), np.float32), "got 255; pass y_true > 0"),
        (np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32), "got float32; convert"),
        (np.zeros((3, 1), np.int8), np.zeros((2, 1), np.float32), r"got \(3, 1\) and \(2, 1\)"),
        (np.zeros((2, 3), np.int8), np.zeros((2, 3), np.float32), r"1 classes, got shape \(2, 3\)"),
        (np.int8(1), np.float32(1), r"got \(\) and \(\)"),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_counted(monkeypatch, y_true, y_pred, message):
    monkeypatch.setattr(tally, "_BLOCK", 1)  # the first pixel alone would be fine
    histograms = Histograms.empty(1)
    with pytest.raises(UsageError, match=message):
        histograms.add(y_true, y_pred)
    assert histograms.negatives.sum() == 0


def test_histograms_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="2 and of 3 classes"):
        Histograms.empty(2) + Histograms.empty(3)
    with pytest.raises(UsageError, match=r"must both be \(classes, 65536\)"):
        Histograms(np.zeros((1, 10), np.int64), np.zeros((1, 10), np.int64))


def test_check_masks_accepts_decisions_of_any_type():
    check_masks(np.array([[1], [-1]], np.int8), np.array([[True], [False]]), classes=1)


# --------------------------------------------------------------------------- threads and Dask


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_count_alike(monkeypatch, workers, random_pixels, assert_same):
    monkeypatch.setattr(tally, "_BLOCK", 64)
    y_true, y_pred = random_pixels(6, (40, 30, 3))
    found = tally.tally(y_true, y_pred, workers=workers)
    assert_same(Histograms(found[:, 1], found[:, 0]), slow_histograms(y_true, y_pred))


def test_an_error_on_one_of_several_threads_leaves_nothing_counted(monkeypatch, random_pixels):
    monkeypatch.setattr(tally, "_BLOCK", 64)
    monkeypatch.setattr(tally, "_PER_THREAD", 100)
    monkeypatch.setattr(tally, "cores", lambda: 3)
    y_true, y_pred = random_pixels(6, (40, 30, 3))
    y_pred[39, 29, 2] = 2
    histograms = Histograms.empty(3)
    with pytest.raises(UsageError, match=r"got 2\.0"):
        histograms.add(y_true, y_pred)
    assert histograms.negatives.sum() == histograms.positives.sum() == 0


@pytest.mark.parametrize(
    "chunks",
    [(20, 15, 3), (7, 30, 1), ((1, 19), (29, 1), (2, 1)), -1],
    ids=["plain", "cut between classes", "uneven", "one chunk"],
)
def test_dask_arrays_count_like_a_loop(chunks, random_pixels, assert_same):
    y_true, y_pred = random_pixels(7, (20, 30, 3))
    histograms = Histograms.empty(3)
    histograms.add(da.from_array(y_true, chunks=(6, 7, 2)), da.from_array(y_pred, chunks=chunks))
    assert_same(histograms, slow_histograms(y_true, y_pred))


@pytest.mark.parametrize("which", ["masks", "probabilities"])
def test_one_dask_and_one_numpy_array_count_like_a_loop(which, random_pixels, assert_same):
    y_true, y_pred = random_pixels(8, (50, 2))
    histograms = Histograms.empty(2)
    if which == "masks":
        histograms.add(da.from_array(y_true, chunks=(7, 1)), y_pred)
    else:
        histograms.add(y_true, da.from_array(y_pred, chunks=(7, 1)))
    assert_same(histograms, slow_histograms(y_true, y_pred))


def test_dask_arrays_are_checked_and_then_nothing_is_counted():
    histograms = Histograms.empty(1)
    y_pred = np.zeros((10, 1), np.float32)
    y_pred[9] = 3
    with pytest.raises(UsageError, match=r"got 3\.0; apply the sigmoid"):
        histograms.add(da.zeros((10, 1), dtype=np.int8, chunks=2), da.from_array(y_pred, chunks=(2, 1)))
    with pytest.raises(UsageError, match="got int64; convert"):
        histograms.add(da.zeros((10, 1), dtype=np.int64), da.zeros((10, 1), dtype=np.float32))
    with pytest.raises(UsageError, match=r"got \(10, 1\) and \(9, 1\)"):
        histograms.add(da.zeros((10, 1), dtype=np.int8), da.zeros((9, 1), dtype=np.float32))
    assert histograms.negatives.sum() == 0


def test_dask_arrays_are_never_whole_in_memory():
    """120 MB of probabilities, made chunk by chunk."""
    y_pred = da.full((30, 1_000_000, 1), 0.5, dtype=np.float32, chunks=(1, 1_000_000, 1))
    histograms = Histograms.empty(1)
    tracemalloc.start()
    with dask.config.set(scheduler="synchronous"):
        histograms.add(da.zeros_like(y_pred, dtype=np.uint8), y_pred)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert histograms.negatives[0, 32768] == 30_000_000
    assert peak < 40e6


def test_importing_histograms_leaves_dask_alone():
    code = "import sys, unetseg.histograms; sys.exit('dask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("foreground", [0, 1], ids=["background", "foreground"])
def test_the_number_just_below_an_edge_stays_below_it(dtype, foreground):
    edges = np.array([1, 3, 32768, 65535, 65536]) / 65536
    below = np.nextafter(edges.astype(dtype), dtype(0))
    histograms = Histograms.empty(1)
    histograms.add(np.full((5, 1), foreground, np.int8), below[:, None])
    counted = histograms.positives if foreground else histograms.negatives
    assert np.flatnonzero(counted[0]).tolist() == [0, 2, 32767, 65534, 65535]
