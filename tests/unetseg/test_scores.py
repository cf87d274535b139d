"""Counts and their scores against scikit-learn, slow loops and hand values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from unetseg.errors import UsageError
from unetseg.scores import FN, FP, TN, TP, count, dice, f_beta, iou, precision, recall, specificity


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
    random = np.random.default_rng(0)
    y_pred = random.random((1, 500, 1))
    y_true = (random.random(y_pred.shape) < y_pred**2).astype(np.int8)
    y_true[random.random(y_pred.shape) < 0.1] = -1
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
