"""Precision-recall curves against scikit-learn and hand values."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, fbeta_score, precision_recall_curve

from unetseg.histograms import BINS, Histograms

FEW_BINS = [0, 1, 2, 100, 32767, 32768, 50000, 65534, 65535]  # few, so that ties and gaps are common


@pytest.mark.parametrize("seed", range(5))
def test_curve_equals_scikit_learn_on_quantised_probabilities(seed, curve_of):
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


def test_curve_of_floats_brackets_scikit_learn_within_one_bin(random_pixels, curve_of):
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


def test_curve_of_hand_values(curve_of):
    curve = curve_of([1, 0, 1, 1, 0], [0.75, 0.5, 0.5, 0.25, 0.125])
    np.testing.assert_array_equal(curve.thresholds, [0.125, 0.25, 0.5, 0.75])
    np.testing.assert_array_equal(curve.precision, [3 / 5, 3 / 4, 2 / 3, 1])
    np.testing.assert_array_equal(curve.recall, [1, 1, 2 / 3, 1 / 3])
    assert curve.average_precision == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 4)
    np.testing.assert_allclose(curve.f_beta(1), [6 / 8, 6 / 7, 2 / 3, 1 / 2])


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_beta_equals_scikit_learn(beta, curve_of):
    random = np.random.default_rng(3)
    probabilities = random.choice(FEW_BINS, 200) / BINS
    truth = random.random(200) < 0.4
    curve = curve_of(truth, probabilities)
    expected = [fbeta_score(truth, probabilities >= threshold, beta=beta) for threshold in curve.thresholds]
    np.testing.assert_allclose(curve.f_beta(beta), expected, rtol=1e-12)


def test_a_class_without_foreground_is_not_measurable(curve_of):
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
