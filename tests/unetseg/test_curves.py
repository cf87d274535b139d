"""Curves and thresholds against scikit-learn, slow loops and hand values."""

import tracemalloc
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, fbeta_score, precision_recall_curve

from unetseg import curves
from unetseg.config import EvaluateConfig
from unetseg.curves import BINS, Histograms, check_masks, choose_threshold, load_curves, save_curves
from unetseg.errors import BundleError, UsageError

FEW_BINS = [0, 1, 2, 100, 32767, 32768, 50000, 65534, 65535]  # few, so that ties and gaps are common


def histogram_of(truth, probabilities):
    histograms = Histograms.empty(1)
    histograms.add(np.asarray(truth, np.int8)[:, None], np.asarray(probabilities, np.float32)[:, None])
    return histograms


def curve_of(truth, probabilities):
    return histogram_of(truth, probabilities).curve(0)


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


def random_pixels(seed, shape, dtype=np.float32):
    random = np.random.default_rng(seed)
    y_pred = random.beta(0.4, 0.6, size=shape).astype(dtype)
    y_pred.reshape(-1)[:3] = [0, 1, 0.5]
    y_true = (random.random(shape) < y_pred).astype(np.int8)
    y_true[random.random(shape) < 0.1] = -1
    return y_true, y_pred


def assert_same(histograms, expected):
    np.testing.assert_array_equal(histograms.positives, expected[0])
    np.testing.assert_array_equal(histograms.negatives, expected[1])


pixels = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from(FEW_BINS).map(lambda slot: slot / BINS)),
    min_size=1,
    max_size=40,
)


# --------------------------------------------------------------------------- histograms


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_add_counts_like_a_loop(dtype):
    y_true, y_pred = random_pixels(0, (9, 7, 3), dtype)
    histograms = Histograms.empty(3)
    histograms.add(y_true, y_pred)
    assert_same(histograms, slow_histograms(y_true, y_pred))


@pytest.mark.parametrize("block", [1, 5, 64, 10_000])
@pytest.mark.parametrize("layout", ["plain", "classes first in memory", "every second pixel", "leading axis of one"])
def test_blocks_and_memory_layout_change_nothing(monkeypatch, block, layout):
    y_true, y_pred = random_pixels(1, (8, 6, 3))
    change = {
        "plain": lambda array: array,
        "classes first in memory": lambda array: np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 0)), 0, -1),
        "every second pixel": lambda array: array[:, ::2],
        "leading axis of one": lambda array: array[None],
    }[layout]
    y_true, y_pred = change(y_true), change(y_pred)
    monkeypatch.setattr(curves, "_BLOCK", block)
    histograms = Histograms.empty(3)
    histograms.add(y_true, y_pred)
    assert_same(histograms, slow_histograms(y_true, y_pred))


def test_only_one_of_two_arrays_may_be_laid_out_differently():
    y_true, y_pred = random_pixels(2, (8, 6, 3))
    histograms = Histograms.empty(3)
    histograms.add(np.asfortranarray(y_true), y_pred)
    assert_same(histograms, slow_histograms(y_true, y_pred))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_])
def test_every_mask_type_counts_alike(dtype):
    y_true, y_pred = random_pixels(3, (50, 2))
    y_true = (y_true == 1).astype(dtype)
    histograms = Histograms.empty(2)
    histograms.add(y_true, y_pred)
    assert_same(histograms, slow_histograms(y_true.astype(int), y_pred))


def test_every_negative_value_is_ignored():
    histograms = histogram_of([-1, -2, -128, 1, 0], [0.5, 0.5, 0.5, 0.5, 0.5])
    assert (histograms.positives.sum(), histograms.negatives.sum()) == (1, 1)


def test_a_pixel_falls_into_the_bin_of_its_probability():
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
@given(pixels, pixels)
def test_merging_equals_adding_all(first, second):
    merged = histogram_of(*zip(*first, strict=True)) + histogram_of(*zip(*second, strict=True))
    together = histogram_of(*zip(*(first + second), strict=True))
    assert_same(merged, (together.positives, together.negatives))


def test_merging_leaves_its_parts_alone():
    part = histogram_of([1, 0], [0.5, 0.5])
    total = part + part
    assert (part.positives.sum(), total.positives.sum()) == (1, 2)


def test_pooled_sums_classes():
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
    monkeypatch.setattr(curves, "_BLOCK", 1)  # the first pixel alone would be fine
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


# --------------------------------------------------------------------------- curve


@pytest.mark.parametrize("seed", range(5))
def test_curve_equals_scikit_learn_on_quantised_probabilities(seed):
    random = np.random.default_rng(seed)
    slots = random.integers(0, BINS, 3000) if seed else random.choice(FEW_BINS, 3000)
    truth = random.random(3000) < slots / BINS
    curve = curve_of(truth, slots / BINS)
    precision, recall, thresholds = precision_recall_curve(truth, slots / BINS)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    np.testing.assert_array_equal(curve.precision, precision[:-1])
    np.testing.assert_array_equal(curve.recall, recall[:-1])
    assert curve.positives == truth.sum()
    assert curve.average_precision == pytest.approx(average_precision_score(truth, slots / BINS), rel=1e-12)


def test_curve_of_floats_brackets_scikit_learn_within_one_bin():
    y_true, y_pred = random_pixels(7, 4000)
    counted = y_true >= 0
    y_true, y_pred = y_true[counted], y_pred[counted]
    curve = curve_of(y_true, y_pred)
    _, recall, thresholds = precision_recall_curve(y_true, y_pred)
    bins = np.minimum(np.floor(thresholds.astype(np.float64) * BINS), BINS - 1)
    steps = np.append(curve.recall, 0.0)
    at_bin = steps[np.searchsorted(curve.thresholds, bins / BINS)]
    at_next = steps[np.searchsorted(curve.thresholds, (bins + 1) / BINS)]
    assert bins.size > 2000
    assert (at_next <= recall[:-1]).all()
    assert (recall[:-1] <= at_bin).all()
    assert curve.average_precision == pytest.approx(average_precision_score(y_true, y_pred), abs=1e-4)


def test_curve_of_hand_values():
    curve = curve_of([1, 0, 1, 1, 0], [0.75, 0.5, 0.5, 0.25, 0.125])
    np.testing.assert_array_equal(curve.thresholds, [0.125, 0.25, 0.5, 0.75])
    np.testing.assert_array_equal(curve.precision, [3 / 5, 3 / 4, 2 / 3, 1])
    np.testing.assert_array_equal(curve.recall, [1, 1, 2 / 3, 1 / 3])
    assert curve.average_precision == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 4)
    np.testing.assert_allclose(curve.f_beta(1), [6 / 8, 6 / 7, 2 / 3, 1 / 2])


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_beta_equals_scikit_learn(beta):
    random = np.random.default_rng(3)
    probabilities = random.choice(FEW_BINS, 200) / BINS
    truth = random.random(200) < 0.4
    curve = curve_of(truth, probabilities)
    expected = [fbeta_score(truth, probabilities >= threshold, beta=beta) for threshold in curve.thresholds]
    np.testing.assert_allclose(curve.f_beta(beta), expected, rtol=1e-12)


def test_a_class_without_foreground_is_not_measurable():
    curve = curve_of([0, 0, -1], [0.5, 0.25, 0.75])
    assert curve.positives == 0
    assert np.isnan(curve.average_precision)
    assert np.isnan(curve.recall).tolist() == [True, True]
    assert np.isnan(curve.f_beta(1)).tolist() == [True, True]
    np.testing.assert_array_equal(curve.precision, [0, 0])


def test_a_curve_of_no_pixel_is_empty_and_not_measurable():
    curve = Histograms.empty(1).curve(0)
    assert curve.thresholds.size == curve.recall.size == curve.f_beta(1).size == 0
    assert np.isnan(curve.average_precision)


# --------------------------------------------------------------------------- thresholds


CONFIGS = [
    EvaluateConfig(),
    EvaluateConfig(beta=2.0),
    EvaluateConfig(criterion="recall_at_precision", target=0.6),
    EvaluateConfig(criterion="precision_at_recall", target=0.7),
    EvaluateConfig(criterion="fixed", fixed_threshold=0.3),
]


@settings(max_examples=150, deadline=None)
@given(pixels, st.sampled_from(CONFIGS), st.booleans())
def test_applying_the_threshold_reproduces_its_numbers(drawn, config, between_bins):
    truth, probabilities = (np.array(column) for column in zip(*drawn, strict=True))
    probabilities = probabilities.astype(np.float32)
    if between_bins:  # not only lower edges of bins
        probabilities = np.nextafter(probabilities, np.float32(1))
    chosen = choose_threshold(curve_of(truth, probabilities), config)
    predicted = probabilities[truth >= 0] >= np.float32(chosen.value)
    foreground = truth[truth >= 0] == 1
    tp = int((predicted & foreground).sum())
    assert float(np.float32(chosen.value)) * BINS == int(chosen.value * BINS)
    if not foreground.any():
        assert (chosen.precision, chosen.recall, chosen.score) == (None, None, None)
    else:
        assert chosen.recall == tp / foreground.sum()
        assert chosen.precision == (tp / predicted.sum() if predicted.any() else None)


def slow_choice(slots, truth, config):
    """Try every threshold there is: (score, other) pairs, the best of them, and whether one was allowed."""
    best = None
    for edge in sorted({0, *(slot + 1 for slot in slots), *slots} - {BINS}):
        predicted = [slot >= edge for slot in slots]
        tp = sum(t and p for t, p in zip(truth, predicted, strict=True))
        if not any(predicted):
            continue
        precision, recall = tp / sum(predicted), tp / sum(truth)
        if config.criterion == "recall_at_precision":
            key = (recall, precision) if precision >= config.target else None
        elif config.criterion == "precision_at_recall":
            key = (precision, recall) if recall >= config.target else None
        else:
            weight = config.beta**2
            fn, fp = sum(truth) - tp, sum(predicted) - tp
            key = ((1 + weight) * tp / ((1 + weight) * tp + weight * fn + fp), -recall)
        if key is not None and (best is None or key > best):
            best = key
    return best


@pytest.mark.parametrize("config", CONFIGS[:4], ids=lambda config: f"{config.criterion} {config.beta}")
def test_the_choice_is_the_best_of_all_thresholds(config):
    for seed in range(30):
        random = np.random.default_rng(seed)
        slots = random.choice(FEW_BINS, 12).tolist()
        truth = (random.random(12) < 0.5).tolist()
        truth[0] = True
        chosen = choose_threshold(curve_of(truth, np.array(slots) / BINS), config)
        best = slow_choice(slots, truth, config)
        assert chosen.reached == (best is not None)
        if best is not None:
            other = {"recall_at_precision": chosen.precision, "precision_at_recall": chosen.recall}
            assert (chosen.score, other.get(config.criterion, -chosen.recall)) == pytest.approx(best, rel=1e-12)


def test_a_perfect_model_is_cut_in_the_middle():
    chosen = choose_threshold(curve_of([1, 1, 0, 0], [1.0, 1.0, 0.0, 0.0]), EvaluateConfig())
    assert (chosen.value, chosen.reached, chosen.score) == (0.5, True, 1.0)
    assert chosen.reason == "highest F1: 1.0000"


@pytest.mark.parametrize("config", CONFIGS[:4], ids=lambda config: f"{config.criterion} {config.beta}")
def test_the_threshold_lies_in_the_middle_of_its_gap(config):
    chosen = choose_threshold(curve_of([1, 1, 0], [0.75, 0.75, 0.25]), config)
    lowest, highest = 0.25 * BINS + 1, 0.75 * BINS  # all thresholds that count the same
    assert chosen.value * BINS == (lowest + highest) // 2


def test_neighbouring_bins_leave_no_gap():
    chosen = choose_threshold(curve_of([1, 0], [101 / BINS, 100 / BINS]), EvaluateConfig())
    assert chosen.value == 101 / BINS


def test_below_the_lowest_bin_the_gap_reaches_down_to_zero():
    chosen = choose_threshold(curve_of([1, 1], [0.5, 0.75]), EvaluateConfig())
    assert (chosen.value, chosen.recall) == (0.25, 1.0)


def test_equal_f_beta_takes_the_highest_threshold():
    # F1 is 2/3 with the first pixel alone and with all four
    curve = curve_of([1, 0, 0, 1], [0.875, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(curve.f_beta(1), [2 / 3, 2 / 5, 1 / 2, 2 / 3])
    assert choose_threshold(curve, EvaluateConfig()).recall == 0.5


def test_beta_above_one_leans_to_recall():
    curve = curve_of([1, 1, 0, 0, 1], [0.875, 0.75, 0.5, 0.5, 0.25])
    low, high = (choose_threshold(curve, EvaluateConfig(beta=beta)) for beta in (2.0, 0.5))
    assert (low.recall, high.recall) == (1.0, 2 / 3)


def test_recall_at_precision_takes_the_highest_recall_and_then_the_highest_threshold():
    curve = curve_of([1, 1, 0, 0, 1, 0, 0], [0.875, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0625])
    for target, expected in ((0.6, (3 / 5, 1.0)), (0.65, (1.0, 2 / 3)), (0.4, (3 / 5, 1.0))):
        chosen = choose_threshold(curve, EvaluateConfig(criterion="recall_at_precision", target=target))
        assert (chosen.reached, chosen.precision, chosen.recall) == (True, *expected)
        assert chosen.score == chosen.recall
        assert chosen.reason == f"highest recall with precision >= {target}: {chosen.recall:.4f}"


def test_precision_at_recall_takes_the_highest_precision_and_then_the_most_recall():
    curve = curve_of([1, 1, 0, 1], [0.875, 0.75, 0.5, 0.25])
    for target, expected in ((0.3, (1.0, 2 / 3)), (0.9, (3 / 4, 1.0))):
        chosen = choose_threshold(curve, EvaluateConfig(criterion="precision_at_recall", target=target))
        assert (chosen.reached, chosen.precision, chosen.recall) == (True, *expected)
        assert chosen.score == chosen.precision


def test_an_unreachable_criterion_falls_back_to_the_best_f1_and_says_so():
    curve = curve_of([0, 1, 1, 0], [0.875, 0.75, 0.5, 0.25])
    chosen = choose_threshold(curve, EvaluateConfig(criterion="recall_at_precision", target=0.9))
    best = choose_threshold(curve, EvaluateConfig(criterion="f_beta", beta=1.0))
    assert not chosen.reached
    assert (chosen.value, chosen.score) == (best.value, best.score) == (chosen.value, pytest.approx(0.8))
    assert chosen.reason == (
        "not reached: no threshold for the highest recall with precision >= 0.9 (highest precision: 0.6667); "
        "fell back to the highest F1: 0.8000"
    )


@pytest.mark.parametrize("config", CONFIGS[:4], ids=lambda config: f"{config.criterion} {config.beta}")
def test_a_class_without_foreground_never_looks_chosen(config):
    chosen = choose_threshold(curve_of([0, 0], [0.5, 0.75]), config)
    assert (chosen.value, chosen.reached) == (0.5, False)
    assert chosen.reason == f"not chosen: no foreground pixel to judge {config.criterion} by; fell back to 0.5"


def test_fixed_takes_the_setting_rounded_to_a_bin():
    curve = curve_of([1, 0, 1], [0.875, 0.5, 0.25])
    chosen = choose_threshold(curve, EvaluateConfig(criterion="fixed", fixed_threshold=0.3))
    assert chosen.value == round(0.3 * BINS) / BINS
    assert (chosen.reached, chosen.precision, chosen.recall, chosen.score) == (True, 0.5, 0.5, 0.5)
    assert chosen.reason == "fixed at 0.3, not chosen from the data"


def test_fixed_score_is_f_beta():
    curve = curve_of([1, 0, 1], [0.875, 0.5, 0.25])
    chosen = choose_threshold(curve, EvaluateConfig(criterion="fixed", fixed_threshold=0.75, beta=2.0))
    assert chosen.score == pytest.approx(5 / (5 + 4))


@pytest.mark.parametrize(("setting", "value", "recall"), [(0.0, 0.0, 1.0), (1.0, 65535 / 65536, 0.0)])
def test_fixed_at_its_limits(setting, value, recall):
    chosen = choose_threshold(curve_of([1, 0], [0.5, 0.5]), EvaluateConfig(criterion="fixed", fixed_threshold=setting))
    assert (chosen.value, chosen.recall) == (value, recall)
    assert (chosen.precision is None) == (recall == 0.0)


def test_a_threshold_cannot_be_changed():
    chosen = choose_threshold(curve_of([1, 0], [0.75, 0.25]), EvaluateConfig())
    with pytest.raises(FrozenInstanceError):
        chosen.value = 0.9


# --------------------------------------------------------------------------- files


def test_saved_curves_come_back_exactly_and_are_small(tmp_path):
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


def test_loaded_curves_choose_the_same_threshold_and_can_grow(tmp_path):
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


def test_damaged_files_are_refused(tmp_path):
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
