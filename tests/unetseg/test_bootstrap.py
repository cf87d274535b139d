"""Intervals and differences against naive loops, hand values and known truths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unetseg import bootstrap
from unetseg.bootstrap import bootstrap_intervals, paired_difference
from unetseg.config import EvaluateConfig
from unetseg.errors import DataError, UsageError
from unetseg.score_sums import SCORES, SURFACE_SCORES
from unetseg.scores import FN, FP, TP

CONFIG = EvaluateConfig(draws=100, seed=4)


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


def expanded(draws, groups, confidence):
    """The expanded percentile interval, by the formula of Hesterberg 2015, section 3.4."""
    tail = stats.norm.cdf(-np.sqrt(groups / (groups - 1)) * stats.t.ppf((1 + confidence) / 2, groups - 1))
    return np.nanquantile(draws, [tail, 1 - tail])


def holding(counts, groups):
    """How many groups hold a class that is present in some of these counts, ``(S, ..., 4)``."""
    return len({group for scan, group in zip(counts, groups, strict=True) if scan[..., [TP, FN]].any()})


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("patients", [3, 8])
def test_intervals_equal_a_naive_loop(confidence, patients):
    counts, _ = sparse_counts(scans=16)
    groups = [f"patient {s * s % 11 % patients}" for s in range(16)]
    config = EvaluateConfig(draws=200, seed=3, confidence=confidence)
    found = bootstrap_intervals(counts, ["a", "b", "c"], groups, config)
    draws = slow_draws(counts, groups, config)
    assert list(found) == ["a", "b", "c", "macro"]
    for row, name in enumerate(found):
        assert tuple(found[name]) == SCORES
        for column, score in enumerate(SCORES):
            held = holding(counts[:, row] if row < 3 else counts, groups)
            expected = expanded(draws[:, row, column], held, confidence)
            np.testing.assert_allclose(found[name][score], expected, rtol=1e-12)


def test_drawing_in_parts_changes_nothing(monkeypatch):
    counts, groups = sparse_counts()
    whole = bootstrap_intervals(counts, ["a", "b", "c"], groups, CONFIG)
    monkeypatch.setattr(bootstrap, "_MAX_VALUES", 300)
    assert bootstrap_intervals(counts, ["a", "b", "c"], groups, CONFIG) == whole


@pytest.mark.parametrize("change", [{"seed": 5}, {"draws": 1000}, {"confidence": 0.6}])
def test_every_setting_of_the_bootstrap_has_an_effect(change):
    counts, groups = sparse_counts()[0], [f"p{s}" for s in range(12)]
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


def test_few_groups_are_covered_better_than_by_plain_percentiles():
    random = np.random.default_rng(1)
    config = EvaluateConfig(draws=200, confidence=0.9)
    hits = plain = 0
    for _ in range(300):
        tp = random.binomial(100, random.beta(6, 2, 4))  # mean 0.75
        counts = np.stack([tp, tp * 0, 100 - tp, tp * 0 + 900], axis=-1)[:, None]
        low, high = bootstrap_intervals(counts, ["a"], list("pqrs"), config)["a"]["recall"]
        hits += low <= 0.75 <= high
        drawn = tp[random.integers(0, 4, (200, 4))].mean(axis=1) / 100
        plain += np.quantile(drawn, 0.05) <= 0.75 <= np.quantile(drawn, 0.95)
    assert plain / 300 < 0.79  # 0.74 over many runs
    assert 0.79 <= hits / 300 <= 0.95  # 0.84 over many runs


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_intervals_of_shares_lie_within_0_and_1(seed, patients):
    counts, _ = sparse_counts(seed)
    found = bootstrap_intervals(counts, ["a", "b", "c"], [f"p{s % patients}" for s in range(12)], CONFIG)
    for interval in (interval for row in found.values() for interval in row.values() if interval):
        assert 0 <= interval[0] <= interval[1] <= 1


def test_intervals_of_surfaces_are_those_of_means_over_measured_scans():
    random = np.random.default_rng(2)
    counts = np.tile([5, 2, 3, 90], (10, 2, 1))
    counts[3, 0] = [0, 2, 0, 98]
    surfaces = random.random((10, 2, 2)) * [20, 1]
    surfaces[3, 0] = np.nan  # class absent
    surfaces[5:7, 1] = np.nan  # not measured
    groups = [f"g{s}" for s in range(10)]
    config = EvaluateConfig(draws=2000)
    found = bootstrap_intervals(counts, ["a", "b"], groups, config, surfaces=surfaces)
    weights = np.random.default_rng(config.seed).multinomial(10, np.full(10, 0.1), size=2000)
    for k, (name, held) in enumerate([("a", 9), ("b", 8)]):
        for column, score in enumerate(SURFACE_SCORES):
            values = surfaces[:, k, column]
            repeated = [np.nanmean(np.repeat(values, weight)) for weight in weights]
            assert found[name][score] == pytest.approx(expanded(repeated, held, 0.95))
    without = bootstrap_intervals(counts, ["a", "b"], groups, config)
    assert {name: {score: found[name][score] for score in SCORES} for name in found} == without


def test_surfaces_of_one_group_or_none_have_no_interval():
    counts = np.tile([5, 2, 3, 90], (3, 2, 1))
    surfaces = np.full((3, 2, 2), np.nan)
    surfaces[0, 0] = 3, 0.5
    found = bootstrap_intervals(counts, ["a", "b"], ["p", "q", "r"], CONFIG, surfaces=surfaces)
    assert [found[name][score] for name in found for score in SURFACE_SCORES] == [None] * 6
    assert found["a"]["recall"] is not None


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


def slow_effective_groups(counts, groups, score):
    """One over the sum of squared shares, a share being a group's mean share of true pixels or of scans."""
    shares = dict.fromkeys(groups, 0.0)
    for k in range(counts.shape[1]):
        sizes = [int(scan[k, TP] + scan[k, FN]) for scan in counts]
        if score in ("dice", "iou"):
            sizes = [int(size > 0) for size in sizes]
        for size, group in zip(sizes, groups, strict=True):
            shares[group] += size / sum(sizes) / counts.shape[1]
    return 1 / sum(share**2 for share in shares.values())


@pytest.mark.parametrize("score", ["f1", "dice", "recall", "iou"])
def test_difference_equals_a_naive_loop(score):
    counts_a, _ = sparse_counts(1, scans=16)
    groups = [f"patient {s * s % 11}" for s in range(16)]
    mixed = counts_a.copy()
    mixed[::2], mixed[1::2] = better(counts_a[::2]), better(counts_a[1::2], -0.5)
    found = paired_difference(counts_a, mixed, groups, score, CONFIG)
    column = SCORES.index(score)
    draws = [slow_draws(counts, groups, CONFIG)[:, -1, column] for counts in (counts_a, mixed)]
    gains = draws[1] - draws[0]
    patients, effective = len(set(groups)), slow_effective_groups(counts_a, groups, score)
    assert effective < 0.9 * patients
    error = np.std(gains) * np.sqrt(patients / (patients - 1))
    expected = found.difference + stats.t.ppf([0.025, 0.975], effective - 1) * error
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-9)
    assert found.effective_groups == pytest.approx(effective)
    assert (found.groups, found.confidence, found.draws, found.seed) == (patients, 0.95, 100, 4)
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
    assert found.groups == 2


def differing(gains, scans=1):
    """Two models with one class of 100 true pixels a scan: b finds ``gains`` more than a; a group per gain."""
    gains = np.repeat(gains, scans)
    a = np.stack([50 + 0 * gains, 0 * gains, 50 + 0 * gains, 900 + 0 * gains], axis=-1)[:, None]
    return a, a + np.stack([gains, 0 * gains, -gains, 0 * gains], axis=-1)[:, None]


@pytest.mark.parametrize("groups", [2, 3, 8])
def test_the_interval_of_a_mean_is_the_t_interval(groups):
    gains = np.random.default_rng(0).integers(0, 20, groups)
    a, b = differing(gains)
    found = paired_difference(a, b, [str(g) for g in range(groups)], "recall", EvaluateConfig(draws=20_000))
    low, high = stats.t.interval(0.95, groups - 1, gains.mean() / 100, stats.sem(gains / 100))
    assert found.effective_groups == pytest.approx(groups)
    assert (found.low, found.high) == pytest.approx((max(low, -1), min(high, 1)), rel=0.05)


def test_the_interval_ends_at_minus_one_and_one():
    a, b = differing(np.array([-50, 50]))
    found = paired_difference(a, b, ["p", "q"], "recall", CONFIG)
    assert (found.low, found.high) == (-1, 1)


def test_groups_that_hold_nearly_everything_widen_the_interval():
    random = np.random.default_rng(0)
    a, b = differing(random.integers(0, 20, 10))
    even = paired_difference(a, b, [str(s) for s in range(10)], "recall", CONFIG)
    uneven = paired_difference(a, b, ["big"] * 7 + ["p", "q", "r"], "recall", CONFIG)
    assert (even.effective_groups, uneven.effective_groups) == pytest.approx((10, 1 / (0.49 + 0.03)))
    assert uneven.high - uneven.low > 3 * (even.high - even.low)


def test_fewer_than_two_groups_have_means_but_no_interval():
    counts = np.array([[[5, 2, 3, 90]], [[0, 0, 0, 100]]])
    found = paired_difference(counts, better(counts), ["p", "q"], "f1", CONFIG)
    assert found.difference > 0
    assert (found.low, found.high, found.probability_better) == (None, None, None)
    assert (found.groups, found.effective_groups) == (1, None)


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
