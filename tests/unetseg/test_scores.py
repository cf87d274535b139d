"""Scores against scikit-learn, slow loops and hand values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from unetseg import scores
from unetseg.config import EvaluateConfig
from unetseg.curves import Histograms
from unetseg.errors import DataError, UsageError
from unetseg.scores import (
    AGGREGATES,
    FN,
    FP,
    SCORES,
    TN,
    TP,
    bootstrap_intervals,
    count,
    dice,
    f_beta,
    iou,
    paired_difference,
    precision,
    recall,
    score_table,
    specificity,
)

CONFIG = EvaluateConfig(draws=100, seed=4)


def random_scans(seed, scans=6, classes=3, size=80):
    """Masks, probabilities and thresholds; a tenth of the pixels is ignored."""
    random = np.random.default_rng(seed)
    y_pred = random.integers(0, 65536, (scans, size, classes)) / 65536
    y_true = (random.random(y_pred.shape) < y_pred**2).astype(np.int8)
    y_true[random.random(y_pred.shape) < 0.1] = -1
    return y_true, y_pred.astype(np.float32), np.full(classes, 0.5)


def counted(y_true, y_pred, thresholds):
    counts = np.stack([count(truth, pred >= thresholds) for truth, pred in zip(y_true, y_pred, strict=True)])
    histograms = Histograms.empty(y_true.shape[-1])
    histograms.add(y_true, y_pred)
    return counts, histograms


def counts_with_histograms(counts):
    """Histograms with the same numbers of pixels; where they lie does not matter."""
    counts = np.asarray(counts, np.int64)
    histograms = Histograms.empty(counts.shape[1])
    total = counts.sum(axis=0)
    histograms.positives[:, 40000], histograms.negatives[:, 20000] = total[:, TP], total[:, TN]
    histograms.positives[:, 20000], histograms.negatives[:, 40000] = total[:, FN], total[:, FP]
    return counts, histograms


# --------------------------------------------------------------------------- counts and their scores


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.int8, (4, 3, 2), elements=st.sampled_from([-5, -1, 0, 1])),
    arrays(np.bool_, (4, 3, 2)),
)
def test_count_equals_a_loop(y_true, y_pred):
    expected = np.zeros((2, 4), np.int64)
    for place in np.ndindex(y_true.shape):
        if y_true[place] >= 0:
            column = {(1, 1): TP, (0, 1): FP, (1, 0): FN, (0, 0): TN}[int(y_true[place]), int(y_pred[place])]
            expected[place[-1], column] += 1
    found = count(y_true, y_pred)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(count(y_true, y_pred.astype(np.uint8)), expected)


def test_count_of_no_pixel_is_zero():
    np.testing.assert_array_equal(count(np.zeros((0, 2), np.int8), np.zeros((0, 2), bool)), np.zeros((2, 4)))


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_count_takes_every_mask_type(dtype):
    y_true = np.array([[1], [0], [1]]).astype(dtype)
    assert count(y_true, np.array([[True], [True], [False]])).tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        (np.zeros((2, 1), np.int8), np.zeros((2, 1), np.float32), "got float32; pass y_pred >= thresholds"),
        (np.zeros((2, 1), np.int8), np.array([[0], [255]], np.uint8), "got 0 to 255; pass y_pred > 0"),
        (np.zeros((2, 1), np.int8), np.array([[0], [-1]], np.int8), "got -1 to 0"),
        (np.zeros((2, 1), np.int8), np.zeros((2, 2), bool), r"got \(2, 1\) and \(2, 2\)"),
        (np.array([[2]], np.int8), np.zeros((1, 1), bool), "got 2; pass y_true > 0"),
    ],
)
def test_count_refuses_what_is_no_decision(y_true, y_pred, message):
    with pytest.raises(UsageError, match=message):
        count(y_true, y_pred)


def test_scores_equal_scikit_learn():
    y_true, y_pred, _ = random_scans(0, scans=1, classes=1, size=500)
    counts = count(y_true, y_pred >= 0.5)[0]
    kept = y_true.ravel() >= 0
    truth, predicted = y_true.ravel()[kept], y_pred.ravel()[kept] >= 0.5
    assert recall(counts) == pytest.approx(metrics.recall_score(truth, predicted), rel=1e-12)
    assert precision(counts) == pytest.approx(metrics.precision_score(truth, predicted), rel=1e-12)
    assert iou(counts) == pytest.approx(metrics.jaccard_score(truth, predicted), rel=1e-12)
    assert dice(counts) == pytest.approx(metrics.f1_score(truth, predicted), rel=1e-12)
    assert specificity(counts) == pytest.approx(metrics.recall_score(truth, predicted, pos_label=0), rel=1e-12)
    for beta in (0.5, 2.0):
        expected = metrics.fbeta_score(truth, predicted, beta=beta)
        assert f_beta(counts, beta=beta) == pytest.approx(expected, rel=1e-12)


ALL = (recall, precision, f_beta, dice, iou, specificity)
NAN = math.nan


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        #  tp fp fn tn   recall precision F1 Dice IoU specificity
        ([6, 2, 4, 8], [0.6, 0.75, 2 / 3, 2 / 3, 0.5, 0.8]),
        ([0, 0, 5, 5], [0, NAN, 0, 0, 0, 1]),  # nothing predicted
        ([0, 3, 0, 7], [NAN, 0, 0, 0, 0, 0.7]),  # class absent, something predicted
        ([0, 0, 0, 9], [NAN, NAN, NAN, NAN, NAN, 1]),  # class absent, nothing predicted
        ([4, 0, 0, 0], [1, 1, 1, 1, 1, NAN]),  # no background
        ([0, 0, 0, 0], [NAN] * 6),  # all ignored
    ],
)
def test_scores_of_hand_values(counts, expected):
    np.testing.assert_allclose([score(np.array(counts)) for score in ALL], expected)


def test_scores_keep_leading_axes():
    counts = np.random.default_rng(0).integers(0, 9, (3, 2, 4))
    for score in ALL:
        assert score(counts).shape == (3, 2)
        assert score(counts)[1, 1] == score(counts[1, 1])


# --------------------------------------------------------------------------- table


def test_class_rows_equal_scikit_learn_and_loops():
    y_true, y_pred, thresholds = random_scans(1)
    counts, histograms = counted(y_true, y_pred, thresholds)
    table = score_table(counts, ["a", "b", "c"], thresholds, histograms)
    assert list(table) == ["a", "b", "c", *AGGREGATES]
    for k, name in enumerate("abc"):
        kept = y_true[..., k] >= 0
        truth, probs = y_true[..., k][kept], y_pred[..., k][kept]
        row = table[name]
        assert row["recall"] == pytest.approx(metrics.recall_score(truth, probs >= 0.5), rel=1e-12)
        assert row["precision"] == pytest.approx(metrics.precision_score(truth, probs >= 0.5), rel=1e-12)
        assert row["f1"] == pytest.approx(metrics.f1_score(truth, probs >= 0.5), rel=1e-12)
        assert row["average_precision"] == pytest.approx(metrics.average_precision_score(truth, probs), rel=1e-12)
        per_scan = [
            (t[t >= 0], p[t >= 0] >= 0.5) for t, p in zip(y_true[..., k], y_pred[..., k], strict=True) if (t == 1).any()
        ]
        assert row["dice"] == pytest.approx(np.mean([metrics.f1_score(*scan) for scan in per_scan]), rel=1e-12)
        assert row["iou"] == pytest.approx(np.mean([metrics.jaccard_score(*scan) for scan in per_scan]), rel=1e-12)
        assert (row["threshold"], row["support"]) == (0.5, len(per_scan))


def test_micro_takes_all_classes_as_one():
    y_true, y_pred, thresholds = random_scans(2)
    micro = score_table(*_table_arguments(y_true, y_pred, thresholds))["micro"]
    kept = y_true >= 0
    truth, probs = y_true[kept], y_pred[kept]
    assert micro["recall"] == pytest.approx(metrics.recall_score(truth, probs >= 0.5), rel=1e-12)
    assert micro["f1"] == pytest.approx(metrics.f1_score(truth, probs >= 0.5), rel=1e-12)
    assert micro["average_precision"] == pytest.approx(metrics.average_precision_score(truth, probs), rel=1e-12)
    per_scan = [metrics.f1_score(t[t >= 0], p[t >= 0] >= 0.5) for t, p in zip(y_true, y_pred, strict=True)]
    assert micro["dice"] == pytest.approx(np.mean(per_scan), rel=1e-12)
    assert micro["threshold"] is None


def _table_arguments(y_true, y_pred, thresholds):
    counts, histograms = counted(y_true, y_pred, thresholds)
    return counts, ["a", "b", "c"], thresholds, histograms


def test_macro_and_weighted_average_the_class_rows():
    table = score_table(*_table_arguments(*random_scans(3)))
    rows = [table[name] for name in "abc"]
    counts = counted(*random_scans(3))[0].sum(axis=0)
    weights = 1 / (counts[:, TP] + counts[:, FN])
    for score in (*SCORES, "average_precision", "specificity"):
        values = [row[score] for row in rows]
        assert table["macro"][score] == pytest.approx(sum(values) / 3, rel=1e-12)
        assert table["weighted"][score] == pytest.approx((weights * values).sum() / weights.sum(), rel=1e-12)
    assert table["macro"]["classes_measured"] == table["weighted"]["classes_measured"] == 3
    assert len(set(weights)) == 3


def table_of(counts, classes):
    counts, histograms = counts_with_histograms(counts)
    return score_table(counts, classes, [0.5] * len(classes), histograms)


def test_rare_classes_weigh_more():
    weighted = table_of([[[90, 0, 0, 10], [0, 0, 10, 90]]], ["often", "rare"])["weighted"]
    assert weighted["recall"] == pytest.approx((1 / 90 * 1 + 1 / 10 * 0) / (1 / 90 + 1 / 10))


def test_an_absent_class_is_not_measurable_and_does_not_lower_the_means():
    table = table_of([[[8, 2, 2, 88], [0, 5, 0, 95]]], ["present", "absent"])
    for score in (*SCORES, "average_precision"):
        assert table["absent"][score] is None
        assert table["macro"][score] == pytest.approx(table["present"][score])
        assert table["weighted"][score] == pytest.approx(table["present"][score])
    assert table["absent"] | {"threshold": 0.5} == table["absent"]
    assert (table["absent"]["support"], table["absent"]["scans_without"]) == (0, 1)
    assert table["absent"]["specificity"] == pytest.approx(0.95)
    assert table["absent"]["false_positive_fraction"] == pytest.approx(0.05)
    assert table["macro"]["classes_measured"] == 1
    assert table["macro"]["specificity"] == pytest.approx(88 / 90)
    assert table["micro"]["precision"] == pytest.approx(8 / 15)
    assert table["micro"]["false_positive_fraction"] == pytest.approx(0.05)


def test_a_split_without_any_class_has_no_scores():
    table = table_of([[[0, 5, 0, 95]], [[0, 0, 0, 100]]], ["absent"])
    for row in AGGREGATES:
        assert [table[row][score] for score in SCORES] == [None] * 5
        assert (table[row]["support"], table[row]["scans_without"]) == (0, 2)
    assert table["macro"]["classes_measured"] == 0
    assert table["micro"]["false_positive_fraction"] == pytest.approx(0.025)


def test_a_class_that_is_never_predicted_has_zero_recall_and_no_precision():
    table = table_of([[[0, 0, 10, 90], [5, 5, 0, 90]]], ["never", "other"])
    never = table["never"]
    assert (never["recall"], never["precision"], never["f1"], never["dice"], never["iou"]) == (0, None, 0, 0, 0)
    assert table["macro"]["f1"] == pytest.approx(table["other"]["f1"] / 2)
    assert table["macro"]["precision"] == table["other"]["precision"] == 0.5
    assert table["macro"]["classes_measured"] == 2


def test_scans_with_and_without_a_class_are_told_apart():
    scans = [
        [[5, 5, 5, 85]],  # Dice 1/2, IoU 1/3
        [[10, 0, 0, 90]],  # Dice 1, IoU 1
        [[0, 20, 0, 80]],  # without, a fifth marked
        [[0, 0, 0, 50]],  # without, nothing marked
        [[0, 0, 0, 0]],  # wholly ignored
    ]
    row = table_of(scans, ["a"])["a"]
    assert (row["support"], row["scans_without"]) == (2, 2)
    assert (row["dice"], row["iou"]) == (pytest.approx(0.75), pytest.approx(2 / 3))
    assert row["false_positive_fraction"] == pytest.approx(0.1)
    assert row["recall"] == pytest.approx(15 / 20)
    assert row["precision"] == pytest.approx(15 / 40)
    assert row["specificity"] == pytest.approx(305 / 330)


def test_scans_that_all_hold_the_class_have_no_false_positive_fraction():
    assert table_of([[[5, 5, 5, 85]]], ["a"])["a"]["false_positive_fraction"] is None


def test_support_of_averages_counts_scans_with_any_class():
    scans = [[[5, 0, 0, 5], [0, 0, 0, 10]], [[0, 0, 0, 10], [5, 0, 0, 5]], [[0, 0, 0, 10], [0, 1, 0, 9]]]
    table = table_of(scans, ["a", "b"])
    for row in AGGREGATES:
        assert (table[row]["support"], table[row]["scans_without"]) == (2, 1)
    assert table["macro"]["false_positive_fraction"] == pytest.approx((0 + 0.05) / 2)
    assert table["micro"]["false_positive_fraction"] == pytest.approx(0.1 / 4)


def test_values_are_plain_python_numbers():
    table = score_table(*_table_arguments(*random_scans(5)))
    kinds = {type(value) for row in table.values() for value in row.values()}
    assert kinds == {float, int, type(None)}
    assert all(type(table["a"][key]) is int for key in ("support", "scans_without"))


@pytest.mark.parametrize(
    ("classes", "thresholds", "message"),
    [
        (["a"], [0.5, 0.5], "2 different names"),
        (["a", "a"], [0.5, 0.5], "2 different names"),
        (["a", "macro"], [0.5, 0.5], r"\['macro'\]; rename"),
        (["a", "b"], [0.5], "thresholds must be 2 numbers"),
    ],
)
def test_names_and_thresholds_must_fit(classes, thresholds, message):
    counts, histograms = counts_with_histograms([[[1, 1, 1, 1], [1, 1, 1, 1]]])
    with pytest.raises(UsageError, match=message):
        score_table(counts, classes, thresholds, histograms)


def test_counts_and_histograms_of_other_pixels_are_refused():
    counts, histograms = counts_with_histograms([[[1, 1, 1, 1]]])
    with pytest.raises(UsageError, match=r"\[\[4, 4\]\] and \[\[2, 2\]\]"):
        score_table(counts * 2, ["a"], [0.5], histograms)
    with pytest.raises(UsageError, match=r"\(scans, classes, 4\), got \(1, 4\)"):
        score_table(counts[0], ["a"], [0.5], histograms)


# --------------------------------------------------------------------------- bootstrap


def slow_scores(scans):
    """Scores of one class from a list of (tp, fp, fn, tn), in plain Python; None where not measurable."""
    holding = [scan for scan in scans if scan[0] + scan[2] > 0]
    if not holding:
        return [None] * 5
    tp, fp, fn, _ = (sum(column) for column in zip(*scans, strict=True))
    return [
        tp / (tp + fn),
        tp / (tp + fp) if tp + fp else None,
        2 * tp / (2 * tp + fp + fn),
        sum(2 * s[0] / (2 * s[0] + s[1] + s[2]) for s in holding) / len(holding),
        sum(s[0] / (s[0] + s[1] + s[2]) for s in holding) / len(holding),
    ]


def slow_draws(counts, groups, config):
    """``(draws, K + 1, 5)``: each drawn group's scans are really repeated; the last row is macro."""
    names = sorted(set(groups))
    random = np.random.default_rng(config.seed)
    weights = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=config.draws)
    rows = []
    for weight in weights:
        drawn = [s for s, group in enumerate(groups) for _ in range(weight[names.index(group)])]
        classes = [slow_scores(counts[drawn, k].tolist()) for k in range(counts.shape[1])]
        means = []
        for column in zip(*classes, strict=True):
            measured = [value for value in column if value is not None]
            means.append(sum(measured) / len(measured) if measured else None)
        rows.append([*classes, means])
    return np.array(rows, np.float64)  # None becomes nan


def sparse_counts(seed=0, scans=12, classes=3):
    """Some scans lack some classes, some classes are not predicted; groups have different sizes."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 30, (scans, classes, 4))
    counts[random.random((scans, classes)) < 0.5, :3:2] = 0
    counts[:4, :, :2] = 0
    return counts, [f"patient {s * s % 5}" for s in range(scans)]


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_intervals_equal_a_naive_loop(confidence):
    counts, groups = sparse_counts()
    config = EvaluateConfig(draws=200, seed=3, confidence=confidence)
    found = bootstrap_intervals(counts, ["a", "b", "c"], groups, config)
    draws = slow_draws(counts, groups, config)
    assert list(found) == ["a", "b", "c", "macro"]
    for row, name in enumerate(found):
        assert tuple(found[name]) == SCORES
        for column, score in enumerate(SCORES):
            tails = [(1 - confidence) / 2, (1 + confidence) / 2]
            expected = np.nanquantile(draws[:, row, column], tails)
            np.testing.assert_allclose(found[name][score], expected, rtol=1e-12)


def test_drawing_in_parts_changes_nothing(monkeypatch):
    counts, groups = sparse_counts()
    whole = bootstrap_intervals(counts, ["a", "b", "c"], groups, CONFIG)
    monkeypatch.setattr(scores, "_MAX_VALUES", 300)
    assert bootstrap_intervals(counts, ["a", "b", "c"], groups, CONFIG) == whole


@pytest.mark.parametrize("change", [{"seed": 5}, {"draws": 1000}, {"confidence": 0.6}])
def test_every_setting_of_the_bootstrap_has_an_effect(change):
    counts, groups = sparse_counts()
    settings_ = {"draws": 100, "seed": 4} | change
    before = bootstrap_intervals(counts, ["a", "b", "c"], groups, CONFIG)
    assert bootstrap_intervals(counts, ["a", "b", "c"], groups, EvaluateConfig(**settings_)) != before


def test_copies_within_groups_do_not_narrow_the_interval():
    random = np.random.default_rng(1)
    counts = random.integers(1, 100, (10, 1, 4))
    groups = [f"g{s}" for s in range(10)]
    once = bootstrap_intervals(counts, ["a"], groups, CONFIG)["a"]
    copied = np.repeat(counts, 9, axis=0)
    grouped = bootstrap_intervals(copied, ["a"], np.repeat(groups, 9).tolist(), CONFIG)["a"]
    torn = bootstrap_intervals(copied, ["a"], [f"g{s}" for s in range(90)], CONFIG)["a"]
    for score in SCORES:
        np.testing.assert_allclose(grouped[score], once[score], rtol=1e-12)
        assert np.diff(torn[score]) < 0.6 * np.diff(once[score])


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(0)
    config = EvaluateConfig(draws=200, confidence=0.9)
    groups = [f"g{s}" for s in range(40)]
    hits = 0
    for _ in range(200):
        recalls = random.beta(6, 2, 40)  # mean 0.75
        tp = random.binomial(100, recalls)
        counts = np.stack([tp, tp * 0, 100 - tp, tp * 0 + 900], axis=-1)[:, None]
        low, high = bootstrap_intervals(counts, ["a"], groups, config)["a"]["recall"]
        hits += low <= 0.75 <= high
    assert 0.82 <= hits / 200 <= 0.96


def test_fewer_than_two_groups_with_the_class_have_no_interval():
    held, empty = [5, 2, 3, 90], [0, 2, 0, 98]
    counts = np.array([[held, held], [held, empty], [empty, held], [empty, empty]])
    found = bootstrap_intervals(counts, ["one", "two"], ["p", "p", "q", "r"], CONFIG)
    assert found["one"] == dict.fromkeys(SCORES)
    assert found["two"]["recall"] == (5 / 8, 5 / 8)
    assert found["macro"]["recall"] is not None
    alone = bootstrap_intervals(counts[:, :1], ["one"], ["p", "p", "q", "r"], CONFIG)
    assert alone["macro"] == dict.fromkeys(SCORES)


def test_a_score_that_is_never_measurable_has_no_interval():
    counts = np.array([[[0, 0, 5, 95]], [[0, 0, 9, 91]]])
    found = bootstrap_intervals(counts, ["a"], ["p", "q"], CONFIG)["a"]
    assert found["precision"] is None
    assert found["f1"] == (0, 0)


@pytest.mark.parametrize("groups", [["p"], []])
def test_every_scan_needs_a_group(groups):
    with pytest.raises(UsageError, match=f"each of 2 scans, got {len(groups)} names"):
        bootstrap_intervals(np.ones((2, 1, 4), np.int64), ["a"], groups, CONFIG)


# --------------------------------------------------------------------------- comparison of two models


def better(counts, share=0.5):
    """The same masks, with a part of the errors mended."""
    mended = (counts * share).astype(np.int64)
    change = np.stack([mended[..., FN], -mended[..., FP], -mended[..., FN], mended[..., FP]], axis=-1)
    return counts + change


@pytest.mark.parametrize("score", ["f1", "dice", "recall", "iou"])
def test_difference_equals_a_naive_loop(score):
    counts_a, groups = sparse_counts(1)
    mixed = counts_a.copy()
    mixed[::2], mixed[1::2] = better(counts_a[::2]), better(counts_a[1::2], -0.5)
    found = paired_difference(counts_a, mixed, groups, score, CONFIG)
    column = SCORES.index(score)
    draws = [slow_draws(counts, groups, CONFIG)[:, -1, column] for counts in (counts_a, mixed)]
    gains = draws[1] - draws[0]
    np.testing.assert_allclose((found.low, found.high), np.quantile(gains, [0.025, 0.975]), rtol=1e-9)
    assert found.probability_better == pytest.approx(np.mean(gains > 0))
    assert 0.01 < found.probability_better < 0.99
    plain = [np.mean([slow_scores(c[:, k].tolist())[column] for k in range(3)]) for c in (counts_a, mixed)]
    assert (found.mean_a, found.mean_b) == pytest.approx(plain, rel=1e-12)
    assert found.difference == pytest.approx(plain[1] - plain[0], abs=1e-12)


def test_equal_models_are_equally_good():
    counts, groups = sparse_counts(2)
    found = paired_difference(counts, counts.copy(), groups, "dice", CONFIG)
    assert (found.difference, found.low, found.high, found.probability_better) == (0, 0, 0, 0.5)
    assert found.mean_a == found.mean_b > 0


def test_the_second_model_being_better_is_positive():
    counts, groups = sparse_counts(3)
    gain = paired_difference(counts, better(counts), groups, "f1", CONFIG)
    loss = paired_difference(better(counts), counts, groups, "f1", CONFIG)
    assert 0 < gain.low < gain.difference < gain.high
    assert (gain.probability_better, loss.probability_better) == (1, 0)
    assert (loss.low, loss.high) == pytest.approx((-gain.high, -gain.low))


def test_pairing_sees_a_small_gain_through_large_scatter():
    random = np.random.default_rng(0)
    tp = random.integers(5, 95, 20)
    counts = np.stack([tp, tp * 0, 100 - tp, tp * 0 + 900], axis=-1)[:, None]
    gained = counts + np.array([1, 0, -1, 0])
    groups = [f"g{s}" for s in range(20)]
    found = paired_difference(counts, gained, groups, "recall", CONFIG)
    low, high = bootstrap_intervals(counts, ["a"], groups, CONFIG)["a"]["recall"]
    assert high - low > 0.1
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))


def test_draws_without_any_class_do_not_count():
    held, empty = [5, 2, 3, 90], [0, 2, 0, 98]
    counts = np.array([[held], [held], *[[empty]] * 4])
    found = paired_difference(counts, better(counts), list("pqrstu"), "f1", CONFIG)
    missing = np.isnan(slow_draws(counts, list("pqrstu"), CONFIG)[:, -1, 0]).sum()
    assert missing > 0
    assert found.probability_better == 1
    assert 0 < found.low <= found.high


def test_fewer_than_two_groups_have_means_but_no_interval():
    counts = np.array([[[5, 2, 3, 90]], [[0, 0, 0, 100]]])
    found = paired_difference(counts, better(counts), ["p", "q"], "f1", CONFIG)
    assert found.difference > 0
    assert (found.low, found.high, found.probability_better) == (None, None, None)


@pytest.mark.parametrize("score", ["average_precision", "precision", "nonsense"])
def test_scores_that_counts_cannot_compare_are_refused(score):
    counts, groups = sparse_counts()
    with pytest.raises(UsageError, match=f"one of recall, f1, dice, iou, got '{score}'"):
        paired_difference(counts, counts, groups, score, CONFIG)


def test_models_on_other_masks_are_refused():
    counts, groups = sparse_counts()
    for other in (counts[::-1], counts[:-1], counts + np.array([1, 0, 0, 0]), counts + np.array([0, 0, 0, 1])):
        with pytest.raises(UsageError, match="same scans and masks"):
            paired_difference(counts, other, groups, "f1", CONFIG)


def test_scans_without_any_class_cannot_compare_models():
    counts = np.array([[[0, 2, 0, 98]], [[0, 3, 0, 97]]])
    with pytest.raises(DataError, match="no class is measurable on the 2 scans"):
        paired_difference(counts, counts, ["p", "q"], "f1", CONFIG)
