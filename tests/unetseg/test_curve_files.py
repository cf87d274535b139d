"""Files of histograms: exact, small, and never trusted."""

import numpy as np
import pytest

from unetseg.config import EvaluateConfig
from unetseg.curve_files import load_curves, save_curves
from unetseg.errors import BundleError, UsageError
from unetseg.histograms import BINS, Histograms
from unetseg.thresholds import choose_threshold


def test_saved_curves_come_back_exactly_and_are_small(tmp_path, random_pixels, assert_same):
    y_true, y_pred = random_pixels(5, (400, 3))
    histograms = Histograms.empty(3)
    histograms.add(y_true, y_pred)
    path = tmp_path / "evaluation" / "curves.bin"
    save_curves(path, histograms, ["vessel", "fovea", "naïve 血"])
    loaded, classes = load_curves(path)
    assert classes == ("vessel", "fovea", "naïve 血")
    assert_same(loaded, (histograms.positives, histograms.negatives))
    assert loaded.positives.dtype == np.int64
    assert path.stat().st_size < 20_000  # 3 MB in memory


def test_loaded_curves_choose_the_same_threshold_and_can_grow(tmp_path, histogram_of):
    histograms = histogram_of([1, 0, 1], [0.875, 0.5, 0.25])
    save_curves(tmp_path / "curves.npz", histograms, ["vessel"])
    loaded, _ = load_curves(tmp_path / "curves.npz")
    assert choose_threshold(loaded.curve(0), EvaluateConfig()) == choose_threshold(
        histograms.curve(0), EvaluateConfig()
    )
    loaded.add(np.array([[1]], np.int8), np.array([[0.5]], np.float32))
    assert loaded.curve(0).positives == 3


def test_empty_histograms_come_back(tmp_path):
    save_curves(tmp_path / "curves.npz", Histograms.empty(2), ["a", "b"])
    loaded, classes = load_curves(tmp_path / "curves.npz")
    assert (classes, loaded.positives.shape, loaded.positives.sum()) == (("a", "b"), (2, BINS), 0)


def test_names_must_match_the_classes(tmp_path):
    with pytest.raises(UsageError, match="2 names"):
        save_curves(tmp_path / "curves.npz", Histograms.empty(2), ["a"])
    assert not (tmp_path / "curves.npz").exists()


def write_curves(path, **changes):
    fields = {"bins": BINS, "classes": ["a"], "slots": [5], "positives": [1], "negatives": [0]} | changes
    np.savez(path, **{name: np.array(value) for name, value in fields.items() if value is not None})


@pytest.mark.parametrize(
    "changes",
    [{"bins": 256}, {"slots": [BINS]}, {"positives": [1, 2]}, {"slots": None}, {"slots": [0.5]}],
    ids=["other bins", "slot of no class", "other length", "missing", "not integer"],
)
def test_files_that_do_not_hold_curves_are_refused(tmp_path, changes):
    path = tmp_path / "curves.npz"
    write_curves(path)
    assert load_curves(path)[0].positives[0, 5] == 1
    write_curves(path, **changes)
    with pytest.raises(BundleError, match=r"curves\.npz: not a file of curves, or damaged .* evaluate the model again"):
        load_curves(path)


def test_damaged_files_are_refused(tmp_path, histogram_of):
    path = tmp_path / "curves.npz"
    save_curves(path, histogram_of([1, 0], [0.5, 0.25]), ["a"])
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    npy = tmp_path / "array.npy"
    np.save(npy, np.zeros(3))
    for damaged in (content[:-30], bytes(flipped), b"", b"text", npy.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match="damaged"):
            load_curves(path)


def test_pickles_are_never_opened(tmp_path):
    write_curves(tmp_path / "curves.npz", classes=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BundleError, match="allow_pickle"):
        load_curves(tmp_path / "curves.npz")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_curves(tmp_path / "none.npz")
