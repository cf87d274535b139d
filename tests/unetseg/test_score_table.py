"""The table of scores against scikit-learn, loops and hand values."""

import numpy as np
import pytest
from sklearn import metrics

from unetseg.errors import UsageError
from unetseg.histograms import Histograms
from unetseg.score_sums import SCORES, SURFACE_SCORES
from unetseg.score_table import AGGREGATES, score_table
from unetseg.scores import FN, FP, TN, TP, count


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


# --------------------------------------------------------------------------- surfaces


def table_with_surfaces(counts, surfaces):
    counts, histograms = counts_with_histograms(counts)
    names = [f"c{k}" for k in range(counts.shape[1])]
    return score_table(counts, names, [0.5] * len(names), histograms, surfaces=np.array(surfaces, np.float64))


HELD, ABSENT, IGNORED = [5, 5, 5, 85], [0, 5, 0, 95], [0, 0, 0, 0]
NO_SURFACE = [np.nan, np.nan]


def test_surface_scores_are_means_over_the_scans_that_hold_the_class():
    counts = [[HELD, HELD], [HELD, ABSENT], [ABSENT, ABSENT], [IGNORED, IGNORED]]
    surfaces = [[[2, 0.5], [10, 0.25]], [[4, 1], NO_SURFACE], [NO_SURFACE] * 2, [NO_SURFACE] * 2]
    table = table_with_surfaces(counts, surfaces)
    assert (table["c0"]["hausdorff95"], table["c0"]["surface_dice"]) == (3, 0.75)
    assert (table["c1"]["hausdorff95"], table["c1"]["surface_dice"]) == (10, 0.25)
    assert (table["macro"]["hausdorff95"], table["macro"]["surface_dice"]) == (6.5, 0.5)
    weights = np.array([1 / 20, 1 / 10])  # one over true pixels
    assert table["weighted"]["hausdorff95"] == pytest.approx((weights * [3, 10]).sum() / weights.sum())
    assert (table["micro"]["hausdorff95"], table["micro"]["surface_dice"]) == (None, None)


def test_scans_whose_outlines_were_not_measured_are_left_out():
    table = table_with_surfaces([[HELD], [HELD]], [[[4, 0.5]], [NO_SURFACE]])
    assert (table["c0"]["hausdorff95"], table["c0"]["surface_dice"], table["c0"]["support"]) == (4, 0.5, 2)


def test_nothing_measured_is_none():
    for counts in ([[HELD]], [[ABSENT]], [[IGNORED]]):
        table = table_with_surfaces(counts, [[NO_SURFACE]])
        assert [table[row][score] for row in table for score in SURFACE_SCORES] == [None] * 8


def test_without_surfaces_there_are_no_such_columns():
    assert not set(SURFACE_SCORES) & set(table_of([[HELD]], ["a"])["a"])


@pytest.mark.parametrize(
    ("surfaces", "message"),
    [(np.ones((2, 1, 2)), r"got numbers at \(scan, class\) \[1, 0\]"), (np.ones((2, 2)), r"got \(2, 2\)")],
    ids=["of-an-absent-class", "shape"],
)
def test_surfaces_of_other_masks_are_refused(surfaces, message):
    with pytest.raises(UsageError, match=message):
        table_with_surfaces([[HELD], [ABSENT]], surfaces)
